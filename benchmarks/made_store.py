# SPDX-License-Identifier: AGPL-3.0-or-later
"""The store of a fleet in memory, without a network: for simulations and tests in virtual time."""

from __future__ import annotations

from vision_line.fleet.coordination import StoreEntry


class MadeStore:
    """Values with revisions, and the order in which they came."""

    def __init__(self) -> None:
        """Begin empty."""
        self.entries: dict[str, StoreEntry] = {}
        self.revision = 0

    def put(self, key: str, value: bytes) -> StoreEntry:
        """Write a value."""
        self.revision += 1
        entry = self.entries[key] = StoreEntry(key, value, self.revision)
        return entry

    def swap(self, key: str, value: bytes, expected: int) -> StoreEntry | None:
        """Write if the revision is the expected one."""
        before = self.entries.get(key)
        if (0 if before is None else before.revision) != expected:
            return None
        return self.put(key, value)
