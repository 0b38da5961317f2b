# SPDX-License-Identifier: AGPL-3.0-or-later
"""The CPU decoder: a camera's packets into `av.VideoFrame`s, with their colour description and damage flags."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import av
import av.error
from av.sidedata.sidedata import SideDataContainer
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import ColorRange, Colorspace

from vision_line.devices.cpu.jpeg_decoder import has_hole
from vision_line.devices.cpu.orientation import (
    UPRIGHT,
    Turn,
    exif_orientation,
    turn_of_angle,
    turn_of_exif,
    turn_of_matrix,
)
from vision_line.devices.cpu.planes import turned_frame
from vision_line.errors import SourceError, SourceErrorCode
from vision_line.frames import Colour, ColourMatrix, ColourRange
from vision_line.ports import DecodedFrame, EncodedVideo, VideoPacket

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext

#: Codecs whose images say in their EXIF how they are to be turned.
_EXIF_CODECS = frozenset({"mjpeg", "png", "tiff", "webp"})
#: Codecs that FFmpeg decodes in spite of damage unless it is told not to. Not TIFF: there it refuses healthy files too.
_CONCEALED_CODECS = frozenset({"mjpeg", "png", "wmv2"})
_STRICT = {"err_detect": "crccheck+bitstream+buffer+explode"}
_MATRIX = struct.Struct("=9i")  # AV_FRAME_DATA_DISPLAYMATRIX, in the machine's byte order

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

    The rule: MJPEG (JFIF) and TIFF, whose grey levels FFmpeg leaves undescribed, are BT.601 full range; `yuvj*` formats
    are full range; otherwise limited range, and BT.709 from 720 lines on, BT.601 below. A description that the rule had
    to complete is `assumed`.
    """
    matrix = _MATRICES.get(int(frame.colorspace))
    value_range = _RANGES.get(int(frame.color_range))
    if codec in ("mjpeg", "tiff"):
        return Colour(matrix or ColourMatrix.BT601, value_range or ColourRange.FULL)
    if value_range is None and frame.format.name.startswith("yuvj"):
        value_range = ColourRange.FULL
    usual = ColourMatrix.BT709 if frame.height >= HD_HEIGHT else ColourMatrix.BT601
    return Colour(matrix or usual, value_range or ColourRange.LIMITED, assumed=matrix is None or value_range is None)


def turn_of(frame: av.VideoFrame, codec: str, packet: VideoPacket | None) -> Turn:
    """Return how `frame`, decoded from `packet`, is to be turned: by its file's, its stream's or its own description.

    Of the frame's own `side_data` PyAV would make a cycle of both, which keeps the pixels until the garbage collector
    comes by: minutes, where the frame has lived through a few collections. A container of our own goes with this call.

    Raises:
        ValueError: by other than right angles.
    """
    try:
        matrix = SideDataContainer(frame).get(SideDataType.DISPLAYMATRIX)  # type: ignore[call-arg] # missing in PyAV's stubs
    except ValueError:
        # PyAV cannot list side data of a kind that it does not know: a still image's EXIF is one
        if codec in _EXIF_CODECS and packet is not None:
            return turn_of_exif(exif_orientation(bytes(packet)))
        return turn_of_angle(frame.rotation)
    return turn_of_matrix(_MATRIX.unpack(bytes(matrix))) if matrix else UPRIGHT


class CpuDecoder:
    """Decodes one camera's stream on the thread that calls it; implements `ports.Decoder`.

    Frames come out as people see them: turned where the file, the stream or the image says so. JPEG, PNG and WMV 8
    are decoded strictly: what FFmpeg would conceal (an image cut short, codes that do not exist, wrong checksums) is
    refused. For other codecs FFmpeg's word about each frame is taken.

    FFmpeg's own threads stay off: frame threads hold each frame back by as many others, and with one decoding
    thread for each camera the cores are busy anyway.
    """

    def __init__(self, camera: str, stream: EncodedVideo, colour: Colour | None = None) -> None:
        """Check the stream's parameters and prepare its codec; `colour` overrides what the frames say.

        Raises:
            SourceError: no usable video parameters (NO_VIDEO), or no decoder for the codec (CODEC_UNSUPPORTED).
        """
        self._camera = camera
        self._context: VideoCodecContext | None = _checked_context(camera, stream)
        if not self._context.is_open:
            self._context.thread_type = "NONE"
            self._context.thread_count = 1  # libdav1d has threads of its own, and goes by their number alone
        self._codec = self._context.name
        if self._codec in _CONCEALED_CODECS:
            self._context.options = dict(self._context.options) | _STRICT
        self._turn: Turn | None = None  # None: frames come upright
        self._override = colour
        self._described: tuple[tuple[int, int, int, str], Colour] | None = None

    def decode(self, packet: VideoPacket | None) -> list[DecodedFrame]:
        """Return the frames that `packet` (None to flush) completes."""
        if self._context is None:
            raise SourceError(self._camera, SourceErrorCode.ENDED, "the decoder is closed")
        damaged = packet is not None and (packet.is_corrupt or (self._codec == "mjpeg" and has_hole(bytes(packet))))
        try:
            frames = self._context.decode(packet)
        except av.error.EOFError:
            return []
        except av.error.FFmpegError as exc:
            raise SourceError(self._camera, SourceErrorCode.CORRUPT, f"{self._codec}: {exc.strerror}") from exc
        return [self._decoded(frame, packet, damaged=damaged) for frame in frames]

    def _decoded(self, frame: av.VideoFrame, packet: VideoPacket | None, *, damaged: bool) -> DecodedFrame:
        upright = self._upright(frame, packet)
        return DecodedFrame(
            upright,
            (upright.width, upright.height),
            self._colour(frame),
            bool(frame.key_frame),
            damaged or bool(frame.is_corrupt),
            frame.time if frame.pts is not None else None,  # without a pts, PyAV's time is NaN
        )

    def close(self) -> None:
        """Release the codec; may be called twice."""
        self._context = None

    def _upright(self, frame: av.VideoFrame, packet: VideoPacket | None) -> av.VideoFrame:
        # the angle costs less to read than side data, and is not 0 where a frame between keyframes is to be turned
        if frame.key_frame or frame.rotation:
            self._follow_turn(frame, packet)
        return frame if self._turn is None else turned_frame(frame, self._turn)

    def _follow_turn(self, frame: av.VideoFrame, packet: VideoPacket | None) -> None:
        try:
            turn = turn_of(frame, self._codec, packet)
        except ValueError as exc:
            raise SourceError(self._camera, SourceErrorCode.CODEC_UNSUPPORTED, str(exc)) from exc
        if turn != UPRIGHT:
            self._turn = turn  # what a stream says at a keyframe holds until the next, and is not said again
        elif frame.key_frame:
            self._turn = None

    def _colour(self, frame: av.VideoFrame) -> Colour:
        if self._override is not None:
            return self._override
        key = (frame.colorspace, frame.color_range, frame.height, frame.format.name)
        if self._described is None or self._described[0] != key:
            self._described = (key, describe_colour(frame, self._codec))
        return self._described[1]


def _checked_context(camera: str, stream: EncodedVideo) -> VideoCodecContext:
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
