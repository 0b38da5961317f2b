# SPDX-License-Identifier: AGPL-3.0-or-later
"""What every device promises (`vision_line.ports.Device`), tried on each of them."""

from __future__ import annotations

import gc
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from benchmarks.simulated_device import SimulatedDevice
from numpy.typing import NDArray
from tests.builders import FULL, make_detections
from tests.fakes.machine import CudaMachine, GpuFrames

from vision_line.devices.cpu.backend import open_cpu
from vision_line.devices.cuda.backend import open_cuda
from vision_line.devices.cuda.context import open_gpu
from vision_line.devices.cuda.multi_gpu import open_gpus
from vision_line.devices.model.model import open_model
from vision_line.devices.multi_device import MultiDevice
from vision_line.errors import DeviceError
from vision_line.frames import Detections, Frame, Inspection
from vision_line.ports import DeviceDescription, LoadedDevice

WriteModel = Callable[..., Path]
OpenDevice = Callable[[Callable[[], None]], LoadedDevice]

SHAPES = ((64, 128), (128, 64))
LANDSCAPE_WH, PORTRAIT_WH = (128, 64), (64, 128)
DEADLINE_S = 60.0


def _one_detection(frame: Frame) -> Detections:
    return make_detections((0, 0, 32, 32))


def _simulated(wake: Callable[[], None], inference_s: Callable[[int], float] | float) -> SimulatedDevice:
    description = DeviceDescription("simulated", "", "fp32", SHAPES, slots=3, max_batch=4)
    return SimulatedDevice(description, wake, inference_s, _one_detection)


@dataclass(frozen=True)
class Kind:
    """A kind of device: how it is opened, and how it gets a camera's frame (h, w, 3), with what keeps that alive."""

    open: OpenDevice
    show: Callable[[NDArray[np.uint8], str], tuple[Any, Any]]


def _on_the_host(rgb: NDArray[np.uint8], camera: str) -> tuple[av.VideoFrame, NDArray[np.uint8]]:
    return av.VideoFrame.from_numpy_buffer(rgb, format="rgb24"), rgb  # borrows the array's memory


@dataclass(eq=False)
class Placed:
    """A frame that nobody inspects, on one of several devices."""

    where: int


def _place(camera: str) -> int:
    """Return which of two devices has a camera's frames; the tests of slots use cameras of the first alone."""
    return 1 if camera == "b" else 0


KINDS = ["cpu", "simulated", "simulated-timed", "several", "cuda", "cuda-several"]


@pytest.fixture(params=[*KINDS, pytest.param("gpu", marks=pytest.mark.gpu)])
def kind(request: pytest.FixtureRequest, write_model: WriteModel) -> Kind:
    """Return each kind of device; `cuda` runs on fakes, `gpu` on what is there."""
    if request.param == "cpu":
        model = open_model(write_model())
        return Kind(lambda wake: open_cpu(model, SHAPES, wake, slots=3), _on_the_host)
    if request.param == "cuda":
        machine: CudaMachine = request.getfixturevalue("cuda_machine")
        return _cuda(machine, write_model, machine.cache)
    if request.param == "cuda-several":
        return _two_gpus(request.getfixturevalue("cuda_machine"), request.getfixturevalue("second_gpu"), write_model)
    if request.param == "several":
        return Kind(_several, _placed)
    if request.param == "gpu":
        return _cuda(request.getfixturevalue("gpu_frames"), write_model, None)
    return Kind(
        lambda wake: _simulated(wake, 0.0 if request.param == "simulated" else lambda n: 0.002 * n), _on_the_host
    )


@pytest.fixture
def gpu_frames() -> Iterator[GpuFrames]:
    """Give what makes frames on this machine's GPU; skip where there is none, or a fake has taken its place."""
    try:
        gpu = open_gpu(0)
    except DeviceError as exc:
        pytest.skip(f"needs an NVIDIA GPU: {exc}")
    frames = GpuFrames(gpu=gpu, stream=gpu.device.create_stream())
    yield frames
    frames.close()


def _several(wake: Callable[[], None]) -> MultiDevice:
    devices = [_simulated(wake, lambda n: 0.002 * n), _simulated(wake, lambda n: 0.005 * n)]
    return MultiDevice(devices, lambda data: data.where)


def _placed(rgb: NDArray[np.uint8], camera: str) -> tuple[Placed, Placed]:
    placed = Placed(_place(camera))
    return placed, placed


