# SPDX-License-Identifier: AGPL-3.0-or-later
"""Two GPUs of the fake driver: chosen by name, cameras spread over them, batches split between them."""

from __future__ import annotations

import gc
import io
import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from tests.builders import FULL
from tests.fakes.fakecuda.driver import LAUNCH_FAILED, Schedule
from tests.fakes.gpu_libraries.nvml import BUS, FakeNvml
from tests.fakes.gpu_libraries.videos import opened
from tests.fakes.machine import CudaMachine, GpuFrames

from vision_line.devices.cuda.context import GpuContext, open_gpu
from vision_line.devices.cuda.decoders.choice import DecoderBackend
from vision_line.devices.cuda.decoders.upload import UploadDecoder
from vision_line.devices.cuda.multi_gpu import MultiGpuDecoders, PlacedDecoder, open_gpus
from vision_line.devices.model.model import Model
from vision_line.devices.selection import choose_device, chosen_gpus
from vision_line.errors import DeviceError, RunError, SourceError
from vision_line.frames import Frame

SHAPE = (64, 128)
SECOND_BUS = "0000:02:00.0"
DEADLINE_S = 60.0
BACKENDS = (DecoderBackend("CPU, uploaded", UploadDecoder),)

Encode = Callable[..., io.BytesIO]


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    """Let NVML tell of both GPUs."""
    nvml = FakeNvml(buses=(BUS, SECOND_BUS))
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    return nvml


@pytest.fixture
def several(cuda_machine: CudaMachine, second_gpu: GpuFrames, nvml: FakeNvml, model: Model) -> Iterator[Several]:
    """Open both GPUs as one device, and close it after the test."""
    several = Several(cuda_machine, second_gpu, model)
    yield several
    try:
        several.device.close()
    except RunError:
        assert cuda_machine.may_fail


