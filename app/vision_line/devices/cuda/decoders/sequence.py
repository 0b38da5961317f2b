# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a coded video sequence is: size, depth, colour, order. Read with FFmpeg, so that the CPU path reads the same.

Sources of the few bits read here: ITU-T H.264 table 7-1, ITU-T H.265 table 7-1, AV1 bitstream specification 5.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import av
from av.codec.context import Flags, Flags2

from vision_line.devices.cpu.decoder import describe_colour, turn_of
from vision_line.devices.cpu.orientation import UPRIGHT
from vision_line.devices.cuda.context import GpuContext
from vision_line.errors import SourceError, SourceErrorCode
from vision_line.frames import Colour
from vision_line.ports import DecodedFrame, EncodedVideo, VideoPacket
from vision_line.sequence_parameters import Bits, read_h264_sequence, read_h265_sequence

if TYPE_CHECKING:
    from av.video.format import VideoFormat

_START_CODE = b"\x00\x00\x01"
_H264_SPS = frozenset({7, 15})
_H264_IDR = 5
_H264_LAST_SLICE = 5
_H265_SPS = 33
_H265_LAST_SLICE = 31
_AV1_SEQUENCE_HEADER = 1
_AV1_FRAMES = frozenset({3, 6})  # frame header, frame

_LATE_FRAMES = 8  # more than a decoder holds back at once for a moment

_TO_ANNEX_B = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}


@dataclass(frozen=True, slots=True)
class VideoSequence:
    """One coded video sequence, as its first frame shows it."""

    codec: str  # FFmpeg's name of the format, not of a decoder: "h264", "hevc", "av1", "mjpeg"
    size_wh: tuple[int, int]
    bits: int  # of a luma sample
    is_420: bool  # YCbCr with chroma halved in both directions
    reorders: bool  # frames are not coded in the order of display, as the stream itself says
    colour: Colour
    turned: bool = False  # people see its frames turned
    has_fields: bool = False  # pictures may be coded as two fields, half of the lines each
    crops_before: bool = False  # what people see begins right of what is coded, or below
    held_back: bool = False  # a decoder gave its frames late, though it reorders none

    def __str__(self) -> str:
        width, height = self.size_wh
        return f"{self.codec} {width}x{height}, {self.bits} bit{'' if self.is_420 else ', not 4:2:0'}"


def codec_of(stream: EncodedVideo) -> str:
    """Return FFmpeg's name of the stream's coding format."""
    return str(stream.codec_context.codec.canonical_name)


def sequence_headers(data: bytes, codec: str) -> bytes:
    """Return the sequence headers in a frame's data, joined; empty where there are none.

    H.264 and H.265 are in Annex B form, AV1 is a row of OBUs; reading ends where the frame itself begins. Other
    codecs have none. As long as they stay the same, so do size, depth, colour and order.
    """
    if codec == "av1":
        return b"".join(_av1_headers(data))
    return b"".join(_parameter_sets(data, codec))


def _parameter_sets(data: bytes, codec: str) -> Iterator[bytes]:
    """Yield the sequence parameter sets in a frame's data in Annex B form, as NAL units; other codecs have none."""
    if codec not in ("h264", "hevc"):
        return
    start = data.find(_START_CODE)
    while start >= 0 and start + 3 < len(data):
        header = data[start + 3]
        kind = header & 0x1F if codec == "h264" else header >> 1 & 0x3F
        if _is_slice(kind, codec):
            break
        following = data.find(_START_CODE, start + 3)
        if kind in _H264_SPS if codec == "h264" else kind == _H265_SPS:
            # the zeros before a start code belong to it, not to the parameter set: its last byte is never zero
            yield data[start + 3 : following if following >= 0 else len(data)].rstrip(b"\x00")
        start = following


def begins_anew(data: bytes) -> bool:
    """Whether an H.264 frame in Annex B form is an IDR picture: a decoder that gets it first lacks nothing.

    Keyframes are also those from which on an image is renewed part by part.
    """
    start = data.find(_START_CODE)
    while start >= 0 and start + 3 < len(data):
        kind = data[start + 3] & 0x1F
        if _is_slice(kind, "h264"):
            return kind == _H264_IDR
        start = data.find(_START_CODE, start + 3)
    return False


def _is_slice(kind: int, codec: str) -> bool:
    return 1 <= kind <= _H264_LAST_SLICE if codec == "h264" else kind <= _H265_LAST_SLICE


