# SPDX-License-Identifier: AGPL-3.0-or-later
"""`lanes.sock`: a door for programs on the same machine, and for whoever asks how the lanes are. In the event loop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from vision_line.errors import ConfigError, RunError
from vision_line.feed.feed_socket import FeedSocket
from vision_line.feed.protocol import FeedFormatError, Header, Unpacker, packed
from vision_line.lanes.lanes_protocol import (
    EVERY_LANE,
    LANES_LIMITS,
    LANES_SOCKET,
    CountedRequest,
    EnableRequest,
    EncoderRequest,
    FollowRequest,
    LaneRequest,
    PartRequest,
    StatusRequest,
    decision_message,
    read_request,
)
from vision_line.lanes.plc_door import LaneControl, LaneState, PartDecision
from vision_line.lanes.promptness import Promptness
from vision_line.lanes.sleeping import elapsed_s

logger = logging.getLogger(__name__)

#: Clients at the same time; one more is sent away.
MOST_CLIENTS = 32
#: A client that reads so little that this waits for it is sent away, in bytes.
MOST_WAITING = 1 << 20
_READ_BYTES = 1 << 16

#: In whose name clients have a lane divert everything.
THE_SOCKET = "the socket"
_NOTED: Header = {"kind": "noted"}


class LanesServer:
    """A `PlcDoor`; its clients speak as `lanes_protocol` says. Its directory is locked by this process."""

    def __init__(self, directory: Path, status: Callable[[], Header]) -> None:
        """`status` returns how the lanes are."""
        self._directory = directory
        self._status = status
        self._socket: FeedSocket | None = None
        self._server: asyncio.Server | None = None
        self._control: LaneControl | None = None
        self._promptness = Promptness(elapsed_s())
        self._clients: dict[asyncio.StreamWriter, frozenset[str]] = {}  # and the lanes that each follows

    async def open(self, control: LaneControl) -> None:
        """Listen.

        Raises:
            RunError: the directory takes no socket.
        """
        self._control = control
        self._promptness = Promptness(elapsed_s())
        try:
            self._socket = FeedSocket(self._directory, LANES_SOCKET)
            self._server = await asyncio.start_unix_server(self._serve, sock=self._socket.listener)
        except OSError as exc:
            raise RunError(f"{self._directory / LANES_SOCKET}: cannot listen: {exc.strerror or exc}") from exc

    def decide(self, decision: PartDecision) -> None:
        """Send a decision to those who follow its lane."""
        message: bytes | None = None
        for writer, lanes in list(self._clients.items()):
            if decision.lane in lanes or EVERY_LANE in lanes:
                message = message or packed(decision_message(decision))
                self._send(writer, message)

    def show(self, states: Mapping[str, LaneState], *, is_line_well: bool) -> None:  # noqa: ARG002  as the port
        """Nothing to tell: who wants to know asks."""
        self._promptness.came_by(elapsed_s())

    async def close(self) -> None:
        """End; may be called twice."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._clients):
            writer.close()
        self._clients.clear()
        if self._socket is not None:
            self._socket.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= MOST_CLIENTS:
            self._send(writer, packed(_refused(f"more than {MOST_CLIENTS} clients at once")))
            writer.close()
            return
        self._clients[writer] = frozenset()
        unpacker = Unpacker(LANES_LIMITS)
        try:
            while data := await reader.read(_READ_BYTES):
                for message in unpacker.push(data):
                    self._send(writer, packed(self._answer(writer, message.header)))
        except FeedFormatError as exc:
            self._send(writer, packed(_refused(str(exc))))
        except OSError as exc:
            logger.debug("lanes: a client went away: %s", exc)
        finally:
            self._clients.pop(writer, None)
            writer.close()

    def _send(self, writer: asyncio.StreamWriter, message: bytes) -> None:
        if writer.is_closing():
            return
        if writer.transport.get_write_buffer_size() > MOST_WAITING:
            logger.warning("lanes: a client that does not read was sent away")
            self._clients.pop(writer, None)
            writer.transport.abort()
            return
        writer.write(message)

    def _answer(self, writer: asyncio.StreamWriter, header: Header) -> Header:
        if self._control is None:
            raise ValueError("expected an open door")
        try:
            return self._answer_to(self._control, writer, read_request(header))
        except ConfigError as exc:
            return _refused(str(exc))

    def _answer_to(self, control: LaneControl, writer: asyncio.StreamWriter, request: LaneRequest) -> Header:
        now_s = time.monotonic()
        is_of_now = isinstance(request, PartRequest | EncoderRequest) and request.at_s is None
        if is_of_now and not self._promptness.is_prompt(elapsed_s()):
            raise ConfigError("at_s: expected the moment, for this message waited, and nobody knows how long")
        match request:
            case PartRequest():
                return {"kind": "taken", "lane": request.lane, "sequence": control.trigger(request.trigger(now_s))}
            case EncoderRequest():
                at_s = now_s if request.at_s is None else float(request.at_s)
                control.encoder(request.lane, request.count, at_s)
            case EnableRequest():
                control.enable(request.lane, is_enabled=request.is_enabled, by=THE_SOCKET)
            case CountedRequest():
                control.counted(request.lane, request.parts, request.rejects)
            case FollowRequest():
                self._clients[writer] = frozenset(request.lanes)
            case StatusRequest():
                return self._status()
        return _NOTED


def _refused(reason: str) -> Header:
    return {"kind": "refused", "reason": reason[:300]}
