# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ends connections that nobody is at any more: the library ends their sessions, and keeps what they came by.

A client that lost its power, or whose firewall forgot it, says nothing. Some of them, and nobody could connect.
"""

from __future__ import annotations

import logging
import socket
import time

from asyncua import Server
from asyncua.server.binary_server_asyncio import OPCUAProtocol

from vision_line.outputs.opcua.guarded_server import SESSION_TIMEOUT_S

logger = logging.getLogger(__name__)

#: A peer that does not answer is asked so often, and then gone, in seconds; together a session's timeout.
_ASKED_AFTER_S, _ASKED_EVERY_S, _ASKED_TIMES = 30, 10, 3
_GONE_MS = round(SESSION_TIMEOUT_S * 1000)
#: How often it is said that there is no room.
_SAID_EVERY_S = 60.0


class ConnectionWatch:
    """The connections of one server; used in its event loop."""

    def __init__(self, server: Server, output: str) -> None:
        self._server = server
        self._output = output
        self._without_s: dict[OPCUAProtocol, float] = {}  # since when each has no session
        self._said_s = float("-inf")

    def turn(self, now_s: float | None = None) -> None:
        """Look at all of them; each few seconds."""
        now_s = time.monotonic() if now_s is None else now_s
        clients = [] if self._server.bserver is None else list(self._server.bserver.clients)
        before, self._without_s = self._without_s, {}
        for client in clients:
            if client not in before:
                _ask_for_life(client)
            self._without_s[client] = now_s if _has_session(client) else before.get(client, now_s)
            if now_s - self._without_s[client] > SESSION_TIMEOUT_S and client.transport is not None:
                client.transport.close()
        most = self._server.iserver.max_connections
        if len(clients) >= most and now_s - self._said_s >= _SAID_EVERY_S:
            self._said_s = now_s
            logger.warning("output %r: there are %d connections of clients, and no more are taken", self._output, most)


def _has_session(client: OPCUAProtocol) -> bool:
    session = None if client.processor is None else client.processor.session
    return session is not None and session.is_activated()


def _ask_for_life(client: OPCUAProtocol) -> None:
    """Have the kernel find out whether the other side is still there."""
    found = None if client.transport is None else client.transport.get_extra_info("socket")
    if found is None:
        return
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _ASKED_AFTER_S)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _ASKED_EVERY_S)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _ASKED_TIMES)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _GONE_MS)  # also of what it was sent and did not take