def _av1_headers(data: bytes) -> list[bytes]:
    found = []
    at = 0
    while at < len(data):
        kind, has_size = data[at] >> 3 & 0xF, data[at] & 0x02
        if kind in _AV1_FRAMES:
            break
        body = at + (2 if data[at] & 0x04 else 1)  # an extension header is one byte
        size, body = _leb128(data, body) if has_size else (len(data) - body, body)
        if kind == _AV1_SEQUENCE_HEADER:
            found.append(data[body : body + size])
        at = body + size
    return found


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at `data[at]` and where it ends: seven bits a byte, the lowest first, at most eight bytes."""
    value = 0
    for shift in range(0, 56, 7):
        if at >= len(data):
            break
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if not byte & 0x80:
            break
    return value, at


class SequenceWatch:
    """Watches one stream's packets for what a decoder must know before it: another sequence, or reordered frames."""

    def __init__(self, stream: EncodedVideo) -> None:
        """Start with what `stream` (`av.VideoStream`) says before its first packet."""
        extradata = bytes(stream.codec_context.extradata or b"")
        self._codec = codec_of(stream)
        # length prefixes look like start codes; in files of that kind the sequence is the container's, for good
        self._readable = self._codec == "av1" or extradata[:1] != b"\x01"
        self._headers = b""
        self._steps_back = 0
        self._newest: int | None = None
        self.reorders = False  # whether timestamps went back more than once between two keyframes
        self.went_back = False  # whether they ever did, but at a keyframe

    def note(self, packet: VideoPacket) -> bool:
        """Take the next packet in coded order; return whether it begins another sequence than the last that was seen.

        One step back is not yet reordering: a camera may set its clock.
        """
        self._note_time(packet)
        if not packet.is_keyframe or not self._readable:
            return False
        headers = sequence_headers(bytes(packet), self._codec)
        changed = headers not in (b"", self._headers)
        self._headers = headers or self._headers
        return changed

    def _note_time(self, packet: VideoPacket) -> None:
        if packet.is_keyframe:
            self._steps_back = 0
        elif packet.pts is not None and self._newest is not None and packet.pts < self._newest:
            self._steps_back += 1
            self.went_back = True
            self.reorders = self.reorders or self._steps_back > 1
        if packet.pts is not None:
            self._newest = packet.pts


class DelayWatch:
    """Watches whether one decoder gives frames later than their packets, as one that may reorder them does."""

    def __init__(self) -> None:
        """Begin with a decoder that has given none."""
        self._late = 0

    @property
    def is_late(self) -> bool:
        """Return whether its latest frames all were late: after a moment's delay no frame is."""
        return self._late >= _LATE_FRAMES

    def note(self, packet: VideoPacket | None, frame: DecodedFrame) -> None:
        """Take a frame that came out when `packet` went in, None: of a flush. Without times nothing is noticed."""
        if packet is not None and packet.pts is not None and frame.pts_s is not None:
            self._late = self._late + 1 if frame.pts_s < float(packet.pts * packet.time_base) else 0


def read_sequence(camera: str, stream: EncodedVideo, packet: VideoPacket) -> VideoSequence:
    """Return what the sequence is that begins with the keyframe in `packet`.

    FFmpeg decodes that one frame on the CPU, whatever damage it has: a few milliseconds for each connection, and
    no second reading of parameter sets that could differ from the CPU decoder's.

    Raises:
        SourceError: there is no decoder for the codec, or no frame in the packet.
    """
    context = stream.codec_context
    try:
        reader = cast("av.VideoCodecContext", av.CodecContext.create(context.name, "r"))
        reader.extradata = context.extradata
        reader.thread_type = "NONE"
        reader.flags |= Flags.output_corrupt | Flags.low_delay
        reader.flags2 |= Flags2.show_all  # also the frame at a recovery point that is not yet whole
        frames = reader.decode(packet) or reader.decode(None)
    except av.FFmpegError as exc:
        detail = f"the keyframe cannot be read: {exc.strerror}"
        raise SourceError(camera, SourceErrorCode.CORRUPT, detail) from exc
    if not frames:
        raise SourceError(camera, SourceErrorCode.CORRUPT, "there is no frame where one should begin")
    frame, codec = frames[0], codec_of(stream)
    has_fields, crops_before = _read_parameter_sets(SelfContained(camera, stream).complete(packet), codec)
    return VideoSequence(
        codec=codec,
        size_wh=(frame.width, frame.height),
        bits=frame.format.components[0].bits,
        is_420=_is_420(frame.format),
        reorders=bool(reader.has_b_frames),
        colour=describe_colour(frame, codec),
        turned=_is_turned(stream, packet, codec),
        has_fields=has_fields or frame.interlaced_frame,
        crops_before=crops_before,
    )


