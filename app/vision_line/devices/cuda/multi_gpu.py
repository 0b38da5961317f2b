# SPDX-License-Identifier: AGPL-3.0-or-later
"""The GPUs of a machine used together: which there are, decoders spread over them, and their devices as one."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from vision_line.devices.cuda.backend import open_cuda
from vision_line.devices.cuda.context import GpuContext, count_gpus, open_gpu
from vision_line.devices.cuda.decoders.choice import BACKENDS, CudaDecoder, DecoderBackend
from vision_line.devices.cuda.engine_cache import check_gpu
from vision_line.devices.cuda.monitor import open_monitor
from vision_line.devices.cuda.surface import Surface
from vision_line.devices.device import InferenceDevice
from vision_line.devices.model.model import Model
from vision_line.devices.multi_device import MultiDevice
from vision_line.errors import DeviceError
from vision_line.frames import Colour, Scores
from vision_line.ports import DecodedFrame, DeviceLoad, EncodedVideo, ShapeHW, VideoPacket

logger = logging.getLogger(__name__)

#: A GPU is taken to be at least so busy for each of its cameras, for the time until it is measured: 25 frames/s of
#: H.264 at 1920 x 1080 take 3.3 % of an NVDEC engine of Ampere's (docs/capacity.md).
CAMERA_PERCENT = 4.0
#: GPUs whose load differs by less are alike, and the number of cameras decides.
ALIKE_PERCENT = 15.0
#: A camera that comes back leaves its GPU for one that is less busy by more than this.
MOVE_PERCENT = 30.0
#: Time from one move to the next, in which the measured load follows the first.
SETTLE_S = 10.0
#: How long a camera's place is kept after its connection ended.
HOLD_S = 600.0

#: How busy a GPU counts whose memory is nearly full: it gets a camera only where all are.
_FULL_PERCENT = 1000.0


@dataclass(slots=True)
class _Home:
    """Where a camera's frames go; `open` is how many decoders it has there, `left_s` when it last lost one."""

    gpu: int
    open: int = 0
    left_s: float = 0.0


class CameraPlacement:
    """The cameras' places on the GPUs, by how busy those are: docs/decisions/0008-several-gpus.md.

    One thread at a time; time is given, in seconds of one clock.
    A camera is given a place when its decoder is opened, keeps it over reconnections, and is moved at a reconnection
    alone: a decoder cannot move its frames. Cameras that lost their connection keep their place for `HOLD_S`.
    """

    def __init__(self, gpus: Sequence[int]) -> None:
        """Spread over `gpus`, by their numbers, two or more."""
        self._gpus = tuple(gpus)
        self._homes: dict[str, _Home] = {}
        self._moved_s: float | None = None

    def place(self, camera: str, loads: Mapping[int, DeviceLoad], now_s: float) -> int:
        """Return the GPU on which to open a decoder of `camera`, and count it there until `left` is called.

        `loads` are the present loads of the GPUs that tell them.
        """
        self._drop_expired(now_s)
        home = self._homes.get(camera)
        counts = self._counts(without=camera)
        busy = {gpu: _busy_percent(loads.get(gpu), counts[gpu]) for gpu in self._gpus}
        if home is None:
            home = self._homes[camera] = _Home(self._roomiest(busy, counts))
        elif self._should_move(home, busy, now_s):
            self._moved_s = now_s
            home = self._homes[camera] = _Home(self._roomiest(busy, counts))
        home.open += 1
        return home.gpu

    def left(self, camera: str, gpu: int, now_s: float) -> None:
        """Note that a decoder which was opened for `camera` on `gpu` is closed."""
        home = self._homes.get(camera)
        if home is not None and home.gpu == gpu and home.open:  # else it has moved, and this was its old place
            home.open -= 1
            home.left_s = now_s

    def cameras(self) -> dict[int, int]:
        """Return how many cameras have a place on each GPU."""
        counts = self._counts()
        return {gpu: counts[gpu] for gpu in self._gpus}

    def _counts(self, without: str | None = None) -> Counter[int]:
        return Counter(home.gpu for camera, home in self._homes.items() if camera != without)

    def _roomiest(self, busy: Mapping[int, float], counts: Mapping[int, int]) -> int:
        least = min(busy.values())
        alike = [gpu for gpu in self._gpus if busy[gpu] - least <= ALIKE_PERCENT]
        return min(alike, key=lambda gpu: (counts[gpu], busy[gpu]))

    def _should_move(self, home: _Home, busy: Mapping[int, float], now_s: float) -> bool:
        if home.open or (self._moved_s is not None and now_s - self._moved_s < SETTLE_S):
            return False
        return busy[home.gpu] - min(busy.values()) > MOVE_PERCENT

    def _drop_expired(self, now_s: float) -> None:
        expired = [name for name, home in self._homes.items() if not home.open and now_s - home.left_s > HOLD_S]
        for name in expired:
            del self._homes[name]


