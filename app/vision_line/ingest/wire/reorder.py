# SPDX-License-Identifier: AGPL-3.0-or-later
"""Puts datagrams that overtook each other back in order, for a short while and in bounded memory. Pure."""

from __future__ import annotations

from vision_line.ingest.wire.rtp import RtpPacket

HELD_S = 0.1
MAX_HELD = 512


class Reorder:
    """Holds what came too early; when it has waited `HELD_S`, or `MAX_HELD` wait, the missing ones are given up."""

    def __init__(self) -> None:
        """Start before the first packet."""
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
