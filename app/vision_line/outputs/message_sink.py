# SPDX-License-Identifier: AGPL-3.0-or-later
"""The port that every output is behind: a broker, an HTTP server, a database, a server that others ask."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from vision_line.errors import VisionLineError, mask_credentials
from vision_line.outputs.notification import Notification
from vision_line.words import one_line


class SinkTrouble(StrEnum):
    """Why an output gets nothing. Stable: shown and exported."""

    UNREACHABLE = "UNREACHABLE"
    NAME_UNKNOWN = "NAME_UNKNOWN"
    TIMEOUT = "TIMEOUT"
    LOST = "LOST"
    AUTH_FAILED = "AUTH_FAILED"
    TLS_FAILED = "TLS_FAILED"
    TAKEN_OVER = "TAKEN_OVER"
    REFUSED = "REFUSED"
    BUSY = "BUSY"
    GONE = "GONE"
    FAILED = "FAILED"


#: No quick retry cures these.
_SLOW = frozenset({SinkTrouble.AUTH_FAILED, SinkTrouble.NAME_UNKNOWN, SinkTrouble.TLS_FAILED, SinkTrouble.TAKEN_OVER})


class SinkError(VisionLineError):
    """An output took nothing, or did not say so; what was sent is sent again."""

    def __init__(self, trouble: SinkTrouble, detail: str, *, retry_after_s: float | None = None) -> None:
        """`retry_after_s` is what the other side asked for."""
        self.trouble = trouble
        self.retry_after_s = retry_after_s
        super().__init__(one_line(f"{trouble}: {mask_credentials(detail)}"))

    @property
    def is_slow(self) -> bool:
        """Whether trying again soon is of no use."""
        return self.trouble in _SLOW

    @property
    def is_final(self) -> bool:
        """Whether the other side wants nothing any more."""
        return self.trouble is SinkTrouble.GONE


@dataclass(frozen=True, slots=True)
class ShownState:
    """How the line is now, for outputs that show a state.

    Each camera's newest state, the intervals that are open, the newest lot and recipe of each lane.
    """

    cameras: tuple[Notification, ...] = ()
    intervals: tuple[Notification, ...] = ()
    orders: tuple[Notification, ...] = ()


#: How long news may wait for others, where somebody is to see it at once: the journal has some five times a second, and
#: each turn costs a transaction, a wake-up and cold caches, whatever it finds. A third of a second, so that the turns
#: of all outputs, and what is done once a second, fall together.
TURN_S = 1 / 3
#: The same where messages are gathered for a request, or nobody is there to hear them: messages may take a second.
LONG_TURN_S, LONGEST_TURN_S = 2 / 3, 1.0


def to_next_turn_s(every_s: float) -> float:
    """Return how long it is to the next whole multiple of a time: all that wait so wake the process once."""
    return every_s - time.monotonic() % every_s


class MessageSink(Protocol):
    """Where messages go. Used by one task; after an error it is closed, and connected anew.

    `window` is how many messages are handed over at most before all of them must be acknowledged: as many come twice
    when a connection breaks. `connects` is whether `connect` shows that the other side is there; else the first
    acknowledgement does. `turn_s` is after how long the journal is asked for news.
    """

    window: int
    connects: bool

    @property
    def turn_s(self) -> float:
        """Seconds between two looks: each costs the line something, and news waits half of it on average."""

    async def connect(self) -> None:
        """Be ready for messages.

        Raises:
            SinkError: it cannot.
        """

    async def send(self, messages: Sequence[Notification]) -> None:
        """Have `messages`, in their order, acknowledged by the other side.

        Raises:
            SinkError: not all are.
        """

    async def show(self, state: ShownState) -> None:
        """Have the line's state known, where the other side keeps one; called when nothing waits.

        Raises:
            SinkError: it is not.
        """

    def check(self) -> None:
        """Find out whether the connection is still there; called often while nothing waits.

        Raises:
            SinkError: it is not.
        """

    async def close(self) -> None:
        """Let go of the connection, in order where that is possible; may be called twice."""
