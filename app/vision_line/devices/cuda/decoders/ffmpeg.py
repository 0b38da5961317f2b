# SPDX-License-Identifier: AGPL-3.0-or-later
"""The GPU's decoder through FFmpeg's own acceleration, for where PyNvVideoCodec is missing.

FFmpeg copies each frame within the GPU into memory of its own pool, on the default stream; our streams do not wait
for that one, so each frame carries an event recorded there. Such a frame may be held for as long as its
`av.VideoFrame` lives. FFmpeg's parser and reordering are those of the CPU path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

import av
from av.codec.context import Flags
from av.codec.hwaccel import HWAccel

from vision_line.devices.cpu.decoder import describe_colour
from vision_line.devices.cuda.decoders.sequence import DecoderRequest
from vision_line.devices.cuda.surface import PixelFormat, Surface
from vision_line.errors import DeviceError, SourceError, SourceErrorCode
from vision_line.frames import Colour
from vision_line.ports import DecodedFrame, VideoPacket

CODECS = ("h264", "hevc", "av1")

_FORMATS = {"nv12": PixelFormat.NV12, "p010le": PixelFormat.P016, "p016le": PixelFormat.P016}


class HwContext(Protocol):
    """What is used of FFmpeg's decoder, an `av.VideoCodecContext`."""

    extradata: bytes | None
    flags: int

    def decode(self, packet: VideoPacket | None) -> list[av.VideoFrame]:
        """Return the frames that `packet` (None to flush) completes."""


def open_hw_context(codec: str, device: int) -> HwContext:
    """Return an FFmpeg decoder for `codec` whose frames stay on GPU `device`, in its primary context.

    Raises:
        av.FFmpegError: there is no driver, no such GPU, or its primary context has other flags than FFmpeg wants.
    """
    accel = HWAccel("cuda", device=str(device), allow_software_fallback=False, is_hw_owned=True)
    return cast("HwContext", av.CodecContext.create(codec, "r", hwaccel=accel))


class HwDecoder:
    """Decodes a camera's stream on NVDEC through FFmpeg; implements `ports.Decoder`."""

    def __init__(
        self, request: DecoderRequest, open_context: Callable[[str, int], HwContext] = open_hw_context
    ) -> None:
        """Open the decoder; `open_context` makes FFmpeg's from a codec's name and a GPU's number.

        Raises:
            DeviceError: FFmpeg cannot decode the sequence on this GPU.
        """
        codec = request.sequence.codec
        if codec not in CODECS or not request.sequence.is_420:
            raise DeviceError(f"FFmpeg on the GPU: found {request.sequence}, expected 4:2:0 of {', '.join(CODECS)}")
        try:
            context = open_context(codec, request.gpu.index)
        except av.FFmpegError as exc:
            raise DeviceError(f"FFmpeg cannot use the GPU: {exc.strerror}") from exc
        context.extradata = request.stream.codec_context.extradata
        context.flags |= Flags.low_delay
        self._request = request
        self._context: HwContext | None = context

    def decode(self, packet: VideoPacket | None) -> list[DecodedFrame]:
        """Return the frames that `packet` (None to flush) completes."""
        camera = self._request.camera
        if self._context is None:
            raise SourceError(camera, SourceErrorCode.ENDED, "the decoder is closed")
        damaged = packet is not None and packet.is_corrupt
        try:
            frames = self._context.decode(packet)
        except av.error.EOFError:
            return []
        except av.FFmpegError as exc:
            detail = f"{self._request.sequence.codec}: {exc.strerror}"
            raise SourceError(camera, SourceErrorCode.CORRUPT, detail) from exc
        return [self._decoded(frame, damaged=damaged) for frame in frames]

    def close(self) -> None:
        """Release the codec; surfaces that are held stay valid. May be called twice."""
        self._context = None

    def _decoded(self, frame: av.VideoFrame, *, damaged: bool) -> DecodedFrame:
        surface = self._surface(frame)
        return DecodedFrame(
            data=surface,
            size_wh=surface.size_wh,
            colour=self._colour(frame),
            keyframe=bool(frame.key_frame),
            corrupt=damaged or bool(frame.is_corrupt),
            pts_s=frame.time if frame.pts is not None else None,  # without a pts, PyAV's time is NaN
        )

    def _surface(self, frame: av.VideoFrame) -> Surface:
        from cuda.core import LEGACY_DEFAULT_STREAM

        samples = frame.sw_format.name if frame.sw_format else "no"
        pixel_format = _FORMATS.get(samples) if frame.format.name == "cuda" else None
        if pixel_format is None:
            found = f"{frame.format.name} ({samples} samples)"
            raise DeviceError(f"FFmpeg on the GPU: found a frame in {found}, expected {', '.join(_FORMATS)}")
        luma, chroma = frame.planes
        return Surface(
            format=pixel_format,
            size_wh=(frame.width, frame.height),
            luma=luma.buffer_ptr,
            luma_pitch=luma.line_size,
            chroma=chroma.buffer_ptr,
            chroma_pitch=chroma.line_size,
            ready=LEGACY_DEFAULT_STREAM.record(),
            owner=frame,
            device=self._request.gpu.index,
        )

    def _colour(self, frame: av.VideoFrame) -> Colour:
        return self._request.colour or describe_colour(frame, self._request.sequence.codec)
