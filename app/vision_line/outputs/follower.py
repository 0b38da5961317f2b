# SPDX-License-Identifier: AGPL-3.0-or-later
"""Follows one journal for one output: what is next, until it is done. No socket, no event loop.

The record file is the queue: memory holds a bounded piece of it, however long an output is away. A position moves only
when everything up to it was acknowledged, filtered out, or said to be lost.
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from vision_line.config.output_settings import OutputSettings
from vision_line.errors import RunError
from vision_line.outputs.chained_source import ChainedSource, JournalReading
from vision_line.outputs.cursor import BEGINNING, Cursor, CursorKey, JournalPosition
from vision_line.outputs.notification import Notification, fork, is_wanted, lost

#: Entries that are read at once, and held at most.
READ_AHEAD = 500
#: A position that moves only over what nobody wants is noted this often, in seconds.
NOTE_EVERY_S = 1.0


class Cursors(Protocol):
    """Where cursors are kept."""

    def cursor(self, key: CursorKey) -> Cursor | None:
        """Return how far an output has come, None for a new one."""

    def save(self, key: CursorKey, cursor: Cursor) -> None:
        """Note how far an output has come."""

    def marks(self, key: CursorKey) -> list[tuple[int, bytes]]:
        """Return entries that an output has come past, the newest first."""

    def add_mark(self, key: CursorKey, position: JournalPosition) -> None:
        """Keep an entry that an output has come past."""

    def drop_marks(self, key: CursorKey, *, above: int = -1, below: int = -1) -> None:
        """Remove the marks above and below these numbers."""


@dataclass(frozen=True, slots=True)
class MessageBatch:
    """What to send next, in its order; behind it the output is at `ends`. `lost` entries are said to be so in it.

    There may be nothing to send, where nobody wants what was read.
    """

    messages: tuple[Notification, ...]
    ends: JournalPosition
    lost: int = 0


class Follower:
    """Gives batch after batch; the same one again until `done`. After an error of a sink just ask again."""

    def __init__(self, settings: OutputSettings, source: ChainedSource, cursors: Cursors) -> None:
        """Go on where the cursor is; a new output begins as its settings say.

        Raises:
            RunError: the records or the cursors cannot be read.
        """
        self.key = CursorKey(settings.name, source.journal)
        self._settings = settings
        self._source = source
        self._cursors = cursors
        self._read: deque[tuple[Notification | None, JournalPosition]] = deque()
        self._own: MessageBatch | None = None  # what the follower itself has to say
        self._noted_s = time.monotonic()
        cursor = cursors.cursor(self.key)
        marks = [number for number, _ in cursors.marks(self.key)]
        self.cursor = Cursor(*self._first_position()) if cursor is None else cursor
        self._began_behind = self.cursor.number if cursor is None else min(marks, default=0)
        # What is handed over up to here was handed over before: a replay may have been cut short.
        self._tried_to = max([self.cursor.number, *marks])
        self._is_noted = cursor is not None
        if cursor is None:
            with suppress(RunError):  # `note` tries again and says so; what is `now` must not move meanwhile
                self._save()

    def _first_position(self) -> JournalPosition:
        if self._settings.since == "all":
            return self._source.beginning()
        return self._source.newest() or BEGINNING

    def next(self, window: int) -> MessageBatch | None:
        """Return what comes next, at most `window` messages; None: nothing has happened since.

        Raises:
            RunError: the records or the cursors cannot be read.
        """
        if self._own is None and not self._read:
            self._read_on()
        if self._own is not None:
            return self._own
        messages: list[Notification] = []
        ends = None
        for said, position in self._read:
            if said is not None and len(messages) == window:
                break
            ends = position
            messages += [] if said is None else [said]
        return None if ends is None else MessageBatch(tuple(messages), ends)

    def tried(self, batch: MessageBatch) -> int:
        """Take note that `batch` is handed over now; return how many of it were before: they may come twice."""
        again = sum(said.number <= self._tried_to for said in batch.messages)
        self._tried_to = max(self._tried_to, batch.ends.number)
        self.cursor = replace(self.cursor, repeated=self.cursor.repeated + again)
        return again

    def done(self, batch: MessageBatch) -> None:
        """Move behind `batch`: the other side has all of it.

        Raises:
            RunError: the cursor cannot be written.
        """
        self._own = None
        while self._read and self._read[0][1].number <= batch.ends.number:
            self._read.popleft()
        cursor = self.cursor.at(batch.ends)
        self.cursor = replace(cursor, sent=cursor.sent + len(batch.messages), lost=cursor.lost + batch.lost)
        self._is_noted = False
        if batch.messages or time.monotonic() - self._noted_s >= NOTE_EVERY_S:
            self._save()

    def go_back(self, behind: int) -> None:
        """Send everything behind entry `behind` again.

        Raises:
            RunError: the records cannot be read, or the cursor cannot be written.
        """
        self._cursors.add_mark(self.key, self.cursor.position)  # what is up to here was told, also after a restart
        self._tried_to = max(self._tried_to, self.cursor.number)
        self._go_to(self._source.position(min(behind, self.cursor.number)))

    def note(self) -> None:
        """Note the position, where it moved over what nobody wants.

        Raises:
            RunError: the cursor cannot be written.
        """
        if not self._is_noted:
            self._save()

    def backlog(self) -> tuple[int, float | None]:
        """Return how many entries are behind the position, and when the first of them was written.

        Raises:
            RunError: the records cannot be read.
        """
        newest = self._source.newest()
        behind = 0 if newest is None else max(0, newest.number - self.cursor.number)
        return behind, self._source.written_utc(self.cursor.number + 1) if behind else None

    def _go_to(self, position: JournalPosition) -> None:
        self._read.clear()
        self._own = None
        self.cursor = self.cursor.at(position)
        self._save()

    def _save(self) -> None:
        self._cursors.save(self.key, self.cursor)
        self._is_noted, self._noted_s = True, time.monotonic()

    def _read_on(self) -> None:
        reading = self._source.read(self.cursor.position, READ_AHEAD)
        if reading is None:
            return
        self._own = self._trouble(reading)
        if self._own is None:
            self._read.extend((self._wanted(said), position) for said, position in reading.entries)

    def _wanted(self, said: Notification) -> Notification | None:
        # What is carried was sent when it happened, unless this output has missed something, or wants all that is kept
        # and began when its first entry was gone. Who is told again what it was told before has lost that too.
        has_missed = self.cursor.lost or (self._settings.since == "all" and self._began_behind)
        is_replayed = said.number <= self._tried_to
        is_repetition = bool(said.content.get("carried")) and not (has_missed or is_replayed)
        return said if is_wanted(self._settings, said) and not is_repetition else None

    def _trouble(self, reading: JournalReading[Notification]) -> MessageBatch | None:
        """Return what must be said before anything else: another journal, entries that are gone, or are given up."""
        at = self.cursor.position
        now_utc = time.time()
        if reading.is_fork:
            common = self._source.common(self._cursors.marks(self.key))
            self._cursors.drop_marks(self.key, above=common.number)
            self._tried_to = common.number
            return MessageBatch((fork(self.key.journal, at.number, common.number, now_utc),), common)
        if reading.begins_behind is not None:
            return self._lost(at, reading.begins_behind, "removed", now_utc)
        limit = self._settings.max_backlog
        is_replay = at.number < self._tried_to  # of what the other side had: it is no backlog, and not lost
        if limit and not is_replay and reading.newest.number - at.number > limit:
            return self._lost(at, self._source.position(reading.newest.number - limit), "max_backlog", now_utc)
        return None

    def _lost(self, at: JournalPosition, behind: JournalPosition, why: str, now_utc: float) -> MessageBatch:
        self._cursors.drop_marks(self.key, below=behind.number)
        entries = behind.number - at.number
        return MessageBatch((lost(self.key.journal, at.number + 1, behind.number, why, now_utc),), behind, lost=entries)
