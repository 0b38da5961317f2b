# SPDX-License-Identifier: AGPL-3.0-or-later
"""The CPU decoder: a camera's packets into `av.VideoFrame`s, with their colour description and damage flags."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import av
import av.error
from av.video.reformatter import ColorRange, Colorspace

from vision_line.errors import SourceError, SourceErrorCode
from vision_line.frames import Colour, ColourMatrix, ColourRange
from vision_line.ports import DecodedPicture

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

#: From this height a stream that does not say is taken for BT.709, below it for BT.601 (as players do).
HD_HEIGHT = 720

# ITU-T H.273 table 4. FCC is taken for BT.601, from which it differs by less than 8-bit rounding; SMPTE 240M differs
# from BT.709 by at most two levels.
_MATRICES = {
    int(Colorspace.ITU709): ColourMatrix.BT709,
    int(Colorspace.FCC): ColourMatrix.BT601,
    int(Colorspace.ITU601): ColourMatrix.BT601,
    6: ColourMatrix.BT601,  # SMPTE 170M
    int(Colorspace.SMPTE240M): ColourMatrix.BT709,
    int(Colorspace.BT2020): ColourMatrix.BT2020,
    10: ColourMatrix.BT2020,  # constant luminance, read as non-constant
}
_RANGES = {int(ColorRange.MPEG): ColourRange.LIMITED, int(ColorRange.JPEG): ColourRange.FULL}


def describe_colour(frame: av.VideoFrame, codec: str) -> Colour:
    """Return how to read `frame`: what it says, else the rule.

    The rule: MJPEG is BT.601 full range (JFIF); `yuvj*` formats are full range; otherwise limited range, and BT.709
    from 720 lines on, BT.601 below. A description that the rule had to complete is `assumed`.
    """
    matrix = _MATRICES.get(int(frame.colorspace))
    value_range = _RANGES.get(int(frame.color_range))
    if codec == "mjpeg":
        return Colour(matrix or ColourMatrix.BT601, value_range or ColourRange.FULL)
    if value_range is None and frame.format.name.startswith("yuvj"):
        value_range = ColourRange.FULL
    usual = ColourMatrix.BT709 if frame.height >= HD_HEIGHT else ColourMatrix.BT601
    return Colour(matrix or usual, value_range or ColourRange.LIMITED, assumed=matrix is None or value_range is None)


class CpuDecoder:
    """Decodes one camera's stream on the thread that calls it; implements `ports.Decoder`.

    FFmpeg's own threads stay off: frame threads hold each picture back by as many frames, and with one decoding
    thread for each camera the cores are busy anyway.
    """

    def __init__(self, camera: str, stream: VideoStream, colour: Colour | None = None) -> None:
        """Check the stream's parameters and prepare its codec; `colour` overrides what the pictures say.

        Raises:
            SourceError: no usable video parameters (NO_VIDEO), or no decoder for the codec (CODEC_UNSUPPORTED).
        """
        self._camera = camera
        self._context: VideoCodecContext | None = _checked_context(camera, stream)
        self._context.thread_type = "NONE"
        self._context.thread_count = 1  # libdav1d has threads of its own, and goes by their number alone
        self._codec = self._context.name
        self._override = colour
        self._described: tuple[tuple[int, int, int, str], Colour] | None = None

    def decode(self, packet: av.Packet[VideoStream] | None) -> Iterator[DecodedPicture]:
        """Yield the pictures that `packet` (None to flush) completes.

        Raises:
            SourceError: FFmpeg refuses the packet (CORRUPT), or the decoder is closed (ENDED).
        """
        if self._context is None:
            raise SourceError(self._camera, SourceErrorCode.ENDED, "the decoder is closed")
        damaged = packet is not None and packet.is_corrupt
        try:
            frames = self._context.decode(packet)
        except av.error.EOFError:
            return
        except av.error.FFmpegError as exc:
            raise SourceError(self._camera, SourceErrorCode.CORRUPT, f"{self._codec}: {exc.strerror}") from exc
        for frame in frames:
            yield DecodedPicture(
                picture=frame,
                size_wh=(frame.width, frame.height),
                colour=self._colour(frame),
                keyframe=bool(frame.key_frame),
                corrupt=damaged or bool(frame.is_corrupt),
                pts_s=frame.time if frame.pts is not None else None,  # without a pts, PyAV's time is NaN
            )

    def close(self) -> None:
        """Release the codec; may be called twice."""
        self._context = None

    def _colour(self, frame: av.VideoFrame) -> Colour:
        if self._override is not None:
            return self._override
        key = (int(frame.colorspace), int(frame.color_range), frame.height, frame.format.name)
        if self._described is None or self._described[0] != key:
            self._described = (key, describe_colour(frame, self._codec))
        return self._described[1]


def _checked_context(camera: str, stream: VideoStream) -> VideoCodecContext:
    # FFmpeg hands out streams of which it knows no codec; PyAV then has no context, and decoding them crashes
    context = getattr(stream, "codec_context", None)
    if stream.type != "video":
        raise SourceError(camera, SourceErrorCode.NO_VIDEO, f"expected a video stream, found {stream.type}")
    if context is None:
        raise SourceError(camera, SourceErrorCode.CODEC_UNSUPPORTED, "FFmpeg has no decoder for the stream")
    if not context.is_decoder:
        raise SourceError(camera, SourceErrorCode.CODEC_UNSUPPORTED, f"{context.name}: no decoder in this FFmpeg")
    checked: VideoCodecContext = context
    return checked
