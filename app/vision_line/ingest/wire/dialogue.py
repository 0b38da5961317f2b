# SPDX-License-Identifier: AGPL-3.0-or-later
"""Requests to a camera and its answers: numbers, authorization, and what comes in between."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping

from vision_line.ingest.camera_clock import Clocks
from vision_line.ingest.wire.authorization import Challenge, Credentials, choose_challenge, parse_challenges
from vision_line.ingest.wire.connection import SEND_LIMIT_S, Connection, Interleaved
from vision_line.ingest.wire.message import Message, ProtocolError, format_answer, format_request

TICK_S = 0.25  # how long anything may block before it checks for a stop
LEAVING_S = 0.1
MAX_EARLY_BYTES = 4 << 20  # of packets that come before the answer to PLAY
PACKET_BYTES = 64  # what keeping a packet takes beside its own bytes
_ATTEMPTS = 3
_KNOWN_REQUESTS = frozenset({"OPTIONS", "GET_PARAMETER", "SET_PARAMETER"})
_UNAUTHORIZED = 401


class StoppedError(Exception):
    """Told to stop while waiting for an answer."""


class Dialogue:
    """Asks on one connection. Used by one thread."""

    def __init__(
        self,
        connection: Connection,
        credentials: Credentials | None,
        stop: threading.Event,
        clocks: Clocks,
        silence_s: float,
    ) -> None:
        """Start a dialogue on a new connection; a camera that says nothing for `silence_s` is not waited for."""
        self.session: str | None = None
        self.offered: list[Challenge] = []  # the ways in of the last refusal
        self.early: list[tuple[int, bytes]] = []  # channel and packet of what came before its time
        self._connection = connection
        self._credentials = credentials
        self._stop = stop
        self._clocks = clocks
        self._silence_s = silence_s
        self._number = 0
        self._early_bytes = 0
        self._challenge: Challenge | None = None
        self._accepted = False
        self._alive: tuple[str, str] | None = None  # the sign of life whose answer is not here

    def ask(self, method: str, url: str, deadline_s: float, headers: Mapping[str, str] | None = None) -> Message:
        """Ask and return the answer, whatever its status; asked for a name and password, give them.

        Raises:
            TimeoutError: no answer by `deadline_s`, of the monotonic clock, or silence for too long.
            ProtocolError: the camera breaks a bound.
            StoppedError: told to stop.
            OSError: the connection is lost.
        """
        answer = self._exchange(method, url, deadline_s, headers)
        for _ in range(_ATTEMPTS - 1):
            if answer.status != _UNAUTHORIZED or not self._learn(answer):
                break
            answer = self._exchange(method, url, deadline_s, headers)
        self._accepted = self._accepted or (self._challenge is not None and answer.status == 200)
        return answer

    def show_life(self, method: str, url: str) -> None:
        """Send a request whose answer nobody waits for."""
        self._alive = (method, url)
        self._send(method, url, None)

    def leave(self, url: str) -> None:
        """Tell the camera that we go, if it listens."""
        with contextlib.suppress(OSError):
            self._send("TEARDOWN", url, None, LEAVING_S)

    def notice(self, message: Message) -> None:
        """Handle a message that came while frames are read: an answer to a sign of life, or a camera's request."""
        if message.method is not None:
            self._connection.send(format_answer(message, is_known=message.method in _KNOWN_REQUESTS))
        elif self._alive is not None:
            alive, self._alive = self._alive, None
            if message.status == _UNAUTHORIZED and self._learn(message):
                self._send(*alive, None)

    def _exchange(self, method: str, url: str, deadline_s: float, headers: Mapping[str, str] | None) -> Message:
        number = self._send(method, url, headers)
        heard_s = self._clocks.monotonic()
        while True:
            while (item := self._connection.framer.take()) is not None:
                if isinstance(item, Interleaved):
                    self._keep(item)
                elif item.method is not None:
                    self.notice(item)
                elif item.number is None or item.number >= number:
                    return item
            now_s = self._clocks.monotonic()
            left_s = min(deadline_s, heard_s + self._silence_s) - now_s
            if left_s <= 0:
                raise TimeoutError(f"no answer to {method} in time")
            if self._stop.is_set():
                raise StoppedError
            if self._connection.receive(min(TICK_S, left_s)):
                heard_s = now_s

    def _send(self, method: str, url: str, headers: Mapping[str, str] | None, within_s: float = SEND_LIMIT_S) -> int:
        self._number += 1
        fields = {"CSeq": str(self._number), "User-Agent": "vision-line", **(headers or {})}
        if self.session is not None:
            fields["Session"] = self.session
        if self._challenge is not None and self._credentials is not None:
            fields["Authorization"] = self._credentials.answer(self._challenge, method, url)
        self._connection.send(format_request(method, url, fields), within_s)
        return self._number

    def _learn(self, refusal: Message) -> bool:
        """Take the best way in that a refusal offers; return whether it is worth another try.

        A wrong password is tried once only: cameras lock accounts. A new nonce is no wrong password.
        """
        used, self.offered = self._challenge, parse_challenges(refusal.headers_of("www-authenticate"))
        best = choose_challenge(self.offered)
        if best is None or self._credentials is None:
            return False
        self._challenge = best
        return used is None or best.is_stale or (self._accepted and best.nonce != used.nonce)

    def _keep(self, packet: Interleaved) -> None:
        self._early_bytes += len(packet.data) + PACKET_BYTES
        if self._early_bytes > MAX_EARLY_BYTES:
            raise ProtocolError(f"{self._early_bytes} bytes of packets before an answer")
        self.early.append((packet.channel, bytes(packet.data)))
