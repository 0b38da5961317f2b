# SPDX-License-Identifier: AGPL-3.0-or-later
"""A decoded frame in the GPU's memory, and the pool of such frames that each decoder owns."""

from __future__ import annotations

import logging
import threading
import weakref
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, cast

import av
import numpy as np
from numpy.typing import NDArray

from vision_line.devices.cuda.context import GpuContext, translated_errors
from vision_line.errors import DeviceError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from av.video.plane import VideoPlane
    from cuda.core import Buffer, Event, Stream

logger = logging.getLogger(__name__)

#: Frames that a decoder keeps ready: one in the mailbox, one or two in batches, one being looked at.
POOL_SIZE = 4

#: Frames of one camera that may be held at once; more are a leak, or records that cannot keep up.
POOL_LIMIT = 48


class PixelFormat(StrEnum):
    """How samples lie in memory: a luma plane, and a half-size plane of interleaved Cb and Cr."""

    NV12 = "nv12"  # 8 bits
    P016 = "p016"  # 16 bits little-endian, the value in the upper bits

    @property
    def sample_bytes(self) -> int:
        """Return the size of one sample in bytes."""
        return 1 if self is PixelFormat.NV12 else 2

    @property
    def upper_byte(self) -> int:
        """Return where in a sample its upper byte is; samples are little-endian."""
        return self.sample_bytes - 1

    @property
    def ffmpeg_name(self) -> str:
        """Return what FFmpeg calls a host copy of it; ten bits are kept of P016."""
        return "nv12" if self is PixelFormat.NV12 else "p010le"


@dataclass(slots=True, eq=False, weakref_slot=True)
class Surface:
    """One 4:2:0 frame on GPU `device`; `luma` and `chroma` are device addresses, pitches are in bytes.

    Odd sizes round the chroma plane up. The memory holds the frame once `ready` has passed (None: it does already)
    and stays as it is for as long as `owner` lives, which keeps it. Nobody writes to it; any thread may read.
    """

    format: PixelFormat
    size_wh: tuple[int, int]
    luma: int
    luma_pitch: int
    chroma: int
    chroma_pitch: int
    ready: Event | None
    owner: object
    device: int = 0

    def to_host(self) -> av.VideoFrame:
        """Return a copy in the host's memory (nv12, or p010le of P016) that the caller owns.

        Waits for the frame and for the copy, on a stream of the calling thread's own; any thread. It is for the few
        frames that people and the health check look at: 1.5 or 3 bytes for each pixel cross the bus.

        Raises:
            DeviceError: the GPU failed.
        """
        width, height = self.size_wh
        frame = av.VideoFrame(width, height, self.format.ffmpeg_name)
        with translated_errors(DeviceError, "a frame cannot be copied from the GPU"):
            stream = _host_stream(self.device)
            if self.ready is not None:
                stream.wait(self.ready)
            copies = [
                _HostCopy(plane, address, pitch, line_bytes, stream)
                for plane, address, pitch, line_bytes in zip(
                    frame.planes,
                    (self.luma, self.chroma),
                    (self.luma_pitch, self.chroma_pitch),
                    _line_bytes(self.format, width),
                    strict=True,
                )
            ]
            stream.sync()
        for copy in copies:
            copy.finish()
        return frame


