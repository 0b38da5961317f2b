# SPDX-License-Identifier: AGPL-3.0-or-later
"""How far an output has come in the journal. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from vision_line.records.journal import NO_DIGEST


class JournalName(StrEnum):
    """A journal that outputs follow. Stable: in `outputs.sqlite`, and before the number in ids of all but records."""

    RECORDS = "records"
    PARTS = "parts"
    REVIEWS = "reviews"


class CursorKey(NamedTuple):
    """Whose place in which journal."""

    output: str
    journal: JournalName = JournalName.RECORDS


class JournalPosition(NamedTuple):
    """Behind entry `number`, whose digest is `digest`; an empty digest is not known, and fits any."""

    number: int
    digest: bytes


#: Before the first entry of a journal.
BEGINNING = JournalPosition(0, NO_DIGEST)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Up to entry `number`, whose digest is `digest`, everything was acknowledged, filtered out, or counted as lost.

    `lost`, `sent` and `repeated` count since the output began.
    """

    number: int
    digest: bytes
    lost: int = 0
    sent: int = 0
    repeated: int = 0

    @property
    def position(self) -> JournalPosition:
        """Where it is."""
        return JournalPosition(self.number, self.digest)

    def at(self, position: JournalPosition) -> Cursor:
        """Return the same cursor elsewhere."""
        return replace(self, number=position.number, digest=position.digest)


class MemoryCursors:
    """Cursors of a reader that keeps its own: nothing of them outlives the process."""

    def __init__(self) -> None:
        self._cursors: dict[CursorKey, Cursor] = {}

    def cursor(self, key: CursorKey) -> Cursor | None:
        """Return how far an output has come."""
        return self._cursors.get(key)

    def save(self, key: CursorKey, cursor: Cursor) -> None:
        """Note how far an output has come."""
        self._cursors[key] = cursor

    def marks(self, key: CursorKey) -> list[tuple[int, bytes]]:
        """Return nothing: there are none."""
        del key
        return []

    def add_mark(self, key: CursorKey, position: JournalPosition) -> None:
        """Do nothing: there are none."""
        del key, position

    def drop_marks(self, key: CursorKey, *, above: int = -1, below: int = -1) -> None:
        """Do nothing: there are none."""
        del key, above, below