def _two_gpus(machine: CudaMachine, second: GpuFrames, write_model: WriteModel) -> Kind:
    model = open_model(write_model(batch="n"))

    def show(rgb: NDArray[np.uint8], camera: str) -> tuple[Any, Any]:
        surface = (machine, second)[_place(camera)].show(rgb)
        return surface, surface

    return Kind(lambda wake: open_gpus(model, SHAPES, wake, indices=(0, 1), cache=machine.cache), show)


def _cuda(frames: GpuFrames, write_model: WriteModel, cache: Path | None) -> Kind:
    model = open_model(write_model(batch="n"))

    def show(rgb: NDArray[np.uint8], camera: str) -> tuple[Any, Any]:
        surface = frames.show(rgb)
        return surface, surface

    return Kind(lambda wake: open_cuda(model, SHAPES, wake, cache=cache), show)


class Rig:
    """A device with the event that its `wake` sets."""

    def __init__(self, kind: Kind) -> None:
        self.woken = threading.Event()
        self.device = kind.open(self.woken.set)
        self._kind = kind

    def frame(self, camera: str, sequence: int, size_wh: tuple[int, int] = LANDSCAPE_WH) -> Frame:
        """Return a frame with a red tile in its upper left corner."""
        return self.watched_frame(camera, sequence, size_wh)[0]

    def watched_frame(
        self, camera: str, sequence: int, size_wh: tuple[int, int] = LANDSCAPE_WH
    ) -> tuple[Frame, weakref.ref[Any]]:
        """Return such a frame, and what says whether its data are still held."""
        shown, owner = self._kind.show(_rgb(size_wh), camera)
        frame = Frame(
            camera=camera,
            sequence=sequence,
            size_wh=size_wh,
            colour=FULL,
            data=shown,
            arrived_s=0.0,
            arrived_utc=0.0,
            decoded_s=0.0,
        )
        return frame, weakref.ref(owner)

    def collect(self, frames: int) -> list[Inspection]:
        """Collect until `frames` inspections have come, waiting for `wake` in between."""
        found: list[Inspection] = []
        deadline = time.monotonic() + DEADLINE_S
        while len(found) < frames:
            assert self.woken.wait(max(0.0, deadline - time.monotonic())), "wake was not called"
            self.woken.clear()
            found += self.device.collect()
        return found


@pytest.fixture
def rig(kind: Kind) -> Iterator[Rig]:
    """Open a device and close it after the test."""
    rig = Rig(kind)
    yield rig
    rig.device.close()


