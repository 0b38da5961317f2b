# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a device of several models promises (`vision_line.ports.ModelsDevice`), tried on each kind of hardware."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.builders import FULL
from tests.fakes.machine import CudaMachine, GpuFrames
from tests.fakes.tiny_model import build_tiny_model

from vision_line.devices.cpu.backend import open_cpu
from vision_line.devices.cuda.backend import open_cuda
from vision_line.devices.cuda.multi_gpu import open_gpus
from vision_line.devices.model.model import Model, open_model
from vision_line.devices.several_models import OpenModel, SeveralModels
from vision_line.errors import DeviceError
from vision_line.frames import OWN_MODEL, Frame, Inspection
from vision_line.ports import LoadedDevice, ShapeHW
from vision_line.runtime.run_models import class_numbers

OTHER = "other"
SHAPES: dict[str, tuple[ShapeHW, ...]] = {OWN_MODEL: ((64, 128), (128, 64)), OTHER: ((96, 192), (128, 64))}
#: The classes of the run: the second model's are red, with another name, and green, in another order.
CLASSES = ("red", "green", "blue", "crimson")
SIZE_WH = (128, 64)
DEADLINE_S = 60.0

Open = Callable[[Model, tuple[ShapeHW, ...], Callable[[], None]], LoadedDevice]


@dataclass(frozen=True)
class Hardware:
    """How a model's device is opened, and how its camera's frame (h, w, 3) gets there."""

    open: Open
    show: Callable[[NDArray[np.uint8], str], Any]


@pytest.fixture(params=["cpu", "cuda"])
def hardware(request: pytest.FixtureRequest) -> Hardware:
    """Return each kind of hardware; GPUs are fakes."""
    if request.param == "cpu":
        return Hardware(
            lambda model, shapes, wake: open_cpu(model, shapes, wake, slots=3),
            lambda rgb, _: av.VideoFrame.from_numpy_buffer(rgb, format="rgb24"),
        )
    machine: CudaMachine = request.getfixturevalue("cuda_machine")
    if request.param == "cuda":
        return Hardware(
            lambda model, shapes, wake: open_cuda(model, shapes, wake, cache=machine.cache),
            lambda rgb, _: machine.show(rgb),
        )
    gpus: tuple[GpuFrames, GpuFrames] = (machine, request.getfixturevalue("second_gpu"))
    return Hardware(
        lambda model, shapes, wake: open_gpus(model, shapes, wake, indices=(0, 1), cache=machine.cache),
        lambda rgb, camera: gpus[camera == "b"].show(rgb),
    )


class Rig:
    """A device of two models, with the event that its `wake` sets."""

    def __init__(self, hardware: Hardware, folder: Path) -> None:
        self._hardware = hardware
        self.woken = threading.Event()
        names = {OWN_MODEL: "{0: 'red', 1: 'green', 2: 'blue'}", OTHER: "{0: 'crimson', 1: 'green', 2: 'blue'}"}
        self.models = {key: _written(folder / f"model{key}.onnx", said) for key, said in names.items()}
        self.device = SeveralModels({key: self.open(key) for key in self.models})

    def open(self, key: str) -> OpenModel:
        model = self.models[key]
        device = self._hardware.open(model, SHAPES[key], self.woken.set)
        return OpenModel(device, model.name, class_numbers(model, CLASSES))

    def frame(self, camera: str, sequence: int) -> Frame:
        """Return a frame with a red tile in its upper left corner."""
        rgb = np.zeros((SIZE_WH[1], SIZE_WH[0], 3), np.uint8)
        rgb[:32, :32, 0] = 255
        data = self._hardware.show(rgb, camera)
        return Frame(camera, sequence, SIZE_WH, FULL, data, arrived_s=0.0, arrived_utc=0.0, decoded_s=0.0)

    def collect(self, frames: int) -> list[Inspection]:
        """Collect until `frames` inspections have come, waiting for `wake` in between."""
        found: list[Inspection] = []
        deadline = time.monotonic() + DEADLINE_S
        while len(found) < frames:
            assert self.woken.wait(max(0.0, deadline - time.monotonic())), "wake was not called"
            self.woken.clear()
            found += self.device.collect()
        return found


def _written(path: Path, names: str) -> Model:
    path.write_bytes(build_tiny_model(batch="n", names=names))
    return open_model(path)


@pytest.fixture
def rig(hardware: Hardware, tmp_path: Path) -> Iterator[Rig]:
    """Open a device and close it after the test."""
    rig = Rig(hardware, tmp_path)
    yield rig
    rig.device.close()


