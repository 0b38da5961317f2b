# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is the CPU device's own: real conversion, real inference, errors of frames and engines."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.builders import FULL, make_frame

from vision_line import cores
from vision_line.devices.cpu.backend import open_cpu
from vision_line.devices.model.model import open_model
from vision_line.errors import DeviceError, ModelError, RunError
from vision_line.frames import Detections, Frame
from vision_line.ports import ShapeHW

WriteModel = Callable[..., Path]
DEADLINE_S = 60.0


def _inspect(path: Path, shapes: tuple[ShapeHW, ...], rgb: NDArray[np.uint8], **options: Any) -> Detections:
    woken = threading.Event()
    device = open_cpu(open_model(path), shapes, woken.set, **options)
    try:
        device.submit([_frame(av.VideoFrame.from_ndarray(rgb, format="rgb24"))])
        assert woken.wait(DEADLINE_S)
        (inspection,) = device.collect()
    finally:
        device.close()
    return inspection.detections


def _frame(data: Any, camera: str = "a") -> Frame:
    return make_frame(camera, size_wh=(data.width, data.height), data=data, colour=FULL)


@pytest.mark.parametrize("end2end", [False, True])
@pytest.mark.parametrize("quantized", [False, True])
def test_boxes_return_to_the_frame(write_model: WriteModel, end2end: bool, quantized: bool) -> None:
    """A blue tile of a frame twice the input's size is found where it is, with its class and score."""
    path = write_model(end2end=end2end, quantized=quantized)
    rgb = np.zeros((120, 256, 3), np.uint8)  # scaled to 128 x 60, two rows of padding above and below
    rgb[60:124, 64:128, 2] = 204

    found = _inspect(path, ((64, 128),), rgb, score_floor=0.6)

    assert found.class_id.tolist() == [2]
    assert found.xyxy.tolist() == [[64, 60, 128, 120]]
    assert found.score[0] == pytest.approx(0.8 * 30 / 32 + 114 / 255 * 2 / 32, abs=0.01)


def test_every_shape_of_a_dynamic_model_is_served(write_model: WriteModel) -> None:
    """Frames of several aspect ratios are inspected at several shapes with one device."""
    woken = threading.Event()
    device = open_cpu(open_model(write_model()), ((64, 128), (128, 64), (96, 96)), woken.set, score_floor=0.9)
    try:
        for width, height in ((128, 64), (64, 128), (96, 96)):
            rgb = np.full((height, width, 3), 255, np.uint8)
            woken.clear()
            device.submit([_frame(av.VideoFrame.from_ndarray(rgb, format="rgb24"))])
            assert woken.wait(DEADLINE_S)
            (inspection,) = device.collect()
            assert len(inspection.detections) == width * height // 1024
    finally:
        device.close()


def test_a_floor_for_each_class(write_model: WriteModel) -> None:
    """Detections come back only above the floor of their class."""
    rgb = np.zeros((64, 128, 3), np.uint8)
    rgb[:32, :32, 0] = rgb[:32, 96:, 1] = 128

    found = _inspect(write_model(), ((64, 128),), rgb, score_floor=np.array([0.6, 0.4, 0.4], np.float32))

    assert found.class_id.tolist() == [1]


def test_a_frame_that_cannot_be_converted_names_its_camera(write_model: WriteModel) -> None:
    """The slot of a frame that fails is free again and the next frame is inspected."""
    woken = threading.Event()
    device = open_cpu(open_model(write_model()), ((64, 128),), woken.set, slots=1)
    try:
        broken = _frame(av.VideoFrame(0, 0, "yuv420p"), "dock-3")
        broken.size_wh = (64, 64)
        with pytest.raises(DeviceError, match="camera 'dock-3': frame 0 cannot be converted"):
            device.submit([broken])

        assert (device.free_slots(), device.in_flight()) == (1, 0)
        device.submit([_frame(av.VideoFrame(64, 64, "yuv420p"))])
        assert woken.wait(DEADLINE_S)
        assert len(device.collect()) == 1
    finally:
        device.close()


def test_an_engine_that_never_answers_does_not_hold_up_the_end(
    write_model: WriteModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends with an error that says so, instead of never."""
    monkeypatch.setattr("vision_line.devices.cpu.backend.STALL_S", 0.2)
    called, may_go_on, gone_on = threading.Event(), threading.Event(), threading.Event()

    def hang() -> None:
        called.set()
        may_go_on.wait(DEADLINE_S)
        gone_on.set()

    device = open_cpu(open_model(write_model()), ((64, 128),), hang, slots=1)
    try:
        device.submit([_frame(av.VideoFrame(128, 64, "yuv420p"))])
        assert called.wait(DEADLINE_S)
        with pytest.raises(RunError, match="the engine has not answered for"):
            device.close()
    finally:
        may_go_on.set()
    assert gone_on.wait(DEADLINE_S)


def test_a_graph_that_openvino_cannot_read_is_a_model_error(write_model: WriteModel) -> None:
    """A file whose header is whole and whose graph is not is refused with the file's name."""
    path = write_model()
    path.write_bytes(path.read_bytes().replace(b"AveragePool", b"AveragePoor"))

    with pytest.raises(ModelError, match=r"tiny\.onnx: OpenVINO cannot use it"):
        open_cpu(open_model(path), ((64, 128),), lambda: None)


def test_a_static_model_runs_at_its_own_shape_only(write_model: WriteModel) -> None:
    """Another shape than the exported one is refused when the device opens, not in the run."""
    path = write_model((64, 96))

    open_cpu(open_model(path), ((64, 96),), lambda: None).close()
    with pytest.raises(ModelError, match="exported for"):
        open_cpu(open_model(path), ((64, 128),), lambda: None)


def test_the_description_says_what_runs(write_model: WriteModel) -> None:
    """Precision, shapes and slots are those in use."""
    device = open_cpu(open_model(write_model(quantized=True)), ((64, 128),), lambda: None, slots=2)
    device.close()

    description = device.description
    assert (description.name, description.precision, description.slots) == ("cpu", "int8", 2)
    assert (description.max_batch, description.input_shapes_hw) == (1, ((64, 128),))
    assert "OpenVINO" in description.detail


def test_a_containers_limit_bounds_the_slots(
    write_model: WriteModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container with one core there are two slots, whatever the machine has."""
    (tmp_path / "cpu.max").write_text("100000 100000\n", encoding="ascii")
    monkeypatch.setattr(cores, "CGROUP", tmp_path)
    device = open_cpu(open_model(write_model()), ((64, 128),), lambda: None)
    try:
        assert device.description.slots == 2
        assert ", 1 cores," in device.description.detail
    finally:
        device.close()


def test_a_device_may_be_closed_as_soon_as_its_results_are_there(write_model: WriteModel) -> None:
    """OpenVINO's thread may still hold the request then: the process would abort if the rest were gone before."""
    model = open_model(write_model())
    frame = av.VideoFrame.from_ndarray(np.zeros((60, 128, 3), np.uint8), format="rgb24")
    for _ in range(12):
        device = open_cpu(model, ((64, 128),), lambda: None)
        device.submit([_frame(frame)])
        while not device.collect():
            pass
        device.close()
        del device
