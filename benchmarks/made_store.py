# SPDX-License-Identifier: AGPL-3.0-or-later
"""The store of a fleet in memory, without a network: for simulations and tests in virtual time."""

from __future__ import annotations

from collections.abc import Callable

from vision_line.fleet.coordination import StoreEntry


class MadeStore:
    """Values with revisions, and the order in which they came."""

    def __init__(self, clock: Callable[[], float] = lambda: 0.0) -> None:
        """Begin empty; `clock` says when values are written, in seconds."""
        self.entries: dict[str, StoreEntry] = {}
        self.revision = 0
        self._clock = clock

    def put(self, key: str, value: bytes) -> StoreEntry:
        """Write a value."""
        self.revision += 1
        entry = self.entries[key] = StoreEntry(key, value, self.revision, self._clock())
        return entry

    def swap(self, key: str, value: bytes, expected: int) -> StoreEntry | None:
        """Write if the revision is the expected one."""
        before = self.entries.get(key)
        if (0 if before is None else before.revision) != expected:
            return None
        return self.put(key, value)