class Several:
    """Both GPUs as one device, and the frames that it is given."""

    def __init__(self, machine: CudaMachine, second: GpuFrames, model: Model) -> None:
        self.machine = machine
        self.gpus = (machine, second)
        self.woken = threading.Event()
        self.device = open_gpus(model, [SHAPE], self.woken.set, indices=(0, 1), cache=machine.cache)
        self.sequence = 0

    def frame(self, camera: str, gpu: int) -> tuple[Frame, tuple[int, int]]:
        """Return a camera's next frame, with its data on a GPU, and the class and tile that it shows."""
        class_id, tile = self.sequence % 3, self.sequence * 5 % 8
        rgb = np.zeros((64, 128, 3), np.uint8)
        row, column = divmod(tile, 4)
        rgb[row * 32 : row * 32 + 32, column * 32 : column * 32 + 32, class_id] = 255
        self.sequence += 1
        shown = self.gpus[gpu].show(rgb)
        return Frame(camera, self.sequence, (128, 64), FULL, shown, 0.0, 0.0, 0.0), (class_id, tile)

    def collect(self, frames: int) -> dict[str, list[tuple[int, int]]]:
        """Return what was found in the next frames of each camera."""
        found: dict[str, list[tuple[int, int]]] = {}
        deadline = time.monotonic() + DEADLINE_S
        while frames > 0:
            assert self.woken.wait(max(0.0, deadline - time.monotonic())), "wake was not called"
            self.woken.clear()
            for inspection in self.device.collect():
                frames -= 1
                seen = inspection.detections
                left, top = seen.xyxy[0, :2]
                place = int(seen.class_id[0]), int(top // 32 * 4 + left // 32)
                found.setdefault(inspection.frame.camera, []).append(place)
        return found


@pytest.mark.parametrize(
    ("schedule", "seed"), [(Schedule.LAZY, 0), (Schedule.EAGER, 0), *((Schedule.RANDOM, seed) for seed in range(4))]
)
def test_results_are_right_on_both_gpus(several: Several, schedule: Schedule, seed: int) -> None:
    """Each frame gets its own result, and each camera's come in order although `mover` is on another GPU each time."""
    several.machine.driver.schedule(schedule, seed)
    wanted: dict[str, list[tuple[int, int]]] = {"first": [], "second": [], "mover": []}
    found: dict[str, list[tuple[int, int]]] = {camera: [] for camera in wanted}
    for number in range(12):
        while not several.device.free_slots():
            for camera, seen in several.collect(1).items():
                found[camera] += seen
        batch = [several.frame(c, gpu) for c, gpu in (("first", 0), ("mover", number % 2), ("second", 1))]
        several.device.submit([frame for frame, _ in batch])
        for frame, shown in batch:
            wanted[frame.camera].append(shown)
    for camera, seen in several.collect(several.device.in_flight()).items():
        found[camera] += seen

    assert found == wanted


def test_engines_are_built_once_for_gpus_of_a_kind(several: Several) -> None:
    """The second GPU finds the first one's engine."""
    assert len(list(several.machine.cache.rglob("*.engine"))) == 1


def test_it_is_described_and_measured_as_one(several: Several, nvml: FakeNvml) -> None:
    """One name, the kind of GPU, and each one's load; NVML is let go at the end."""
    nvml.sm_percent[SECOND_BUS] = 77
    description = several.device.description

    assert description.name == "cuda:0+1"
    assert description.detail == "2 x Fake GPU, CUDA 13.0, tensorrt 10.16.1.11"
    assert [(load.name, load.sm_percent) for load in several.device.sample()] == [("cuda:0", 32), ("cuda:1", 77)]
    several.device.close()
    assert several.device.sample() == ()
    assert nvml.opened == 0


def test_each_gpu_is_made_current_for_its_work(several: Several, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work for one GPU that is queued while the other is current is refused, so that leaving it out is noticed."""
    several.machine.may_fail = True
    batch = [several.frame("a", 0)[0], several.frame("b", 1)[0]]
    monkeypatch.setattr(GpuContext, "enter", lambda gpu: gpu.device)

    with pytest.raises(RunError, match=r"^cuda:[01]: .*CUDA_ERROR_"):
        several.device.submit(batch)
    monkeypatch.undo()


def test_a_failure_names_its_gpu(several: Several) -> None:
    """The second GPU refuses its part of a batch: that ends the run, and says which GPU it was."""
    machine = several.machine
    machine.may_fail = True
    machine.driver.inject("cuGraphLaunch", LAUNCH_FAILED, 2)

    with pytest.raises(RunError, match=r"^cuda:1: a batch cannot be started: CUDA_ERROR_LAUNCH_FAILED"):
        several.device.submit([several.frame("a", 0)[0], several.frame("b", 1)[0]])


def test_a_second_gpu_that_cannot_be_opened_leaves_nothing(
    cuda_machine: CudaMachine, second_gpu: GpuFrames, model: Model
) -> None:
    """The first is closed again."""
    before = cuda_machine.driver.live()
    open_gpus(model, [SHAPE], lambda: None, indices=(0,), cache=cuda_machine.cache).close()
    made = cuda_machine.driver.calls("cuStreamCreate")
    open_gpus(model, [SHAPE], lambda: None, indices=(0,), cache=cuda_machine.cache).close()
    of_one = cuda_machine.driver.calls("cuStreamCreate") - made
    cuda_machine.driver.inject("cuStreamCreate", LAUNCH_FAILED, of_one + 1)

    with pytest.raises(DeviceError, match=r"^cuda: the device cannot be opened"):
        open_gpus(model, [SHAPE], lambda: None, indices=(0, 1), cache=cuda_machine.cache)

    gc.collect()
    cuda_machine.driver.settle()
    assert cuda_machine.driver.live() == before


@pytest.mark.parametrize(
    ("name", "chosen"),
    [("auto", "cuda:0,1"), ("cuda:all", "cuda:0,1"), ("cuda", "cuda"), ("cuda:1", "cuda:1"), ("cuda:1,0", "cuda:1,0")],
)
def test_gpus_are_chosen_by_name(second_gpu: GpuFrames, name: str, chosen: str) -> None:
    """`auto` and `all` take both; `cuda` stays the first."""
    assert choose_device(name) == chosen


def test_auto_takes_the_only_gpu_as_ever(cuda_machine: CudaMachine) -> None:
    """With one GPU nothing changes."""
    assert (choose_device("auto"), choose_device("cuda:all")) == ("cuda", "cuda")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cuda:0,2", "expected a GPU number from 0 to 1, found 2"),
        ("cuda:0,0", "expected each GPU once, found 'cuda:0,0'"),
    ],
)
def test_gpus_that_are_not_there_are_refused(second_gpu: GpuFrames, name: str, message: str) -> None:
    """In one clear sentence."""
    with pytest.raises(DeviceError, match=re.escape(message)):
        choose_device(name)


def test_names_say_which_gpus(second_gpu: GpuFrames) -> None:
    """What was chosen can be taken apart again."""
    assert [chosen_gpus(name) for name in ("cpu", "cuda", "cuda:3", "cuda:1,0")] == [(), (0,), (3,), (1, 0)]


@pytest.fixture
def decoders(cuda_machine: CudaMachine, second_gpu: GpuFrames, nvml: FakeNvml) -> MultiGpuDecoders:
    """Return what opens decoders on both idle GPUs."""
    nvml.sm_percent.update({BUS: 0, SECOND_BUS: 0})
    return MultiGpuDecoders([cuda_machine.gpu, second_gpu.gpu], BACKENDS)


def _decode(decoders: MultiGpuDecoders, camera: str, video: io.BytesIO) -> tuple[PlacedDecoder, set[int]]:
    """Open a camera's decoder and decode a video; return it, and the GPUs on which its frames lie."""
    with opened(video) as (stream, packets):
        decoder = decoders.open(camera, stream, None)
        frames = [frame for packet in packets for frame in decoder.decode(packet)]
    assert frames
    return decoder, {frame.data.device for frame in frames}


def test_frames_lie_on_the_gpu_that_was_chosen(decoders: MultiGpuDecoders, nvml: FakeNvml, encode: Encode) -> None:
    """By the load; a busy GPU gets no camera, and one that comes back stays."""
    nvml.sm_percent[BUS] = 80
    open_decoders: list[PlacedDecoder] = []
    for number in range(3):
        decoder, gpus = _decode(decoders, f"cam{number}", encode("mjpeg", pixels="yuvj420p"))
        open_decoders.append(decoder)
        assert gpus == {decoder.gpu} == {1}
    assert decoders.cameras() == {0: 0, 1: 3}

    nvml.sm_percent.update({BUS: 0, SECOND_BUS: 25})
    for decoder in open_decoders:
        decoder.close()
        decoder.close()
    again, gpus = _decode(decoders, "cam0", encode("mjpeg", pixels="yuvj420p"))
    again.close()
    assert gpus == {1}
    assert decoders.cameras() == {0: 0, 1: 3}


def test_cameras_that_start_together_are_spread(
    decoders: MultiGpuDecoders, encode: Encode, caplog: pytest.LogCaptureFixture
) -> None:
    """From many threads at once, before any load shows; each one's frames are on its GPU, and the log tells it."""
    video = encode("mjpeg", pixels="yuvj420p").getvalue()
    with ThreadPoolExecutor(8) as threads, caplog.at_level(logging.INFO):
        done = list(threads.map(lambda number: _decode(decoders, f"cam{number}", io.BytesIO(video)), range(16)))

    assert decoders.cameras() == {0: 8, 1: 8}
    assert all(gpus == {decoder.gpu} for decoder, gpus in done)
    assert sum(message.endswith("on cuda:1") for message in caplog.messages) == 8
    for decoder, _ in done:
        decoder.close()


def test_a_stream_that_is_refused_takes_no_place_for_good(decoders: MultiGpuDecoders) -> None:
    """Its camera is not counted as open; it may be forgotten."""
    stream: Any = type("Stream", (), {"type": "video", "codec_context": None})()
    with pytest.raises(SourceError, match="CODEC_UNSUPPORTED"):
        decoders.open("a", stream, None)

    assert not any(home.open for home in decoders._spread._homes.values())


def test_a_gpu_is_what_its_driver_says(second_gpu: GpuFrames) -> None:
    """Each has its own place, by which NVML finds it."""
    assert [open_gpu(index).pci_bus_id for index in (0, 1)] == [BUS, SECOND_BUS]
    assert second_gpu.gpu.label == "cuda:1"
