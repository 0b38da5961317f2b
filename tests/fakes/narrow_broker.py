# SPDX-License-Identifier: AGPL-3.0-or-later
"""An MQTT 5 broker that takes few messages at once, and ends the connection of who sends more, as the standard says.

Mosquitto acknowledges too quickly to ever be in that place.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

_CONNECT, _PUBLISH, _PINGREQ = 1, 3, 12
#: DISCONNECT: Receive Maximum exceeded.
_EXCEEDED = bytes([0xE0, 2, 0x93, 0])


@dataclass
class NarrowBroker:
    """Takes `most` unacknowledged messages of QoS 1; acknowledges each after `late_s`, None: when it is told to."""

    most: int
    late_s: float | None = 0.02
    topics: list[str] = field(default_factory=list)
    largest: int = 0  # how many were on their way at once
    is_exceeded: bool = False
    _waiting: int = 0
    _held: list[tuple[bytes, asyncio.StreamWriter]] = field(default_factory=list)

    def acknowledge_next(self) -> None:
        """Acknowledge the oldest message that waits for it."""
        self._acknowledge(*self._held.pop(0))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self._waiting = 0
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while not self.is_exceeded:
                head = (await reader.readexactly(1))[0]
                await self._take(head, await reader.readexactly(await _length(reader)), writer)
        writer.close()

    async def _take(self, head: int, body: bytes, writer: asyncio.StreamWriter) -> None:
        if head >> 4 == _CONNECT:
            writer.write(bytes([0x20, 6, 0, 0, 3, 0x21]) + self.most.to_bytes(2, "big"))
        elif head >> 4 == _PINGREQ:
            writer.write(bytes([0xD0, 0]))
        elif head >> 4 == _PUBLISH:
            size = int.from_bytes(body[:2], "big")
            self.topics.append(body[2 : 2 + size].decode())
            self._waiting += 1
            self.largest = max(self.largest, self._waiting)
            self.is_exceeded = self._waiting > self.most
            if self.is_exceeded:
                writer.write(_EXCEEDED)
            elif self.late_s is None:
                self._held.append((body[2 + size : 4 + size], writer))
            else:
                asyncio.get_running_loop().call_later(self.late_s, self._acknowledge, body[2 + size : 4 + size], writer)

    def _acknowledge(self, packet: bytes, writer: asyncio.StreamWriter) -> None:
        self._waiting -= 1
        if not writer.is_closing():
            writer.write(bytes([0x40, 2]) + packet)


async def _length(reader: asyncio.StreamReader) -> int:
    """Read a length of seven bits a byte."""
    length = shift = 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            return length
        shift += 7
