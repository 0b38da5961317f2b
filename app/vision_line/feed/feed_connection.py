# SPDX-License-Identifier: AGPL-3.0-or-later
"""One client of the feed: its socket, its wishes, what waits for it, and how it is sent away. Used by one thread."""

from __future__ import annotations

import logging
import selectors
import socket

from vision_line.feed.client_queue import ClientQueue, DroppedCounts
from vision_line.feed.protocol import FROM_CLIENT, MAX_REASON, FeedFormatError, Unpacker, packed
from vision_line.feed.wants import NOTHING_YET, Want, are_apart, read_want

logger = logging.getLogger(__name__)

#: What is read and written at once, in bytes: no client holds up the others.
READ_BYTES = 1 << 16
WRITE_BYTES = 1 << 16
#: How many messages a client may send within a second.
MOST_WANTS = 50
#: How long a client that is sent away has to take the reason, in seconds.
LEAVE_S = 2.0


class FeedConnection:
    """A connected client. `is_over`: the connection can be closed."""

    def __init__(self, connected: socket.socket, hello: bytes) -> None:
        """Own `connected`, and send `hello` first."""
        connected.setblocking(False)
        self.socket = connected
        self.want: Want = NOTHING_YET
        self.queue = ClientQueue()
        self.is_over = False
        self._unpacker = Unpacker(FROM_CLIENT)
        self._outgoing = memoryview(hello)
        self._leaves_s: float | None = None
        self._second = 0
        self._wants = 0
        self._reported = DroppedCounts()
        self._snapshot_s = float("-inf")  # when it got one last
        self.was_sent_away = False

    @property
    def is_leaving(self) -> bool:
        """Whether it was sent away: it gets the reason and no more."""
        return self._leaves_s is not None

    @property
    def has_bytes(self) -> bool:
        """Whether something is to be sent."""
        return bool(self._outgoing or self.queue)

    @property
    def awaits(self) -> int:
        """What its socket is to be watched for."""
        reads = 0 if self.is_leaving else selectors.EVENT_READ
        return reads | (selectors.EVENT_WRITE if self.has_bytes else 0)

    def receive(self, now_s: float) -> list[Want]:
        """Read what the client says; one that says what cannot be understood is sent away."""
        try:
            data = self.socket.recv(READ_BYTES)
        except BlockingIOError:
            return []
        except OSError as exc:
            logger.debug("feed: a client went away: %s", exc)
            data = b""
        if not data:
            self.is_over = True
            return []
        try:
            wants = [read_want(message.header) for message in self._unpacker.push(data)]
        except FeedFormatError as exc:
            self.leave(str(exc), now_s)
            return []
        if self._are_too_many(len(wants), now_s):
            self.leave(f"more than {MOST_WANTS} messages within a second", now_s)
            return []
        return wants

    def takes_snapshot(self, now_s: float) -> bool:
        """Whether it wants one again by now; then it has it."""
        if not self.want.snapshots or not are_apart(self._snapshot_s, now_s, self.want.snapshots_apart_s):
            return False
        self._snapshot_s = now_s
        return True

    def send(self) -> None:
        """Write what the socket takes now."""
        if not self._outgoing:
            self._outgoing = memoryview(self._next_bytes())
        try:
            sent = self.socket.send(self._outgoing)
        except BlockingIOError:
            return
        except OSError as exc:
            logger.debug("feed: a client went away: %s", exc)
            self.is_over = True
            return
        self._outgoing = self._outgoing[sent:]
        if self.is_leaving and not self.has_bytes:
            self.is_over = True

    def sure(self, message: bytes, now_s: float) -> None:
        """Take a message that must arrive; a client that does not take it is sent away."""
        if not self.is_leaving and not self.queue.sure(message):
            self.leave("decisions are not read fast enough, so some would be missing", now_s)

    def leave(self, reason: str, now_s: float) -> None:
        """Send the client away: what waits is dropped, and `bye` says why."""
        if not self.is_leaving:
            self.queue.clear()
            self._say_goodbye(reason, now_s)
            self.was_sent_away = True
            logger.warning("feed: a client was sent away: %s", reason[:MAX_REASON])

    def part(self, reason: str, now_s: float) -> None:
        """End well: what is never dropped still comes, then `bye`."""
        if not self.is_leaving:
            self.queue.clear_bulk()
            self._say_goodbye(reason, now_s)

    def _say_goodbye(self, reason: str, now_s: float) -> None:
        self._leaves_s = now_s + LEAVE_S
        self.queue.newest("bye", packed({"kind": "bye", "reason": reason[:MAX_REASON]}))

    @property
    def misses_results(self) -> bool:
        """Whether results were dropped since `misses_more` was called."""
        return self.queue.dropped.results != self._reported.results and not self.is_leaving

    def misses_more(self) -> bool:
        """Whether something was dropped since the last call."""
        before, self._reported = self._reported, self.queue.dropped.counts
        return self._reported != before and not self.is_leaving

    def check(self, now_s: float) -> None:
        """End the connection of a client that has not taken its reason in time."""
        if self._leaves_s is not None and now_s >= self._leaves_s:
            self.is_over = True

    def _next_bytes(self) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while self.queue and size < WRITE_BYTES:
            message = self.queue.pop()
            pieces += message
            size += sum(map(len, message))
        return b"".join(pieces)

    def _are_too_many(self, wants: int, now_s: float) -> bool:
        if int(now_s) != self._second:
            self._second, self._wants = int(now_s), 0
        self._wants += wants
        return self._wants > MOST_WANTS