def _rgb(size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    rgb = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    rgb[:32, :32, 0] = 255
    return rgb


def test_results_come_back_with_their_frames(rig: Rig) -> None:
    """An inspection holds the very frame that was submitted, its detections in frame pixels and its times."""
    frame = rig.frame("a", 7)
    before_s = time.monotonic()

    rig.device.submit([frame])
    (inspection,) = rig.collect(1)

    assert inspection.frame is frame
    assert inspection.detections.xyxy.tolist() == [[0, 0, 32, 32]]
    assert before_s <= inspection.submitted_s <= inspection.finished_s <= time.monotonic()


def test_slots_are_counted(rig: Rig) -> None:
    """A slot is taken by `submit` and given back by `collect`, not before."""
    slots = rig.device.description.slots
    assert rig.device.free_slots() == slots

    for taken in range(slots):
        rig.device.submit([rig.frame(f"camera-{taken}", 0)])

        assert rig.device.free_slots() == slots - taken - 1
        assert rig.device.in_flight() == taken + 1

    rig.collect(slots)
    assert rig.device.free_slots() == slots
    assert rig.device.in_flight() == 0


def test_submitting_without_a_slot_is_refused(rig: Rig) -> None:
    """The device never waits for a slot, and a refused frame is not in flight."""
    slots = rig.device.description.slots
    for number in range(slots):
        rig.device.submit([rig.frame("a", number)])

    with pytest.raises(DeviceError, match="slots are busy"):
        rig.device.submit([rig.frame("a", slots)])

    assert rig.device.in_flight() == slots
    assert [inspection.frame.sequence for inspection in rig.collect(slots)] == list(range(slots))


def test_each_camera_keeps_its_order(rig: Rig) -> None:
    """Over many frames of several cameras and shapes, each camera's results come in the order of its frames."""
    choose = random.Random(1)
    submitted: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    received: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    sizes = {"a": LANDSCAPE_WH, "b": PORTRAIT_WH, "c": LANDSCAPE_WH}

    for sequence in range(60):
        camera = choose.choice("abc")
        while rig.device.free_slots() == 0:
            for inspection in rig.collect(1):
                received[inspection.frame.camera].append(inspection.frame.sequence)
        rig.device.submit([rig.frame(camera, sequence, sizes[camera])])
        submitted[camera].append(sequence)
    while rig.device.in_flight():
        for inspection in rig.collect(1):
            received[inspection.frame.camera].append(inspection.frame.sequence)

    assert received == submitted


def test_a_batch_holds_at_most_max_batch_frames_of_one_shape(rig: Rig) -> None:
    """Empty, too large and mixed batches are refused and take no slot."""
    too_many = [rig.frame("a", number) for number in range(rig.device.description.max_batch + 1)]
    for frames in ([], too_many, [rig.frame("a", 0), rig.frame("b", 0, PORTRAIT_WH)]):
        with pytest.raises(DeviceError, match="expected a batch of"):
            rig.device.submit(frames)

    assert rig.device.free_slots() == rig.device.description.slots
    assert rig.device.in_flight() == 0


def test_the_shape_follows_the_frame(rig: Rig) -> None:
    """Landscape and portrait frames go to the input shape of their aspect ratio."""
    assert rig.device.shape_for((1280, 720)) == (64, 128)
    assert rig.device.shape_for((720, 1280)) == (128, 64)
    assert set(rig.device.description.input_shapes_hw) == set(SHAPES)


def test_a_shape_can_be_added_while_frames_are_in_flight(rig: Rig) -> None:
    """What is under way comes back, and frames of the new aspect ratio go to the new shape."""
    rig.device.submit([rig.frame("a", 0)])
    rig.device.ensure_shape((96, 96))
    rig.device.ensure_shape((96, 96))

    assert rig.device.description.input_shapes_hw == (*SHAPES, (96, 96))
    assert rig.device.shape_for((480, 480)) == (96, 96)
    assert [found.frame.camera for found in rig.collect(1)] == ["a"]
    rig.device.submit([rig.frame("b", 0, (480, 480))])
    assert [found.frame.camera for found in rig.collect(1)] == ["b"]


def test_room_for_larger_batches_can_be_asked_for_while_frames_are_in_flight(rig: Rig) -> None:
    """What is under way comes back; a batch never has less room than before, and as much as is said."""
    before = rig.device.description.max_batch
    rig.device.submit([rig.frame("a", 0)])
    rig.device.ensure_batch(before + 1)
    rig.device.ensure_batch(1)
    most = rig.device.description.max_batch

    assert most >= before
    assert [found.frame.camera for found in rig.collect(1)] == ["a"]
    rig.device.submit([rig.frame("a", number + 1) for number in range(most)])
    assert [found.frame.sequence for found in rig.collect(most)] == list(range(1, most + 1))


def test_collecting_nothing_returns_at_once(rig: Rig) -> None:
    """`collect` never blocks."""
    assert rig.device.collect() == []


def test_collected_frames_are_not_kept(rig: Rig) -> None:
    """After its inspection was handed over the device holds neither frame nor data."""
    frame, data = rig.watched_frame("a", 0)

    rig.device.submit([frame])
    rig.collect(1)
    del frame

    deadline = time.monotonic() + DEADLINE_S
    while data() is not None and time.monotonic() < deadline:  # the engine's thread may still be leaving
        gc.collect()
    assert data() is None


def test_loads_are_reported_by_another_thread(rig: Rig) -> None:
    """Whoever watches asks while batches are in flight; there is an entry for each GPU, or nothing."""
    rig.device.submit([rig.frame("a", 0)])
    with ThreadPoolExecutor(1) as threads:
        loads = threads.submit(rig.device.sample).result(DEADLINE_S)
    rig.collect(1)

    assert len({load.name for load in loads}) == len(loads)
    assert all(0 <= load.memory_used_mb <= load.memory_total_mb for load in loads)


def test_closing_twice_with_work_in_flight(kind: Kind) -> None:
    """Close waits for the engine, may be called again, and nothing can be submitted after it."""
    rig = Rig(kind)
    for number in range(rig.device.description.slots):
        rig.device.submit([rig.frame("a", number)])

    rig.device.close()
    rig.device.close()

    assert (rig.device.in_flight(), rig.device.free_slots()) == (0, 0)
    with pytest.raises(DeviceError, match="closed"):
        rig.device.submit([rig.frame("a", 9)])
