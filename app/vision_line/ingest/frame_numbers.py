# SPDX-License-Identifier: AGPL-3.0-or-later
"""Finds missing reference frames of an H.264 stream by the numbers that encoders give them.

FFmpeg's H.264 decoder puts a copy of an older frame where one is missing, and says nothing. Its H.265 decoder gives
no frame that refers to a missing one, so that it needs no watching.

`frame_num` (ITU-T H.264 7.4.3) grows by one after every frame that others may refer to. Not covered: the loss of
frames that none refers to, which damages no other; streams whose parameter sets allow gaps; a camera that resets
the numbers outside a keyframe (memory_management_control_operation 5), which no encoder known to us does; and the
loss of as many frames as there are numbers (16 at the least), or of a multiple: the next number is the right one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from vision_line.ports import EncodedVideo
from vision_line.sequence_parameters import Bits, H264Sequence, read_h264_sequence

_SLICES = frozenset({1, 2, 5})
_IDR, _SEQUENCE = 5, 7
_HEADER_BYTES = 24  # of a slice, more than its first four fields take
_START = b"\x00\x00\x01"


class _Slice(NamedTuple):
    number: int  # frame_num
    is_reference: bool
    begins_frame: bool  # neither a second field nor a later slice


class FrameNumbers:
    """Follows the frames of one H.264 stream in the order of decoding."""

    def __init__(self, extradata: bytes) -> None:
        """Read the parameter sets that came before the frames: Annex B, avcC, or none."""
        self._length_bytes = prefix_bytes(extradata)
        self._sequence: H264Sequence | None = None
        self._newest: int | None = None  # number of the newest frame that others may refer to
        for unit in _avcc_sequences(extradata) if self._length_bytes else _annex_b_units(extradata):
            self._read_sequence(unit)

    def breaks(self, data: bytes, *, keyframe: bool) -> bool:
        """Take the next frame; return whether one that it may refer to is missing before it.

        At a keyframe counting begins anew, and after a break it waits for one.
        """
        unit = self._first_slice(data)
        found = None if unit is None else self._read_slice(unit)
        if found is None:
            return False
        if keyframe or self._newest is None:
            self._newest = found.number if keyframe else None
            return False
        if not self._follows(found, self._newest):
            self._newest = None
            return True
        if found.is_reference:
            self._newest = found.number
        return False

    def _follows(self, found: _Slice, newest: int) -> bool:
        """Whether nothing is missing. Frames that none refers to repeat the number with some encoders."""
        if found.number == newest:
            return not (found.is_reference and found.begins_frame)
        return self._sequence is not None and found.number == (newest + 1) % (1 << self._sequence.frame_number_bits)

    def _first_slice(self, data: bytes) -> bytes | None:
        """Return the frame's first slice, reading the parameter sets before it."""
        for unit in frame_units(data, self._length_bytes):
            kind = unit[0] & 0x1F
            if kind in _SLICES:
                return unit
            if kind == _SEQUENCE:
                self._read_sequence(unit)
        return None

    def _read_sequence(self, unit: bytes) -> None:
        if unit[0] & 0x1F != _SEQUENCE:
            return
        try:
            sequence = read_h264_sequence(Bits(unit[1:]))
        except ValueError:
            self._sequence = None
        else:
            self._sequence = None if sequence.may_skip_numbers else sequence

    def _read_slice(self, unit: bytes) -> _Slice | None:
        """Return what a slice's header says; None where it cannot be known."""
        if self._sequence is None:
            return None
        bits = Bits(unit[1:_HEADER_BYTES])
        try:
            bits.skip_codes(3)  # first_mb_in_slice, slice_type, pic_parameter_set_id
            if self._sequence.has_separate_planes:
                bits.u(2)
            number = bits.u(self._sequence.frame_number_bits)
            is_field = not self._sequence.has_only_frames and bool(bits.u(1))
        except ValueError:
            return None
        begins_at_first_block = bool(unit[1] & 0x80)  # the code of 0 is a single bit
        return _Slice(number, bool(unit[0] & 0x60), begins_at_first_block and not is_field)


def open_frame_numbers(video: EncodedVideo | None) -> FrameNumbers | None:
    """Return what follows the frames of an `av.VideoStream` or a camera; None where their codec needs none."""
    context = None if video is None else video.codec_context
    if context is None or context.name != "h264":
        return None
    return FrameNumbers(bytes(context.extradata or b""))


def prefix_bytes(extradata: bytes) -> int:
    """Return how many bytes before each NAL unit of an H.264 stream say how long it is; 0: start codes part them."""
    is_avcc = extradata[:1] == b"\x01" and len(extradata) > 6
    return (extradata[4] & 3) + 1 if is_avcc else 0


def frame_units(data: bytes, length_bytes: int) -> Iterator[bytes]:
    """Return a frame's NAL units, none of them empty, at least up to its first slice; `length_bytes` as above."""
    return _prefixed_units(data, length_bytes) if length_bytes else _annex_b_units(data)


def _annex_b_units(data: bytes) -> Iterator[bytes]:
    """Yield NAL units, none of them empty; a slice only as far as its header goes."""
    at = data.find(_START)
    while at >= 0:
        at += len(_START)
        if at < len(data) and data[at] & 0x1F in _SLICES:
            yield data[at : at + _HEADER_BYTES]
            return
        following = data.find(_START, at)
        unit = data[at : following if following >= 0 else len(data)]
        if unit:
            yield unit
        at = following


def _prefixed_units(data: bytes, length_bytes: int) -> Iterator[bytes]:
    at = 0
    while at + length_bytes < len(data):
        size = int.from_bytes(data[at : at + length_bytes], "big")
        at += length_bytes
        if unit := data[at : at + size]:
            yield unit
        at += size


def _avcc_sequences(extradata: bytes) -> Iterator[bytes]:
    """Yield the sequence parameter sets of an avcC box (ISO/IEC 14496-15 5.3.3.1)."""
    at = 6
    for _ in range(extradata[5] & 0x1F):
        size = int.from_bytes(extradata[at : at + 2], "big")
        if unit := extradata[at + 2 : at + 2 + size]:
            yield unit
        at += 2 + size
