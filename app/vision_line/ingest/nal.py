# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a NAL unit is: the few bits of H.264 and H.265 that ingest must read itself.

Sources: ITU-T H.264 7.3.1, 7.3.3, 7.4.1.2.3 and table 7-1; ITU-T H.265 7.3.1.2, 7.4.2.4.4 and table 7-1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

START_CODE = b"\x00\x00\x00\x01"  # FFmpeg's RTP depacketizers put it before every NAL unit

_H264_SEI = 6
_SEI_RECOVERY_POINT = 6


class NalRole(Enum):
    """What a NAL unit means for where a frame begins and ends."""

    SLICE = "slice"
    KEY_SLICE = "key slice"  # of a frame at which decoding may start
    DELIMITER = "delimiter"  # stands between two frames
    PREFIX = "prefix"  # parameter sets, SEI: belongs to the frame after it
    KEY_PREFIX = "key prefix"  # the same, and decoding may start at that frame
    SUFFIX = "suffix"  # filler, end of sequence, suffix SEI: belongs to the frame before it


@dataclass(frozen=True, slots=True)
class NalCodec:
    """One codec's NAL unit syntax."""

    name: str
    header_bytes: int
    roles: tuple[NalRole, ...]  # by nal_unit_type

    def role(self, data: bytes, at: int) -> NalRole:
        """Return the role of the NAL unit whose header is at `data[at]`; SUFFIX for one that is cut short."""
        if at >= len(data):
            return NalRole.SUFFIX
        if self is H264:
            kind = data[at] & 0x1F
            # Cameras with periodic intra refresh send no IDR; a recovery point says where decoding may start.
            if kind == _H264_SEI and data[at + 1 : at + 2] == bytes([_SEI_RECOVERY_POINT]):
                return NalRole.KEY_PREFIX
        else:
            kind = data[at] >> 1 & 0x3F
        return self.roles[kind]

    def slice_address(self, data: bytes, at: int) -> int:
        """Return where in the frame the slice at `data[at]` starts, if that can be read without parameter sets.

        H.264: first_mb_in_slice. H.265: 0 for the first slice segment of a frame, else 1.
        """
        body = data[at + self.header_bytes : at + self.header_bytes + 8]
        if body and body[0] & 0x80:  # nearly all: the first slice, which both codecs write as one bit
            return 0
        if self is not H264:
            return 1
        bits = int.from_bytes(body, "big")
        width = 8 * len(body)
        zeros = width - bits.bit_length()
        if 2 * zeros + 1 > width:
            return -1
        return (bits >> (width - 2 * zeros - 1)) - 1  # Exp-Golomb code ue(v), H.264 9.1


def _h264_roles() -> tuple[NalRole, ...]:
    roles = [NalRole.SUFFIX] * 32
    for kind in (6, 7, 8, 13, 14, 15):
        roles[kind] = NalRole.PREFIX
    roles[9] = NalRole.DELIMITER
    for kind in (1, 2, 3, 4, 20, 21):
        roles[kind] = NalRole.SLICE
    roles[5] = NalRole.KEY_SLICE
    return tuple(roles)


def _h265_roles() -> tuple[NalRole, ...]:
    roles = [NalRole.SUFFIX] * 64
    for kind in range(32):
        roles[kind] = NalRole.KEY_SLICE if 16 <= kind <= 23 else NalRole.SLICE
    for kind in (32, 33, 34, 39):
        roles[kind] = NalRole.PREFIX
    roles[35] = NalRole.DELIMITER
    return tuple(roles)


H264 = NalCodec("h264", 1, _h264_roles())
H265 = NalCodec("hevc", 2, _h265_roles())
NAL_CODECS = {codec.name: codec for codec in (H264, H265)}


def nal_headers(data: bytes) -> Iterator[int]:
    """Yield the position of each NAL unit's header in `data`, which starts with a four-byte start code.

    Only four-byte start codes are looked for: emulation prevention keeps them out of NAL units, and the depacketizers
    write no other.
    """
    at = 0
    while at >= 0:
        yield at + len(START_CODE)
        at = data.find(START_CODE, at + len(START_CODE))
