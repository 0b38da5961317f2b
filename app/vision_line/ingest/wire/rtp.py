# SPDX-License-Identifier: AGPL-3.0-or-later
"""RTP and RTCP packets (RFC 3550): what a packet says, whether one is missing before it, and when it was sent."""

from __future__ import annotations

import struct
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass

_HEADER = struct.Struct(">BBHII")
BARE = 0x80  # version 2 and nothing beside the header
_REPORT = struct.Struct(">BBHIIII")  # sender report up to the RTP timestamp
_SENDER_REPORT, _BYE = 200, 203
_RECEIVER_REPORT, _DESCRIPTION = 201, 202
_NTP_TO_UNIX_S = 2_208_988_800
_HALF = 1 << 31
LATE_SPAN = 1000  # packets: what is further behind than this is another numbering
LATE_RUN = 16  # this many late packets in a row are a new numbering too

HELD_S = 0.1
MAX_HELD = 512


@dataclass(slots=True)
class RtpPacket:
    """One packet; `payload` is a view like what it was read from. `last`: the marker, the end of a frame.

    `more` are the packets right after it that were joined to it (`fragments.py`), each as a whole. Not frozen: it is
    made for every packet.
    """

    payload_type: int
    last: bool
    sequence: int
    timestamp: int
    source: int
    payload: memoryview
    more: SequenceOf[memoryview] = ()


def parse_rtp(data: memoryview) -> RtpPacket | None:
    """Return the packet in `data`; None where it is none."""
    size = len(data)
    if size < _HEADER.size:
        return None
    first, second, sequence, timestamp, source = _HEADER.unpack_from(data)
    if first == BARE:
        return RtpPacket(second & 0x7F, second >= 0x80, sequence, timestamp, source, data[_HEADER.size :])
    if first >> 6 != 2:
        return None
    at = _HEADER.size + 4 * (first & 0x0F)
    if first & 0x10:  # an extension
        if size < at + 4:
            return None
        at += 4 + 4 * (data[at + 2] << 8 | data[at + 3])
    if first & 0x20 and size > at:  # padding, whose last byte says how long it is
        size -= data[size - 1]
    if size < at:
        return None
    return RtpPacket(second & 0x7F, second >= 0x80, sequence, timestamp, source, data[at:size])


def parse_run(run: SequenceOf[memoryview]) -> list[RtpPacket]:
    """Return the packets among what was read."""
    return [packet for data in run if (packet := parse_rtp(data)) is not None]


class Sequence:
    """Follows the numbers of one source's packets, in the order in which they are to be used."""

    def __init__(self) -> None:
        self._source: int | None = None
        self._next = 0
        self._late = 0
        self._cycles = 0
        self.lost = 0  # gaps so far

    @property
    def source(self) -> int | None:
        """The SSRC of the packets; None before the first."""
        return self._source

    @property
    def newest(self) -> int:
        """The highest number, extended by the number of times it wrapped; 0 before the first packet."""
        return 0 if self._source is None else self._cycles << 16 & 0xFFFF0000 | (self._next - 1) & 0xFFFF

    def take(self, packet: RtpPacket) -> bool | None:
        """Return whether something is missing right before `packet`; None: it came before, and is not to be used."""
        sequence = packet.sequence
        if sequence == self._next and packet.source == self._source:  # nearly all
            self._late = 0
            self._cycles += not sequence
            self._next = (sequence + 1 + len(packet.more)) & 0xFFFF
            return False
        ahead = (sequence - self._next) & 0xFFFF
        if self._source is None:
            missing = False
        elif packet.source != self._source:
            missing = True
        elif ahead > 0x10000 - LATE_SPAN and self._late < LATE_RUN:
            self._late += 1
            return None
        else:
            missing = ahead != 0
        self._late = 0
        self._cycles += sequence < (self._next - 1) & 0xFFFF and self._source is not None
        self._source = packet.source
        self._next = (sequence + 1 + len(packet.more)) & 0xFFFF
        self.lost += missing
        return missing


class RtpTimeline:
    """Unwraps 32-bit timestamps: ticks since the first one, whatever direction the camera's clock takes."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._ticks = 0

    def ticks(self, timestamp: int) -> int:
        """Return the ticks from the first timestamp to this one."""
        if timestamp != self._last:
            if self._last is not None:
                self._ticks += ((timestamp - self._last + _HALF) & 0xFFFFFFFF) - _HALF
            self._last = timestamp
        return self._ticks


@dataclass(frozen=True, slots=True)
class SenderReport:
    """The camera's UTC at one RTP timestamp, and the 32 middle bits of its NTP time for our answer."""

    source: int
    utc: float | None  # None where the camera keeps no time
    timestamp: int
    ntp_middle: int

    def utc_of(self, timestamp: int, clock_hz: int) -> float | None:
        """Return the camera's UTC in seconds at another timestamp."""
        if self.utc is None:
            return None
        return self.utc + (((timestamp - self.timestamp + _HALF) & 0xFFFFFFFF) - _HALF) / clock_hz


