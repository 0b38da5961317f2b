# SPDX-License-Identifier: AGPL-3.0-or-later
"""FFmpeg's CUDA decoder for machines without a GPU: it decodes on the CPU, and its frames lie in device memory.

It keeps FFmpeg's rules: frames have padded lines, planes of their own, and are written on the default stream, so
that nothing of them is there before an event of that stream has passed; when a frame is dropped its memory is used
for the next one.
"""

from __future__ import annotations

import ctypes
import weakref
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from tests.fakes.gpu_libraries.pynv import PixelFormat, semiplanar

ALIGNMENT = 256
_NAMES = {PixelFormat.NV12: "nv12", PixelFormat.P016: "p010le"}


class FakeHwFrame:
    """A frame as `av.VideoFrame` shows one of format cuda."""

    def __init__(self, decoded: Any, pixel_format: PixelFormat, planes: list[Any]) -> None:
        self.format = SimpleNamespace(name="cuda")
        self.sw_format = SimpleNamespace(name=_NAMES[pixel_format])
        self.planes = tuple(planes)
        for name in ("width", "height", "colorspace", "color_range", "key_frame", "is_corrupt", "pts", "time"):
            setattr(self, name, getattr(decoded, name))


class FakeHwContext:
    """A decoder on GPU 0."""

    def __init__(self, codec: str) -> None:
        self._reader: Any = av.CodecContext.create(codec, "r")
        self._reader.thread_type = "NONE"
        self._free: dict[int, list[Any]] = {}
        self._staging: list[Any] = []
        self.allocated = 0

    @property
    def extradata(self) -> Any:
        """Return the parameter sets from outside the stream."""
        return self._reader.extradata

    @extradata.setter
    def extradata(self, value: Any) -> None:
        self._reader.extradata = value

    @property
    def flags(self) -> int:
        """Return FFmpeg's flags."""
        return int(self._reader.flags)

    @flags.setter
    def flags(self, value: int) -> None:
        self._reader.flags = value

    def decode(self, packet: Any) -> list[Any]:
        """Return the frames that `packet` completes."""
        return [self._placed(frame) for frame in self._reader.decode(packet)]

    def _placed(self, decoded: Any) -> FakeHwFrame:
        pixel_format, luma, chroma = semiplanar(decoded)
        buffers = [self._upload(plane) for plane in (luma, chroma)]
        planes = [SimpleNamespace(buffer_ptr=int(buffer.handle), line_size=pitch) for buffer, pitch in buffers]
        frame = FakeHwFrame(decoded, pixel_format, planes)
        for buffer, _ in buffers:
            weakref.finalize(frame, self._free.setdefault(buffer.size, []).append, buffer)
        return frame

    def _upload(self, plane: NDArray[Any]) -> tuple[Any, int]:
        from cuda.core import LEGACY_DEFAULT_STREAM, Device, LegacyPinnedMemoryResource

        raw = plane.view(np.uint8)
        pitch = -(-raw.shape[1] // ALIGNMENT) * ALIGNMENT
        lines = np.full((raw.shape[0], pitch), 0xEE, np.uint8)
        lines[:, : raw.shape[1]] = raw
        pinned = LegacyPinnedMemoryResource().allocate(lines.nbytes)
        ctypes.memmove(int(pinned.handle), lines.ctypes.data, lines.nbytes)
        free = self._free.get(lines.nbytes)
        if free:
            buffer = free.pop(0)
        else:
            buffer = Device(0).allocate(lines.nbytes, stream=LEGACY_DEFAULT_STREAM)
            self.allocated += 1
        pinned.copy_to(buffer, stream=LEGACY_DEFAULT_STREAM)
        self._staging.append(pinned)
        return buffer, pitch