def _busy_percent(load: DeviceLoad | None, cameras: int) -> float:
    """Return how busy a GPU counts: as measured, and never less than its cameras will make it."""
    expected = CAMERA_PERCENT * cameras
    if load is None:
        return expected
    if load.is_full:
        return _FULL_PERCENT + expected
    return max(expected, load.busy_percent or 0)


def usable_gpus() -> tuple[int, ...]:
    """Return the numbers of the GPUs that can be used, one or more; the log says which are left out, and why.

    Raises:
        DeviceError: none can, for the reason that is true of the first.
    """
    usable: list[int] = []
    faults: list[DeviceError] = []
    for index in range(count_gpus()):
        try:
            check_gpu(index)
        except DeviceError as exc:
            faults.append(exc)
        else:
            usable.append(index)
    if not usable:
        raise faults[0] if faults else DeviceError("cuda: the driver shows no GPU")
    for fault in faults:
        logger.warning("a GPU is not used: %s", fault)
    return tuple(usable)


class PlacedDecoder:
    """A camera's decoder on the GPU that was chosen for it; implements `ports.Decoder`."""

    def __init__(self, decoder: CudaDecoder, gpu: int, leave: Callable[[], None]) -> None:
        """Call `leave` once, when it is closed; `gpu` is the number of the GPU."""
        self.gpu = gpu
        self._decoder = decoder
        self._leave: Callable[[], None] | None = leave

    def decode(self, packet: VideoPacket | None) -> Iterator[DecodedFrame]:
        """Yield the frames that `packet` completes; see `CudaDecoder`."""
        return self._decoder.decode(packet)

    def close(self) -> None:
        """Release the codec, and the place; may be called twice."""
        self._decoder.close()
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()


class MultiGpuDecoders:
    """Opens each camera's decoder on the GPU that `CameraPlacement` chooses for it, by the GPUs' load at that moment.

    Any thread. The cameras start before the device is open, so it asks NVML itself.
    """

    def __init__(
        self,
        gpus: Sequence[GpuContext],
        backends: Sequence[DecoderBackend] = BACKENDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open decoders on `gpus`, each with the first of `backends` that takes its stream."""
        self._openers = {gpu.index: partial(CudaDecoder, gpu, backends=tuple(backends)) for gpu in gpus}
        self._monitors = {gpu.index: open_monitor(gpu) for gpu in gpus}
        self._labels = {gpu.index: gpu.label for gpu in gpus}
        self._spread = CameraPlacement(tuple(self._openers))
        self._clock = clock
        self._lock = threading.Lock()

    def open(self, camera: str, stream: EncodedVideo, colour: Colour | None) -> PlacedDecoder:
        """Open a camera's decoder; see `ports.OpenDecoder`."""
        loads = self._loads()
        with self._lock:
            gpu = self._spread.place(camera, loads, self._clock())
        try:
            decoder = self._openers[gpu](camera, stream, colour)
        except BaseException:
            self._left(camera, gpu)
            raise
        logger.info("camera %s: on %s", camera, self._labels[gpu])
        return PlacedDecoder(decoder, gpu, lambda: self._left(camera, gpu))

    def cameras(self) -> dict[int, int]:
        """Return how many cameras have a place on each GPU."""
        with self._lock:
            return self._spread.cameras()

    def _loads(self) -> dict[int, DeviceLoad]:
        return {index: load for index, monitor in self._monitors.items() for load in monitor.sample()}

    def _left(self, camera: str, gpu: int) -> None:
        with self._lock:
            self._spread.left(camera, gpu, self._clock())


@lru_cache(maxsize=16)
def decoders_over(indices: tuple[int, ...]) -> MultiGpuDecoders:
    """Return what opens decoders on the GPUs of these numbers, one for the whole process.

    Raises:
        DeviceError: as `open_gpu`.
    """
    return MultiGpuDecoders([open_gpu(index) for index in indices])


def open_gpus(
    model: Model,
    shapes: Sequence[ShapeHW],
    wake: Callable[[], None],
    *,
    indices: tuple[int, ...],
    score_floor: float | Scores | None = None,
    cache: Path | None = None,
    stop: threading.Event | None = None,
    on_status: Callable[[str], None] | None = None,
    max_batch: int | None = None,
) -> MultiDevice:
    """Open the GPUs of these numbers as one device, one after the other; the arguments are those of `open_cuda`.

    Each has room for whole batches of `max_batch`: all cameras may come to lie on one of them.
    GPUs of one kind share an engine: the second finds what was built for the first.

    Raises:
        DeviceError, ModelError: as `open_cuda`; none is open then.
    """
    with ExitStack() as undo:
        devices: list[InferenceDevice] = []
        open_one = partial(
            open_cuda,
            model,
            shapes,
            wake,
            score_floor=score_floor,
            cache=cache,
            stop=stop,
            on_status=on_status,
            max_batch=max_batch,
        )
        for index in indices:
            devices.append(open_one(index=index))
            undo.callback(devices[-1].close)
        places = {index: number for number, index in enumerate(indices)}
        several = MultiDevice(
            devices,
            lambda data: places.get(data.device) if isinstance(data, Surface) else None,
        )
        undo.pop_all()
    return several
