# SPDX-License-Identifier: AGPL-3.0-or-later
"""Takes the fragments of a NAL unit that arrived together as one packet, as if the camera's packets were larger.

Most packets of a camera go on with the NAL unit of the packet before (FU-A of RFC 6184, FU of RFC 7798). What follows
then costs once for a run of them, and not once for each. Whatever else is sent stays as it is.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct

from vision_line.ingest.wire.payloads import END, START
from vision_line.ingest.wire.rtp import BARE, RtpPacket, parse_rtp, parse_run

_MARKER = 0x80  # in RTP's flags: the last packet of a frame
_NO_FRAGMENT = 0, 0, b"", 0


@dataclass(frozen=True, slots=True)
class Fragments:
    """How a codec's packets say that they are fragments, where nothing stands beside RTP's header.

    The layout's fields: RTP's flags and number, what all fragments of a NAL unit share, and the fragment's own header.
    In what they share, one byte says that they are fragments.
    """

    layout: Struct
    kind_at: int
    kind_bits: int
    kind: int

    def joined(self, run: Sequence[memoryview]) -> list[RtpPacket]:
        """Return a run's packets; a fragment that goes on with the one before stands in its `more`."""
        if len(run) == 1:
            return parse_run(run)
        packets: list[RtpPacket] = []
        packet: RtpPacket | None = None
        more: list[memoryview] = []
        unit: tuple[int, bytes, int] | None = None  # what goes on with the fragments before is like this
        following = 0
        unpack = self.layout.unpack_from
        for data in run:
            try:
                flags, number, shared, header = unpack(data)
            except struct.error:  # too short for one
                flags, number, shared, header = _NO_FRAGMENT
            if number == following and packet and (flags, shared, header) == unit:  # nearly all: it goes on
                more.append(data)
                following += 1
                continue
            if number == following and packet and (flags & ~_MARKER, shared, header & ~END) == unit:
                more.append(data)
                packet.last = bool(flags & _MARKER)
            elif packet := parse_rtp(data):
                packets.append(packet)
                unit = None
                if flags >> 8 == BARE and shared[self.kind_at] & self.kind_bits == self.kind:
                    unit = flags, shared, header & ~START
                    packet.more = more = []
            if flags & _MARKER or header & END:
                unit = None
            following = number + 1  # none follows the highest: where numbers wrap, nothing is joined
        return packets

    def rest(self, packet: RtpPacket) -> tuple[bytes, bool]:
        """Return what the further fragments of a packet add to its NAL unit, and whether it ends with them."""
        size, more = self.layout.size, packet.more
        return b"".join([data[size:] for data in more]), more[-1][size - 1] & END != 0


FRAGMENTS = {
    "h264": Fragments(Struct(">HH9sB"), kind_at=8, kind_bits=0x1F, kind=28),
    "hevc": Fragments(Struct(">HH10sB"), kind_at=8, kind_bits=0x7E, kind=49 << 1),
}