@dataclass(frozen=True, slots=True)
class SurfaceLayout:
    """A frame's place in one piece of memory: the chroma plane follows the luma plane, both of one pitch."""

    format: PixelFormat
    size_wh: tuple[int, int]

    @property
    def pitch(self) -> int:
        """Return the bytes from one line to the next: those of a line of chroma, which is as wide or one wider."""
        return _line_bytes(self.format, self.size_wh[0])[1]

    @property
    def chroma_offset(self) -> int:
        """Return where the chroma plane starts, in bytes."""
        return self.pitch * self.size_wh[1]

    @property
    def nbytes(self) -> int:
        """Return the size of the whole frame in bytes."""
        return self.chroma_offset + self.pitch * ((self.size_wh[1] + 1) // 2)


@dataclass(frozen=True, slots=True, eq=False)
class _Memory:
    """One frame's device memory and the event that says when it was filled; both are used again and again."""

    buffer: Buffer
    filled: Event


class SurfacePool:
    """A decoder's own device memory. Used by the decoder's thread; surfaces come back from any thread.

    The decoder's stream fills every frame, so filling one again waits for its last filling. That nobody reads it any
    more is the holder's affair: a surface is dropped only after the GPU's reading of it has been waited for.
    """

    def __init__(
        self, gpu: GpuContext, stream: Stream, layout: SurfaceLayout, camera: str, limit: int = POOL_LIMIT
    ) -> None:
        """Allocate `POOL_SIZE` frames on `stream`, in whose order they are filled; `camera` is for the log."""
        self.layout = layout
        self.grown = 0
        self._gpu = gpu
        self._stream = stream
        self._camera = camera
        self._limit = limit
        self._warned_full = False
        self._free: deque[_Memory] = deque(self._allocate() for _ in range(POOL_SIZE))
        self._size = POOL_SIZE
        self._returns = _Returns(self._free)

    @property
    def size(self) -> int:
        """Return how many frames there is memory for."""
        return self._size

    @property
    def held(self) -> int:
        """Return how many frames are out."""
        return self._size - len(self._free)

    def take(self) -> tuple[Surface, Buffer] | None:
        """Return a surface and its memory to be filled on the pool's stream, then `mark_filled`; None: all are out.

        A pool that runs out grows by one frame, up to its limit.
        """
        if not self._free and not self._grow():
            return None
        memory = self._free.popleft()
        base = int(memory.buffer.handle)
        pitch = self.layout.pitch
        surface = Surface(
            format=self.layout.format,
            size_wh=self.layout.size_wh,
            luma=base,
            luma_pitch=pitch,
            chroma=base + self.layout.chroma_offset,
            chroma_pitch=pitch,
            ready=memory.filled,
            owner=memory,
            device=self._gpu.index,
        )
        weakref.finalize(surface, self._returns, memory).atexit = False
        return surface, memory.buffer

    def mark_filled(self, surface: Surface) -> None:
        """Record that what the stream holds by now fills `surface`."""
        self._stream.record(surface.ready)

    def close(self) -> None:
        """Give the memory up, that of surfaces which are still held when they are dropped; may be called twice."""
        self._returns.closed = True
        self._free.clear()

    def _grow(self) -> bool:
        if self._size >= self._limit:
            if not self._warned_full:
                self._warned_full = True
                logger.warning("camera %s: all %d frames of its GPU pool are in use", self._camera, self._size)
            return False
        if not self.grown:
            logger.info("camera %s: %d frames are held on the GPU, its pool grows", self._camera, self._size)
        self._free.append(self._allocate())
        self._size += 1
        self.grown += 1
        return True

    def _allocate(self) -> _Memory:
        buffer = self._gpu.device.allocate(self.layout.nbytes, stream=self._stream)
        return _Memory(buffer, self._stream.record())


class _Returns:
    """Takes memory back from surfaces that were dropped, from whichever thread dropped them."""

    def __init__(self, free: deque[_Memory]) -> None:
        self.closed = False
        self._free = free

    def __call__(self, memory: _Memory) -> None:
        """Put `memory` back; after the pool's end it is let go, and with it its last reference."""
        if not self.closed:
            self._free.append(memory)


_local = threading.local()


def _host_stream(device: int) -> Stream:
    """Return the calling thread's own stream for copies from GPU `device`, whose context becomes the thread's."""
    from cuda.core import Device

    streams: dict[int, Stream] = _local.__dict__.setdefault("streams", {})
    gpu = Device(device)
    gpu.set_current()
    if device not in streams:
        streams[device] = gpu.create_stream()
    return streams[device]


class _HostCopy:
    """One plane on its way into FFmpeg's memory: straight there if both have the same pitch."""

    def __init__(self, plane: VideoPlane, address: int, pitch: int, line_bytes: int, stream: Stream) -> None:
        """Start copying `plane.height` lines; the last one may end in the GPU's memory where its frame ends."""
        from cuda.core import Buffer

        memory: NDArray[np.uint8] = np.frombuffer(memoryview(cast("ReadableBuffer", plane)), np.uint8)
        self._lines = memory[: plane.height * plane.line_size].reshape(plane.height, plane.line_size)
        self._line_bytes = line_bytes
        same = plane.line_size == pitch
        self._staged = self._lines if same else np.empty((plane.height, pitch), np.uint8)
        nbytes = pitch * (plane.height - 1) + line_bytes
        target = Buffer.from_handle(self._staged.ctypes.data, nbytes, owner=self._staged)
        Buffer.from_handle(address, nbytes).copy_to(target, stream=stream)

    def finish(self) -> None:
        """Bring the lines to their place; the stream has been waited for."""
        if self._staged is not self._lines:
            self._lines[:, : self._line_bytes] = self._staged[:, : self._line_bytes]


def _line_bytes(pixel_format: PixelFormat, width: int) -> tuple[int, int]:
    return width * pixel_format.sample_bytes, (width + 1) // 2 * 2 * pixel_format.sample_bytes
