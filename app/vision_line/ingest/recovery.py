# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which frames after a new beginning still show what was left out before it.

In an H.264 stream with intra refresh: the first ones. Such a camera sends no whole keyframe: it refreshes its image
part by part, and a recovery point says how many frames later all of it is new (ITU-T H.264 D.2.8,
`recovery_frame_cnt`). FFmpeg's decoder goes by that for the first frames that it ever gets; of other decoders nobody
knows. Later it does not: where frames before a recovery point were left out, it refreshes what it had before them, and
gives images of new and old parts as if they were whole.

In a stream with open groups of pictures: those that are decoded after the keyframe and shown before it. They may refer
to the group before. Where that is not there, FFmpeg's H.264 decoder takes a copy of an older frame; its H.265 decoder
gives none of them. They are known by their presentation times, in H.264 also by being the B-frames right behind the
keyframe, because some sources number frames in the order of decoding. Frames without a time are discarded when they
come out (`Reordering`).
"""

from __future__ import annotations

from collections.abc import Iterator

from vision_line.encoded import EncodedFrame
from vision_line.ingest.frame_numbers import frame_units, prefix_bytes
from vision_line.sequence_parameters import Bits

_SLICES = frozenset({1, 2, 5})
_IDR, _B_SLICE = 5, 1
_SEI, _RECOVERY_POINT = 6, 6
_MORE = 0xFF  # of a payload's type or size: the next byte counts on


class Recovery:
    """Follows what is decoded; says which frames are whole. Used by one thread."""

    def __init__(self) -> None:
        """Begin before the first frame."""
        self._missing = 0  # frames that others may refer to, until all parts are new
        self._key_s: float | None = None  # presentation time of the keyframe that others may be shown before
        self._leads = False  # only B-frames have come since it
        self._begins = False

    @property
    def is_over(self) -> bool:
        """Whether all that comes is whole."""
        return not self._missing and self._key_s is None

    @property
    def is_refreshing(self) -> bool:
        """Whether parts of the image are still old."""
        return self._missing > 0

    def begin(self, frame: EncodedFrame) -> None:
        """Note that decoding begins at `frame`, though what it refers to was left out."""
        is_idr = _is_idr(frame)  # whatever else it says of itself
        self._missing = 0 if is_idr else frames_to_recovery(frame)
        self._key_s = None if is_idr else frame.pts_s
        self._leads = self._begins = True

    def is_whole(self, frame: EncodedFrame) -> bool:
        """Return whether the next frame to be decoded, `frame`, shows nothing of what was left out."""
        begins, self._begins = self._begins, False
        if frame.keyframe and not begins:
            self._key_s = None  # those that are shown before this one refer to what was decoded
        if self._missing:
            self._missing -= _is_reference(frame)
            return False
        if begins or self._key_s is None or frame.pts_s is None:
            return True
        self._leads = self._leads and _is_b_frame(frame)
        return not self._leads and frame.pts_s >= self._key_s


def frames_to_recovery(frame: EncodedFrame) -> int:
    """Return how many frames from `frame` on, which others may refer to, are not whole where decoding begins there."""
    for unit in _units(frame):
        if unit[0] & 0x1F == _SEI:
            for kind, payload in _messages(unit):
                if kind == _RECOVERY_POINT:
                    return _recovery_frame_cnt(payload)
    return 0


def _is_idr(frame: EncodedFrame) -> bool:
    """Whether nothing after an H.264 frame refers to anything before it; not known of other codecs."""
    return any(unit[0] & 0x1F == _IDR for unit in _units(frame))


def _is_b_frame(frame: EncodedFrame) -> bool:
    """Whether the first slice of an H.264 frame may refer to two frames; not known of other codecs."""
    for unit in _units(frame):
        if unit[0] & 0x1F in _SLICES:
            bits = Bits(unit[1:])
            try:
                bits.skip_codes(1)  # first_mb_in_slice
                return bits.ue() % 5 == _B_SLICE
            except ValueError:
                return False
    return False


def _is_reference(frame: EncodedFrame) -> bool:
    slices = (unit for unit in _units(frame) if unit[0] & 0x1F in _SLICES)
    return any(unit[0] & 0x60 for unit in slices)


def _units(frame: EncodedFrame) -> Iterator[bytes]:
    """Return the NAL units of an H.264 frame up to its first slice; none of another codec's."""
    context = None if frame.origin is None else frame.origin.codec_context
    if frame.packet is None or context is None or context.name != "h264":
        return iter(())
    return frame_units(bytes(frame.packet), prefix_bytes(bytes(context.extradata or b"")))


def _messages(unit: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and payload of each message of an SEI unit (ITU-T H.264 7.3.2.3.1); ends where it is cut short."""
    data = unit[1:].replace(b"\x00\x00\x03", b"\x00\x00")
    at = 0
    while at + 2 < len(data):  # the last byte ends the unit
        kind, at = _counted(data, at)
        size, at = _counted(data, at)
        yield kind, data[at : at + size]
        at += size


def _counted(data: bytes, at: int) -> tuple[int, int]:
    """Return a number that is written as bytes of 255 and a smaller one, and where it ends."""
    total = 0
    while at < len(data):
        total += data[at]
        at += 1
        if data[at - 1] != _MORE:
            break
    return total, at


def _recovery_frame_cnt(payload: bytes) -> int:
    try:
        return Bits(payload).ue()
    except ValueError:
        return 0