def classes_of(inspection: Inspection) -> set[str]:
    return {CLASSES[number] for number in inspection.detections.class_id}


def test_each_model_says_its_own_classes_in_the_numbers_of_the_run(rig: Rig) -> None:
    for key, name in ((OWN_MODEL, "red"), (OTHER, "crimson"), (OWN_MODEL, "red")):
        rig.device.submit(key, [rig.frame("a", 0)])
        (found,) = rig.collect(1)
        assert (found.model, classes_of(found)) == (key, {name})


def test_each_model_has_shapes_of_its_own(rig: Rig) -> None:
    assert {key: rig.device.shape_for(key, (1280, 640)) for key in SHAPES} == {OWN_MODEL: (64, 128), OTHER: (96, 192)}
    rig.device.ensure_shape(OTHER, (96, 96))
    assert rig.device.shape_for(OTHER, (480, 480)) == (96, 96)
    assert (96, 96) not in rig.device.description.input_shapes_hw


def test_the_models_share_the_slots(rig: Rig) -> None:
    """Engines side by side have as many frames as one: more would only wait for each other."""
    slots = rig.device.description.slots
    for taken in range(slots):
        assert rig.device.free_slots() == slots - taken
        rig.device.submit((OWN_MODEL, OTHER)[taken % 2], [rig.frame("a", taken)])
    assert (rig.device.free_slots(), rig.device.in_flight()) == (0, slots)
    rig.collect(slots)
    assert (rig.device.free_slots(), rig.device.in_flight()) == (slots, 0)


@pytest.mark.parametrize("hardware", ["cpu", "cuda", "cuda-several"], indirect=True)
def test_each_camera_keeps_its_order_over_changes_of_the_model(rig: Rig) -> None:
    """Whichever engine is quicker: what was submitted first comes first, by the model that was asked for."""
    choose = random.Random(1)
    submitted: dict[str, list[tuple[int, str]]] = {"a": [], "b": []}
    received: dict[str, list[tuple[int, str]]] = {"a": [], "b": []}

    def take(inspections: list[Inspection]) -> None:
        for one in inspections:
            assert classes_of(one) == {"red" if one.model == OWN_MODEL else "crimson"}
            received[one.frame.camera].append((one.frame.sequence, one.model))

    for sequence in range(40):
        camera, key = choose.choice("ab"), choose.choice((OWN_MODEL, OTHER))
        while rig.device.free_slots() == 0:
            take(rig.collect(1))
        rig.device.submit(key, [rig.frame(camera, sequence)])
        submitted[camera].append((sequence, key))
    while rig.device.in_flight():
        take(rig.collect(1))
    assert received == submitted


def test_each_model_has_its_own_score_floor(rig: Rig) -> None:
    floors = {key: np.full(3, floor, np.float32) for key, floor in ((OWN_MODEL, 0.1), (OTHER, 1.1))}
    rig.device.set_score_floors(floors)
    for key in (OWN_MODEL, OTHER):
        rig.device.submit(key, [rig.frame("a", 0)])
    assert {found.model: len(found.detections) > 0 for found in rig.collect(2)} == {OWN_MODEL: True, OTHER: False}


def test_a_model_is_added_while_others_work(rig: Rig) -> None:
    rig.device.submit(OWN_MODEL, [rig.frame("a", 0)])
    rig.device.add("late", rig.open(OTHER))
    rig.device.submit("late", [rig.frame("a", 1)])
    assert [(found.frame.sequence, found.model) for found in rig.collect(2)] == [(0, OWN_MODEL), (1, "late")]
    assert rig.device.descriptions.keys() == {OWN_MODEL, OTHER, "late"}


def test_what_is_added_too_late_is_closed(rig: Rig) -> None:
    device = rig.open(OTHER)
    rig.device.close()
    rig.device.add("late", device)
    assert device.device.free_slots() == 0
    assert "late" not in rig.device.descriptions


def test_closing_twice_with_work_of_both_in_flight(rig: Rig) -> None:
    for key in (OWN_MODEL, OTHER):
        rig.device.submit(key, [rig.frame("a", 0)])
    rig.device.close()
    rig.device.close()
    assert (rig.device.in_flight(), rig.device.free_slots()) == (0, 0)
    with pytest.raises(DeviceError, match="closed"):
        rig.device.submit(OTHER, [rig.frame("a", 9)])
