# SPDX-License-Identifier: AGPL-3.0-or-later
"""The device under test: the opened device with its model, and frames for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from vision_line.devices.cuda.context import GpuContext, open_gpu
from vision_line.devices.cuda.monitor import GpuMonitor
from vision_line.devices.cuda.tensorrt_engine import BUCKETS
from vision_line.devices.model.model import Model
from vision_line.devices.preprocessing.shapes import plan_input_shapes
from vision_line.devices.selection import choose_device, chosen_gpus, decoder_opener, open_device
from vision_line.errors import DeviceError, RunError
from vision_line.frames import Frame, Inspection
from vision_line.ports import DecodedFrame, DeviceLoad, LoadedDevice, OpenDecoder, ShapeHW
from vision_line.selftest.videos import H264, ImageBGR, Video, VideoKind, draw_images, encode_video, opened
from vision_line.telemetry.load_history import LoadTotals

#: Time without a result after which the device counts as stalled; devices report this themselves after 30 s.
STALL_S = 40.0

_BUS_ID_BYTES = 16  # the driver asks for 13 or more

#: Number of different frames for the checks of detections and order.
DISTINCT_FRAMES = 8

#: Frame size of the CPU's cameras and of comparisons, and of a GPU's cameras.
SMALL_SIZE_WH, _GPU_SIZE_WH = (640, 360), (1920, 1080)


@dataclass(frozen=True, slots=True)
class LoadResult:
    """Result of a load test; all numbers are of the measured time, after settling."""

    seconds: float
    due: int  # frames whose packet was due
    inspected: int
    latency_ms: tuple[float, ...]  # packet due -> result collected, of each inspected frame, ascending
    gpus: tuple[LoadTotals, ...]
    cpu_s: float = 0.0  # processor time of the process, of a full load

    @property
    def inspected_fps(self) -> float:
        """Return the inspected frames a second."""
        return self.inspected / self.seconds


@dataclass(frozen=True, slots=True)
class Settings:
    """How thorough the test is."""

    seconds: float = 10.0  # length of each load
    settle_s: float = 3.0  # of the paced load before it is measured: decoders open, and the GPU's clock rises
    repeats: int = 50  # measured runs of kernel and engine for each batch
    frames: int = 50  # of each video
    submitted: int = 1000  # frames that the order is checked with
    buckets: tuple[int, ...] = BUCKETS  # batches whose times are measured
    cameras: int = 16  # of the paced load
    fps: float = 25.0
    size_wh: tuple[int, int] | None = None  # of the cameras' frames; None: full HD on a GPU, a ninth of it on the CPU
    kind: VideoKind = H264  # of the cameras' video
    inspect_every: int = 1  # of so many decoded frames of the paced load one is to be inspected


#: A quick run: the same checks with fewer frames and less time.
QUICK = Settings(seconds=2.0, settle_s=1.0, repeats=10, frames=26, submitted=250)


@dataclass(eq=False, kw_only=True)
class DeviceUnderTest:
    """The device under test for one input shape; for one thread. `gpu` is None on the CPU.

    It is there before its engine is: what needs none is checked also where none can be had. `open` opens it.
    `memory_before` and `memory_after` are samples of the GPU's memory around the opening, None where it reports none.
    """

    name: str
    settings: Settings
    model: Model
    shape_hw: ShapeHW
    open_decoder: OpenDecoder
    woken: threading.Event
    gpu: GpuContext | None
    size_wh: tuple[int, int]
    opened: LoadedDevice | None = None
    monitor: GpuMonitor | None = None
    memory_before: DeviceLoad | None = None
    memory_after: DeviceLoad | None = None
    no_samples_reason: str = ""  # why the GPU's memory and power are not known
    paced: LoadResult | None = None  # result of the paced load, once it has run
    _videos: dict[VideoKind, Video | None] = field(default_factory=dict)

    @property
    def device(self) -> LoadedDevice:
        """The device with its engine.

        Raises:
            DeviceError: it is not open.
        """
        if self.opened is None:
            raise DeviceError("selftest: the device is not open")
        return self.opened

    def open(self) -> None:
        """Open the device; its engine is built where there is none, which takes minutes.

        Raises:
            DeviceError, ModelError: as `open_device`.
        """
        self.opened = open_device(self.name, self.model, [self.shape_hw], self.woken.set)
        if self.monitor is not None and self.gpu is not None:
            self.memory_after = next(iter(self.monitor.sample()), None)

    def close(self) -> None:
        """Close the device, if it is open.

        Raises:
            RunError: the GPU fails meanwhile.
        """
        if self.opened is not None:
            self.opened.close()

    @cached_property
    def images(self) -> list[ImageBGR]:
        """Return the drawn images at the cameras' size."""
        return draw_images(self.size_wh, self.settings.frames)

    @cached_property
    def small_images(self) -> list[ImageBGR]:
        """Return the drawn images at a size that is compared quickly."""
        return draw_images(SMALL_SIZE_WH, self.settings.frames)

    @cached_property
    def video(self) -> Video:
        """Return the video that the cameras send.

        Raises:
            RunError: this FFmpeg cannot make it.
        """
        video = self.encoded(self.settings.kind)
        if video is None:
            raise RunError(f"selftest: PyAV has no encoder for {self.settings.kind}, so there is nothing to decode")
        return video

    def encoded(self, kind: VideoKind) -> Video | None:
        """Return the drawn images as a video of `kind`; None where this FFmpeg cannot encode it."""
        if kind not in self._videos:
            self._videos[kind] = encode_video(kind, self.images)
        return self._videos[kind]

    @cached_property
    def decoded_frames(self) -> list[DecodedFrame]:
        """Return frames of the video from the device's decoder, far apart from each other."""
        step = max(self.settings.frames // DISTINCT_FRAMES, 1)
        with opened(self.video) as (stream, packets):
            decoder = self.open_decoder("selftest", stream, None)
            decoded = (frame for packet in [*packets, None] for frame in decoder.decode(packet))
            kept = [frame for number, frame in enumerate(decoded) if number % step == 0][:DISTINCT_FRAMES]
            decoder.close()
        if not kept:
            raise RunError("selftest: the decoder gives no frames")
        return kept

    def frame(self, camera: str, sequence: int, decoded: DecodedFrame, arrived_s: float | None = None) -> Frame:
        """Return `decoded` as a camera's frame that arrived at `arrived_s`, None: now."""
        now_s = time.monotonic()
        return Frame(
            camera=camera,
            sequence=sequence,
            size_wh=decoded.size_wh,
            colour=decoded.colour,
            data=decoded.data,
            arrived_s=now_s if arrived_s is None else arrived_s,
            arrived_utc=time.time(),
            decoded_s=now_s,
        )

    def inspect(self, frames: Sequence[Frame]) -> list[Inspection]:
        """Inspect one batch on the idle device, and wait for it.

        Raises:
            DeviceError, RunError: as the device raises them; RunError also when no result comes.
        """
        self.device.submit(frames)
        return self.drained()

    def next_results(self) -> list[Inspection]:
        """Wait until something has finished and return it.

        Raises:
            RunError: the engine failed, or nothing finishes.
        """
        if not self.woken.wait(STALL_S):
            raise RunError(f"selftest: no result for {STALL_S:.0f} s")
        self.woken.clear()
        return self.device.collect()

    def drained(self) -> list[Inspection]:
        """Wait for all that is in flight and return it.

        Raises:
            RunError: as `next_results`.
        """
        found = self.device.collect()
        while self.device.in_flight():
            found += self.next_results()
        return found


@contextmanager
def device_under_test(device: str, model: Model, settings: Settings) -> Iterator[DeviceUnderTest]:
    """Yield the device called `device`, which is not open yet, for `model`; close it.

    Raises:
        DeviceError: the device cannot be used here.
        RunError: the GPU fails while it is closed.
    """
    with ExitStack() as closing:
        bus = _bus_id(device)
        monitor = GpuMonitor(bus, name=device) if bus else None
        if monitor is not None:
            closing.callback(monitor.close)
        before = None if monitor is None else next(iter(monitor.sample()), None)
        name = _one_of(device, choose_device(device))
        gpu = open_gpu(chosen_gpus(name)[0]) if chosen_gpus(name) else None
        size_wh = settings.size_wh or (SMALL_SIZE_WH if gpu is None else _GPU_SIZE_WH)
        (shape_hw,) = plan_input_shapes(model, [size_wh])
        dut = DeviceUnderTest(
            name=name,
            settings=settings,
            model=model,
            shape_hw=shape_hw,
            open_decoder=decoder_opener(name),
            woken=threading.Event(),
            gpu=gpu,
            size_wh=size_wh,
            monitor=monitor,
            memory_before=before if gpu is not None and gpu.pci_bus_id == bus else None,
            no_samples_reason="" if monitor is None else monitor.reason,
        )
        closing.callback(dut.close)
        yield dut


def _one_of(device: str, chosen: str) -> str:
    """Return the one GPU, or the CPU, that is tested when `device` was asked for and stands for `chosen`.

    Raises:
        DeviceError: several GPUs were asked for.
    """
    gpus = chosen_gpus(chosen)
    if len(gpus) > 1 and device != "auto":
        raise DeviceError(f"selftest: expected one GPU, such as cuda:{gpus[0]}, found {device!r}")
    return f"cuda:{gpus[0]}" if gpus else chosen


def _bus_id(device: str) -> str:
    """Return the PCI bus id of the GPU that `device` names, "auto": the first; "" where there is none.

    Nothing of ours is in its memory then. Why there is none is said by who opens it.
    """
    kind, _, number = device.partition(":")
    if kind == "cpu" or not (number or "0").isdecimal():
        return ""
    try:
        from cuda.bindings import driver

        driver.cuInit(0)
    except (ImportError, RuntimeError):  # the latter is raised where there is no driver
        return ""
    code, gpu = driver.cuDeviceGet(int(number or 0))
    if code == 0:
        code, bus = driver.cuDeviceGetPCIBusId(_BUS_ID_BYTES, gpu)
    return str(bus.partition(b"\0")[0].decode()) if code == 0 else ""
