# SPDX-License-Identifier: AGPL-3.0-or-later
"""The backlog: what the log accepted and has not yet committed. Bounded; nothing leaves it but by a commit."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from itertools import islice

from vision_line.errors import RunError
from vision_line.records.entries import Entry, estimated_bytes

#: Commits come every 200 ms.
STUCK_AFTER_S = 1.0


@dataclass(frozen=True, slots=True)
class BacklogLimits:
    """At the soft limits the log asks for no more results; at the hard ones it takes nothing and the program ends.

    The room between them is for what still comes then: results in flight, and the ledger's rows, which say that
    nothing is inspected. 64 cameras need 5 days to fill it, 16 cameras 3 weeks.
    """

    soft_entries: int = 50_000
    soft_bytes: int = 32 * 2**20
    hard_entries: int = 1_000_000
    hard_bytes: int = 256 * 2**20


@dataclass(frozen=True, slots=True)
class BacklogState:
    """How full the backlog is; `oldest_s` is when its oldest entry was accepted (monotonic), None when empty."""

    entries: int
    full: bool
    oldest_s: float | None
    committed: int


class Backlog:
    """A queue from any thread to the writer's; entries stay until `acknowledge`, so a failed commit loses nothing."""

    def __init__(self, limits: BacklogLimits) -> None:
        self._limits = limits
        self._entries: deque[tuple[float, int, Entry]] = deque()
        self._bytes = 0
        self._committed = 0
        self._refusal = ""
        self._changed = threading.Condition(threading.Lock())

    def put(self, entry: Entry) -> None:
        """Accept `entry`; never waits.

        Raises:
            RunError: the log was closed or has failed, or its backlog is full to the hard limit.
        """
        size = estimated_bytes(entry)
        with self._changed:
            if self._refusal:
                raise RunError(self._refusal)
            if self._bytes + size > self._limits.hard_bytes or len(self._entries) >= self._limits.hard_entries:
                raise RunError(f"the detection log cannot keep more: {len(self._entries)} records wait to be committed")
            self._entries.append((time.monotonic(), size, entry))
            self._bytes += size
            if len(self._entries) == 1:
                self._changed.notify()

    def refuse(self, reason: str) -> None:
        """Accept nothing from now on; the first reason stays."""
        with self._changed:
            self._refusal = self._refusal or reason
            self._changed.notify()

    def wait(self, timeout_s: float) -> None:
        """Wait until there is an entry or entries are refused, at most `timeout_s`."""
        with self._changed:
            self._changed.wait_for(lambda: self._entries or self._refusal, timeout_s)

    def oldest(self, limit: int) -> list[Entry]:
        """Return the oldest entries without taking them out."""
        with self._changed:
            return [entry for _, _, entry in islice(self._entries, limit)]

    def acknowledge(self, count: int) -> None:
        """Take out the `count` oldest entries: they are committed."""
        with self._changed:
            for _ in range(count):
                _, size, _ = self._entries.popleft()
                self._bytes -= size
            self._committed += count

    @property
    def is_stuck(self) -> bool:
        """Whether the oldest entry waits so long that commits must be failing."""
        with self._changed:
            return bool(self._entries) and time.monotonic() - self._entries[0][0] > STUCK_AFTER_S

    def state(self) -> BacklogState:
        """Return how full it is."""
        limits = self._limits
        with self._changed:
            return BacklogState(
                entries=len(self._entries),
                full=self._bytes > limits.soft_bytes or len(self._entries) > limits.soft_entries,
                oldest_s=self._entries[0][0] if self._entries else None,
                committed=self._committed,
            )
