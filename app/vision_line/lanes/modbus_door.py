# SPDX-License-Identifier: AGPL-3.0-or-later
"""The lanes' registers over Modbus TCP, for a PLC that polls them.

A request is answered at once, in the step of the event loop in which it came: a decision that was told before it is in
it, and its words belong together. Clients are not trusted. One that sends no Modbus, asks for much without waiting or
does not take its answers is cut off, and so is the most silent one where there are too many.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from vision_line.config.lane_settings import LaneSettings
from vision_line.config.modbus_settings import ModbusSettings
from vision_line.errors import ConfigError, RunError
from vision_line.lanes.modbus_map import MAX_LANES
from vision_line.lanes.modbus_registers import PlcRegisters
from vision_line.lanes.modbus_wire import FrameError, answer, take_requests
from vision_line.lanes.plc_door import LaneControl, LaneState, PartDecision
from vision_line.lanes.sleeping import asleep_s

logger = logging.getLogger(__name__)

#: Clients at the same time.
MOST_CLIENTS = 16
#: Requests that may wait for their answer; Modbus allows 1 to 16.
MOST_PENDING = 16
#: Answers that a client has not taken, in bytes.
_MOST_UNREAD = 1 << 14
#: How often the log says that clients were turned away, in seconds.
_WARN_EVERY_S = 60.0


class ModbusDoor:
    """A `PlcDoor`."""

    def __init__(self, settings: ModbusSettings, lanes: Sequence[LaneSettings]) -> None:
        """Do not listen yet.

        Raises:
            ConfigError: there are more lanes than the map has room for.
        """
        if len(lanes) > MAX_LANES:
            raise ConfigError(f"modbus: expected at most {MAX_LANES} lanes, found {len(lanes)}")
        self._settings = settings
        self._registers = PlcRegisters(
            lanes, time.monotonic, asleep_s, accepts_writes=settings.accept_writes, classes=settings.classes
        )
        self._server: asyncio.Server | None = None
        self._clients: dict[_Client, None] = {}
        self._warned_s = -_WARN_EVERY_S

    async def open(self, control: LaneControl) -> None:
        """Listen.

        Raises:
            RunError: the address is in use, or none of this machine.
        """
        host, port = self._settings.address
        self._registers.begin(control)
        try:
            self._server = await asyncio.get_running_loop().create_server(lambda: _Client(self), host, port)
        except OSError as exc:
            why = os.strerror(exc.errno) if exc.errno else str(exc)
            raise RunError(f"modbus: cannot listen on {self._settings.listen}: {why}") from exc

    def decide(self, decision: PartDecision) -> None:
        """Have it read from now on."""
        self._registers.decide(decision)

    def show(self, states: Mapping[str, LaneState], *, is_line_well: bool) -> None:
        """Have it read from now on; the heartbeat goes on."""
        self._registers.show(states, is_line_well=is_line_well)

    async def close(self) -> None:
        """End; clients see their connection end, and the heartbeat stand."""
        self._registers.end()
        if self._server is None:
            return
        self._server.close()
        for client in list(self._clients):
            client.cut()
        with suppress(asyncio.CancelledError):
            await self._server.wait_closed()
        self._server = None

    def joined(self, client: _Client, peer: str) -> bool:
        """Take a client; return whether it may stay."""
        if not self._settings.allows(peer):
            self.warn(f"{peer} is none of its peers")
            return False
        if len(self._clients) >= MOST_CLIENTS:
            self.warn(f"more than {MOST_CLIENTS} clients")
            next(iter(self._clients)).cut()
        self._clients[client] = None
        return True

    def left(self, client: _Client) -> None:
        """Let go of a client."""
        self._clients.pop(client, None)

    def asked(self, client: _Client, buffer: bytearray) -> bytes:
        """Return the answers to what a client sent; it is the least silent one now.

        Raises:
            FrameError: it is no Modbus, or too much at once.
        """
        requests = take_requests(buffer)
        if len(requests) > MOST_PENDING:
            raise FrameError(f"{len(requests)} requests at once")
        if requests and client in self._clients:
            del self._clients[client]
            self._clients[client] = None
        return b"".join(answer(request, self._registers) for request in requests)

    def warn(self, words: str) -> None:
        """Say that a client was turned away, not more often than once a minute."""
        if time.monotonic() - self._warned_s >= _WARN_EVERY_S:
            self._warned_s = time.monotonic()
            logger.warning("modbus: turned a client away: %s", words)


class _Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, door: ModbusDoor) -> None:
        self._door = door
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Stay, or end at once."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  what a TCP server gives
        self._transport = transport
        transport.set_write_buffer_limits(_MOST_UNREAD)
        # What lies in the kernel is old when a client that was slow reads it.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MOST_UNREAD)
        if not self._door.joined(self, transport.get_extra_info("peername")[0]):
            self.cut()

    def data_received(self, data: bytes) -> None:
        """Answer."""
        if self._transport is None or self._transport.is_closing():
            return
        self._buffer += data
        try:
            self._transport.write(self._door.asked(self, self._buffer))
        except FrameError as exc:
            self._door.warn(str(exc))
            self.cut()

    def pause_writing(self) -> None:
        """End: it does not take its answers."""
        self._door.warn("it does not read")
        self.cut()

    def connection_lost(self, _exc: Exception | None) -> None:
        """Be forgotten."""
        self._door.left(self)

    def cut(self) -> None:
        """End now."""
        self._door.left(self)
        if self._transport is not None:
            self._transport.abort()
