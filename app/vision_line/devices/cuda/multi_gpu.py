# SPDX-License-Identifier: AGPL-3.0-or-later
"""The GPUs of a machine used together: which there are, decoders spread over them, and their devices as one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import lru_cache, partial
from pathlib import Path

from vision_line.devices.camera_placement import CameraPlacement
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
    tell: Callable[[str], None] | None = None,
) -> MultiDevice:
    """Open the GPUs of these numbers as one device, one after the other; the arguments are those of `open_cuda`.

    GPUs of one kind share an engine: the second finds what was built for the first.

    Raises:
        DeviceError, ModelError: as `open_cuda`; none is open then.
    """
    with ExitStack() as undo:
        devices: list[InferenceDevice] = []
        open_one = partial(open_cuda, model, shapes, wake, score_floor=score_floor, cache=cache, stop=stop, tell=tell)
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
