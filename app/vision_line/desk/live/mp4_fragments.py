# SPDX-License-Identifier: AGPL-3.0-or-later
"""One encoded frame as a fragment of an MP4 (`moof` and `mdat`, ISO/IEC 14496-12), the moment it is there. Pure.

A muxer that writes a fragment for each frame holds it back until it knows the next one's time: too late when live.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

#: The only track, as libavformat numbers it.
TRACK = 1
_BASE_IS_MOOF = 0x020000
#: Of the one sample in `trun`: where its data are, its duration, size, flags, and composition offset.
_OFFSET, _DURATION, _SIZE, _FLAGS, _COMPOSITION = 0x1, 0x100, 0x200, 0x400, 0x800
_KEYFRAME, _REFERS = 0x0200_0000, 0x0101_0000


@dataclass(frozen=True, slots=True)
class SampleTimes:
    """When a frame is shown and decoded, and for how long it may stay, in ticks of the track."""

    pts: int
    dts: int
    duration: int


def fragment(number: int, times: SampleTimes, units: Sequence[bytes], *, keyframe: bool) -> bytes:
    """Return the fragment `number`, counted from 1, of a frame made of these NAL units, without start codes."""
    data = b"".join(struct.pack(">I", len(unit)) + unit for unit in units)
    moof = _moof(number, times, len(data), 0, keyframe=keyframe)
    return _moof(number, times, len(data), len(moof) + 8, keyframe=keyframe) + _box(b"mdat", data)


def _moof(number: int, times: SampleTimes, size: int, offset: int, *, keyframe: bool) -> bytes:
    run = (1, offset, times.duration, size, _KEYFRAME if keyframe else _REFERS, times.pts - times.dts)
    return _box(
        b"moof",
        _full_box(b"mfhd", 0, 0, struct.pack(">I", number)),
        _box(
            b"traf",
            _full_box(b"tfhd", 0, _BASE_IS_MOOF, struct.pack(">I", TRACK)),
            _full_box(b"tfdt", 1, 0, struct.pack(">Q", times.dts)),
            _full_box(b"trun", 1, _OFFSET | _DURATION | _SIZE | _FLAGS | _COMPOSITION, struct.pack(">IiIIIi", *run)),
        ),
    )


def _box(kind: bytes, *parts: bytes) -> bytes:
    return struct.pack(">I", 8 + sum(map(len, parts))) + kind + b"".join(parts)


def _full_box(kind: bytes, version: int, flags: int, content: bytes) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags), content)