def read_reports(data: memoryview) -> tuple[SenderReport | None, bool]:
    """Return the sender report of a compound RTCP packet, if there is one, and whether the camera says goodbye."""
    report, bye, at = None, False, 0
    while len(data) - at >= 8:
        size = 4 + 4 * (data[at + 2] << 8 | data[at + 3])
        kind = data[at + 1]
        if data[at] >> 6 != 2:
            break
        if kind == _SENDER_REPORT and len(data) - at >= _REPORT.size:
            _, _, _, source, seconds, fraction, timestamp = _REPORT.unpack_from(data, at)
            utc = seconds - _NTP_TO_UNIX_S + fraction / 2**32 if seconds else None
            report = SenderReport(source, utc, timestamp, (seconds & 0xFFFF) << 16 | fraction >> 16)
        bye = bye or kind == _BYE
        at += size
    return report, bye


def receiver_report(own_source: int, heard: Sequence, report: SenderReport | None, since_s: float) -> bytes:
    """Return a sign that we listen; some cameras stop where it does not come.

    Args:
        own_source: our SSRC.
        heard: the numbers of the packets that came.
        report: the newest sender report.
        since_s: how many seconds ago it came.
    """
    middle = report.ntp_middle if report else 0
    delay = min(round(since_s * 65536), 0xFFFFFFFF) if report else 0
    lost = min(heard.lost, 0x7FFFFF)
    block = struct.pack(">IIIIII", heard.source or 0, lost, heard.newest, 0, middle, delay)
    name = b"vision-line"
    items = bytes([1, len(name)]) + name
    items += bytes(4 - len(items) % 4)
    return (
        struct.pack(">BBHI", 0x81, _RECEIVER_REPORT, 7, own_source)
        + block
        + struct.pack(">BBHI", 0x81, _DESCRIPTION, 1 + len(items) // 4, own_source)
        + items
    )


class Reorder:
    """Puts datagrams that overtook each other back in order, for a short while and in bounded memory. Pure.

    What came too early is held; when it has waited `HELD_S`, or `MAX_HELD` wait, the missing ones are given up.
    """

    def __init__(self) -> None:
        self._next: int | None = None
        self._held: dict[int, RtpPacket] = {}
        self._since_s = 0.0  # when the first of those that are held came

    def push(self, packet: RtpPacket, now_s: float) -> list[RtpPacket]:
        """Return the packets whose turn it is, `packet` among them or not; its payload must stay as it is."""
        if self._next is None or self._is_other_numbering(packet):
            out = self._release()
            self._next = (packet.sequence + 1) & 0xFFFF
            return [*out, packet]
        if packet.sequence == self._next:
            self._next = (packet.sequence + 1) & 0xFFFF
            return [packet, *self._in_turn()]
        if self._ahead(packet.sequence) >= 0x8000:
            return [packet]  # behind: whoever counts them decides
        if not self._held:
            self._since_s = now_s
        self._held[packet.sequence] = packet
        return self._release() if len(self._held) > MAX_HELD else self.overdue(now_s)

    def overdue(self, now_s: float) -> list[RtpPacket]:
        """Return what has waited long enough."""
        return self._release() if self._held and now_s - self._since_s > HELD_S else []

    def _ahead(self, sequence: int) -> int:
        return (sequence - (self._next or 0)) & 0xFFFF

    def _is_other_numbering(self, packet: RtpPacket) -> bool:
        return MAX_HELD < self._ahead(packet.sequence) < 0x10000 - MAX_HELD

    def _in_turn(self) -> list[RtpPacket]:
        out = []
        while self._next is not None and (packet := self._held.pop(self._next, None)) is not None:
            out.append(packet)
            self._next = (self._next + 1) & 0xFFFF
        return out

    def _release(self) -> list[RtpPacket]:
        """Give up what is missing before the packets that are held."""
        out = [self._held[sequence] for sequence in sorted(self._held, key=self._ahead)]
        self._held.clear()
        if out:
            self._next = (out[-1].sequence + 1) & 0xFFFF
        return out