def _read_parameter_sets(packet: VideoPacket, codec: str) -> tuple[bool, bool]:
    """Return whether there may be fields, and whether frames are cropped on the left or above, by the keyframe's sets.

    FFmpeg says of its frames only what they are after that. What cannot be read says no.
    """
    has_fields = crops_before = False
    for unit in _parameter_sets(bytes(packet), codec):
        try:
            if codec == "h264":
                h264 = read_h264_sequence(Bits(unit[1:]))
                has_fields = has_fields or not h264.has_only_frames
                crops_before = crops_before or h264.crops_before
            else:
                crops_before = crops_before or read_h265_sequence(Bits(unit[2:])).crops_before
        except ValueError:
            continue
    return has_fields, crops_before


def _is_turned(stream: EncodedVideo, packet: VideoPacket, codec: str) -> bool:
    """Whether the stream's container, the keyframe in `packet` or its stream ask for a turn, of whatever kind.

    Only the container's own context knows what the container says.
    """
    context = stream.codec_context
    try:
        if context.is_open:
            context.flush_buffers()  # the decoder before, if it was this one, has come to its end
        return any(turn_of(frame, codec, packet) != UPRIGHT for frame in context.decode(packet) or context.decode(None))
    except av.FFmpegError:
        return False  # `read_sequence` reports it
    except ValueError:
        return True
    finally:
        context.flush_buffers()


def _is_420(pixel_format: VideoFormat) -> bool:
    if pixel_format.is_rgb or pixel_format.has_palette or len(pixel_format.components) != 3:
        return False
    return pixel_format.chroma_width(64) == pixel_format.chroma_height(64) == 32


@dataclass(frozen=True, slots=True)
class DecoderRequest:
    """One camera's sequence that is to be decoded into the memory of `gpu`."""

    gpu: GpuContext
    camera: str
    stream: EncodedVideo  # that the packets come from
    colour: Colour | None  # overrides what the sequence says
    sequence: VideoSequence


class SelfContained:
    """Puts start codes before NAL units, and parameter sets before keyframes, where they are missing.

    Files need the one, cameras that send parameter sets only in the SDP the other; what is complete passes as it is.
    """

    def __init__(self, camera: str, stream: EncodedVideo) -> None:
        """Prepare for the packets of `stream` (`av.VideoStream`, or a camera's), which is open now."""
        extradata = bytes(stream.codec_context.extradata or b"")
        self._camera = camera
        self._codec = codec_of(stream)
        self._always = self._codec in _TO_ANNEX_B and extradata[:1] == b"\x01"  # avcC, hvcC: length prefixes
        self._filter: av.BitStreamFilterContext | None = None
        if self._always:  # a file's
            self._filter = av.BitStreamFilterContext(_TO_ANNEX_B[self._codec], cast("av.VideoStream", stream))
        repeats = self._codec == "av1" and extradata[:1] >= b"\x80"  # av1C repeats what keyframes hold
        self._headers = b"" if self._always or repeats else extradata

    def complete(self, packet: VideoPacket) -> VideoPacket:
        """Return `packet`, or a completed copy of it; the packet itself is only read.

        Raises:
            SourceError: it is damaged (CORRUPT).
        """
        if self._filter is None:
            lacks = self._headers and packet.is_keyframe and not sequence_headers(bytes(packet), self._codec)
            return _copied(packet, self._headers) if lacks else packet
        try:
            (whole,) = self._filter.filter(_copied(packet))  # it empties what it is given
        except av.FFmpegError as exc:
            detail = f"{self._codec}: {exc.strerror}"
            raise SourceError(self._camera, SourceErrorCode.CORRUPT, detail) from exc
        return whole


def _copied(packet: VideoPacket, before: bytes = b"") -> VideoPacket:
    copy: VideoPacket = av.Packet(before + bytes(packet))
    copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
    copy.is_keyframe, copy.is_corrupt = packet.is_keyframe, packet.is_corrupt
    return copy
