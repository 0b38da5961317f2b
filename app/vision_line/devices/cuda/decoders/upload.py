# SPDX-License-Identifier: AGPL-3.0-or-later
"""Decoding on the CPU, with each frame brought to the GPU as NV12: what no decoder of the GPU takes."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from vision_line.devices.cpu.decoder import CpuDecoder
from vision_line.devices.cpu.planes import open_planes
from vision_line.devices.cuda.context import GpuContext
from vision_line.devices.cuda.decoders.sequence import DecoderRequest
from vision_line.devices.cuda.surface import PixelFormat, Surface, SurfaceLayout, SurfacePool
from vision_line.devices.preprocessing.definition import Plane, Planes
from vision_line.errors import SourceError, SourceErrorCode
from vision_line.frames import Colour, ColourMatrix, ColourRange
from vision_line.ports import DecodedFrame, OpenDecoder, VideoPacket

if TYPE_CHECKING:
    from cuda.core import Buffer, Event, Stream

#: How RGB frames are described after they were made YCbCr here; nothing of their range is lost.
RGB_AS = Colour(ColourMatrix.BT601, ColourRange.FULL)

_STAGES = 2  # one is filled while the other crosses the bus
_NO_COLOUR = 128


def write_nv12(data: Planes, luma: Plane, chroma: Plane) -> None:
    """Write YCbCr or grey planes as NV12: `luma` (h, w), `chroma` ((h + 1) / 2, 2 * ((w + 1) / 2)) interleaved.

    Luma is copied as it is. Chroma of 4:2:0 is only interleaved; finer chroma is averaged, in keeping with the
    preprocessing definition, in which chroma counts as centred.
    """
    np.copyto(luma, data.planes[0])
    if len(data.planes) == 1:
        chroma.fill(_NO_COLOUR)
        return
    size_wh = (chroma.shape[1] // 2, chroma.shape[0])
    for offset, plane in enumerate(data.planes[1:]):
        same = plane.shape == size_wh[::-1]
        chroma[:, offset::2] = plane if same else cv2.resize(plane, size_wh, interpolation=cv2.INTER_AREA)


def yuv_planes(frame: av.VideoFrame) -> tuple[Planes, Colour | None]:
    """Return a decoded frame as 8-bit YCbCr or grey planes, and its colour if that is new (it was RGB).

    Ten bits become eight just as on the CPU device.
    """
    if not frame.format.is_rgb and not frame.format.has_palette:
        return open_planes(frame), None
    full = ColorRange.JPEG
    converted = frame.reformat(
        format="yuv444p", dst_colorspace=Colorspace.ITU601, src_color_range=full, dst_color_range=full
    )
    return open_planes(converted), RGB_AS


class UploadDecoder:
    """Decodes a camera's stream with a decoder of the host's and uploads the frames; implements `ports.Decoder`."""

    def __init__(self, request: DecoderRequest, open_decoder: OpenDecoder = CpuDecoder):
        """Open the stream's decoder, which hands out `av.VideoFrame`s, and a stream of the GPU's.

        Raises:
            SourceError: as `open_decoder` raises it.
        """
        self._camera = request.camera
        self._gpu = request.gpu
        self._override = request.colour
        self._decoder = open_decoder(request.camera, request.stream, request.colour)
        self._stream = request.gpu.open_stream()
        self._uploads: _Uploads | None = None

    def decode(self, packet: VideoPacket | None) -> Iterator[DecodedFrame]:
        """Yield the frames that `packet` (None to flush) completes; each is on its way into its surface."""
        for decoded in self._decoder.decode(packet):
            planes, colour = yuv_planes(decoded.data)
            surface = self._surface(planes)
            colour = self._override or colour or decoded.colour
            yield replace(decoded, data=surface, colour=colour)

    def close(self) -> None:
        """Release the decoder; surfaces that are held stay valid. May be called twice."""
        self._decoder.close()
        if self._uploads is not None:
            self._uploads.close()
            self._uploads = None

    def _surface(self, planes: Planes) -> Surface:
        if self._uploads is None or self._uploads.pool.layout.size_wh != planes.size_wh:
            if self._uploads is not None:
                self._uploads.close()
            self._uploads = _Uploads(self._gpu, self._stream, planes.size_wh, self._camera)
        return self._uploads.send(planes)


class _Uploads:
    """The way to the GPU for frames of one size: two pieces of pinned memory, and the surfaces they go to."""

    def __init__(self, gpu: GpuContext, stream: Stream, size_wh: tuple[int, int], camera: str) -> None:
        self._stream = stream
        self._camera = camera
        self.pool = SurfacePool(gpu, stream, SurfaceLayout(PixelFormat.NV12, size_wh), camera)
        self._stages = [_Stage(self.pool.layout, stream) for _ in range(_STAGES)]

    def send(self, planes: Planes) -> Surface:
        """Write `planes` into pinned memory and start copying it into a surface."""
        taken = self.pool.take()
        if taken is None:
            raise SourceError(self._camera, SourceErrorCode.CORRUPT, f"all {self.pool.size} of its frames are held")
        surface, memory = taken
        stage = self._stages.pop(0)
        stage.sent.sync()  # two frames ago: over, unless the bus is that busy
        write_nv12(planes, stage.luma, stage.chroma)
        stage.memory.copy_to(memory, stream=self._stream)
        self._stream.record(stage.sent)
        self._stages.append(stage)
        self.pool.mark_filled(surface)
        return surface

    def close(self) -> None:
        """Wait for what is on its way, whose pinned memory is freed then."""
        self._stream.sync()
        self.pool.close()


class _Stage:
    """One frame in pinned memory, and when it was last on its way."""

    def __init__(self, layout: SurfaceLayout, stream: Stream) -> None:
        from cuda.core import EventOptions, LegacyPinnedMemoryResource

        self.memory: Buffer = LegacyPinnedMemoryResource().allocate(layout.nbytes)
        self.sent: Event = stream.record(options=EventOptions(blocking_sync=True))
        whole = (ctypes.c_uint8 * layout.nbytes).from_address(int(self.memory.handle))
        lines: NDArray[np.uint8] = np.ctypeslib.as_array(whole).reshape(-1, layout.pitch)
        width, height = layout.size_wh
        self.luma: Plane = lines[:height, :width]
        self.chroma: Plane = lines[height:]
