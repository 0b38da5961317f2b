# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reads a journal behind a position, and finds out when it is not the one that was followed, or lacks entries.

Short transactions: no output keeps a writer's write-ahead log from being folded back. The file may come later, and may
be replaced by another one.
"""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from vision_line.errors import RunError
from vision_line.outputs.cursor import BEGINNING, JournalName, JournalPosition
from vision_line.outputs.notification import Notification
from vision_line.records.database_files import DatabaseFiles, database_files, opened_files
from vision_line.records.formats import iso_utc
from vision_line.records.journal import JournalEntry
from vision_line.records.schema import translated

_NEWEST = "SELECT number, digest FROM journal ORDER BY number DESC LIMIT 1"
_OLDEST = "SELECT number FROM journal ORDER BY number LIMIT 1"
#: Its newest entries alone are searched: however rare a kind is, this takes milliseconds.
_NEWEST_OF_KIND = """SELECT number FROM journal WHERE +kind = ? AND number > (SELECT max(number) FROM journal) - 100000
    ORDER BY number DESC LIMIT 1"""
_NEWEST_OF_KEY = """SELECT max(number) FROM journal
    WHERE (kind = ? AND key = ?) OR (kind = 'carried' AND key = ?)"""
_VERSION = "PRAGMA data_version"
_DIGEST = "SELECT digest FROM journal WHERE number = ?"
_WRITTEN = "SELECT at_utc FROM journal WHERE number = ?"
#: The first entry that was written at a moment or later. Times need not rise, so the earliest number counts.
_SINCE = "SELECT min(number) FROM journal WHERE at_utc >= ?"
#: What was read last is kept for the outputs that ask for the same within a second: each wants every entry. No more:
#: texts that stay for a while among those that go at once scatter the memory that they are in, which then grows for
#: hours.
_KEPT = 100

#: What an entry raises whose body is not what the program wrote: also nested without end, or with a figure without end.
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError, RunError)

Read = TypeVar("Read")


@dataclass(frozen=True, slots=True)
class JournalReading(Generic[Read]):
    """What is behind a position: entries, as they are or as notifications, each with the position behind it.

    `is_fork`: the journal is not the one that was followed. `begins_behind`: what is between the position and this one
    is gone. In both cases there are no entries. `version` is SQLite's count of commits that the reading saw.
    """

    newest: JournalPosition
    entries: Sequence[tuple[Read, JournalPosition]] = ()
    is_fork: bool = False
    begins_behind: JournalPosition | None = None
    version: int | None = None


class ChainedSource(ABC):
    """One journal of a record directory, for all outputs of this process; used by one thread."""

    #: Which journal it is.
    journal: ClassVar[JournalName]
    #: Number, run, kind, key, moment, body and digest of the entries behind a number, at most so many.
    _behind: ClassVar[str]
    #: Kinds of entries of which something else may be said later, so that what was said is not kept.
    _changing: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._files: DatabaseFiles | None = None  # those that the connection reads
        self._kept: dict[int, tuple[JournalEntry, Notification]] = {}
        self._ended: tuple[int, JournalPosition] | None = None  # where it ended, and SQLite's count of commits then
        self._shared: tuple[JournalPosition, int, JournalReading[Notification]] | None = None  # what was read last

    @abstractmethod
    def _opened(self, path: Path) -> sqlite3.Connection | None:
        """Return a connection to the file, None where nothing is in it yet."""

    @abstractmethod
    def _translated(self, entry: JournalEntry) -> Notification:
        """Return what is said of an entry.

        Raises:
            ValueError, AttributeError, KeyError, TypeError, RunError: its body is not what the program wrote.
        """

    @abstractmethod
    def _id_of(self, entry: JournalEntry) -> str:
        """Return the id of an entry that cannot be read."""

    def _kind_of(self, entry: JournalEntry) -> str:
        """Return the kind under which an entry that cannot be read is told."""
        return entry.kind

    def _first(self, connection: sqlite3.Connection, number: int) -> JournalPosition:
        """Return the position before the oldest entry, whose number is `number`."""
        del connection
        return JournalPosition(number - 1, b"")

    def newest(self) -> JournalPosition | None:
        """Return where the journal ends, None: there is none yet.

        Raises:
            RunError: the file cannot be read.
        """
        if self._ended is not None and self._is_unchanged(self._ended[0]):
            return self._ended[1]
        with self._reading() as connection:
            return None if connection is None else _newest(connection)

    def read(self, behind: JournalPosition, limit: int) -> JournalReading[Notification] | None:
        """Return at most `limit` entries behind a position, None: there is no journal yet.

        Raises:
            RunError: the file cannot be read.
        """
        if self._shared is not None and self._shared[:2] == (behind, limit):  # another output was here a moment ago
            reading = self._shared[2]
            if reading.version is not None and self._is_unchanged(reading.version):
                return reading
        found = self._read(behind, limit, self._said)
        if found is not None and found.entries:
            self._shared = behind, limit, found
        return found

    def read_entries(self, behind: JournalPosition, limit: int) -> JournalReading[JournalEntry] | None:
        """Return the same as it is in the journal.

        Raises:
            RunError: the file cannot be read.
        """
        return self._read(behind, limit, lambda entry: entry)

    def _read(
        self, behind: JournalPosition, limit: int, said: Callable[[JournalEntry], Read]
    ) -> JournalReading[Read] | None:
        if self._has_ended(behind):
            return JournalReading(behind)
        with self._reading() as connection:
            if connection is None or (newest := _newest(connection)) is None:
                return None
            beginning = self._beginning(connection)
            if behind.number < beginning.number:
                return JournalReading(newest, begins_behind=beginning)
            if not _holds(connection, behind, beginning):
                return JournalReading(newest, is_fork=True)
            rows = connection.execute(self._behind, (behind.number, limit)).fetchall()
            version = _version(connection)
            if len(rows) < limit:
                self._ended = version, newest
            entries = [(said(JournalEntry(*row[:6])), JournalPosition(row[0], row[6])) for row in rows]
            return JournalReading(newest, entries, version=version)

    def beginning(self) -> JournalPosition:
        """Return the position before the oldest entry that is kept.

        Raises:
            RunError: the file cannot be read.
        """
        with self._reading() as connection:
            return BEGINNING if connection is None else self._beginning(connection)

    def common(self, marks: Sequence[tuple[int, bytes]]) -> JournalPosition:
        """Return the first of `marks` that the journal holds; its beginning, where it holds none.

        Raises:
            RunError: the file cannot be read.
        """
        with self._reading() as connection:
            if connection is None:
                return BEGINNING
            beginning = self._beginning(connection)
            held = (JournalPosition(*mark) for mark in marks if _holds(connection, JournalPosition(*mark), beginning))
            return next(held, beginning)

    def position(self, number: int) -> JournalPosition:
        """Return the position behind entry `number`, or the nearest one after it that is kept.

        Raises:
            RunError: the file cannot be read.
        """
        with self._reading() as connection:
            if connection is None:
                return BEGINNING
            row = connection.execute(_DIGEST, (number,)).fetchone()
            return self._beginning(connection) if row is None else JournalPosition(number, row[0])

    def before(self, at_utc: float) -> JournalPosition | None:
        """Return the position before the first entry that was written at a moment or later; None: nothing was.

        Raises:
            RunError: the file cannot be read.
        """
        with self._reading() as connection:
            if connection is None:
                return None
            (number,) = connection.execute(_SINCE, (at_utc,)).fetchone()
        return None if number is None else self.position(number - 1)

    def written_utc(self, number: int) -> float | None:
        """Return when an entry was written, None where it is not there.

        Raises:
            RunError: the file cannot be read.
        """
        with self._reading() as connection:
            row = None if connection is None else connection.execute(_WRITTEN, (number,)).fetchone()
            return None if row is None else float(row[0])

    def entry(self, number: int) -> Notification | None:
        """Return what entry `number` says, None where it is not there.

        Raises:
            RunError: the file cannot be read.
        """
        with self._reading() as connection:
            row = None if connection is None else connection.execute(self._behind, (number - 1, 1)).fetchone()
            return self._said(JournalEntry(*row[:6])) if row is not None and row[0] == number else None

    def newest_of(self, kind: str, key: str | None = None) -> Notification | None:
        """Return what was said last of `key`, or of any among the newest entries; None: nothing.

        Raises:
            RunError: the file cannot be read.
        """
        sql, values = (_NEWEST_OF_KIND, (kind,)) if key is None else (_NEWEST_OF_KEY, (kind, key, f"{kind}/{key}"))
        with self._reading() as connection:
            row = None if connection is None else connection.execute(sql, values).fetchone()
        return None if row is None or row[0] is None else self.entry(row[0])

    def close(self) -> None:
        """Let go of the file; may be called twice."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._files = self._ended = self._shared = None
        self._kept.clear()

    def _said(self, entry: JournalEntry) -> Notification:
        kept = self._kept.get(entry.number)
        if kept is not None and kept[0] == entry:
            return kept[1]
        said = self._said_anew(entry)
        if entry.kind in self._changing:
            return said
        self._kept[entry.number] = entry, said
        if len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]
        return said

    def _said_anew(self, entry: JournalEntry) -> Notification:
        try:
            iso_utc(entry.at_utc)
            return self._translated(entry)
        except _UNREADABLE:  # somebody changed it, or a disk did: `verify` says so
            kind = self._kind_of(entry)
            return Notification(self._id_of(entry), entry.number, kind, _moment(entry), {"unreadable": True})

    def _beginning(self, connection: sqlite3.Connection) -> JournalPosition:
        row = connection.execute(_OLDEST).fetchone()
        return BEGINNING if row is None or row[0] == 1 else self._first(connection, row[0])

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """Yield a connection that sees one state of the file which is there now; None: there is none."""
        with translated(self._path, "reading"):
            connection = self._current()
            if connection is None:
                yield None
                return
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")

    def _has_ended(self, behind: JournalPosition) -> bool:
        """Whether the journal ended at a position, and nothing was written since: a look costs microseconds."""
        ended = self._ended
        return ended is not None and ended[1] == behind and self._is_unchanged(ended[0])

    def _is_unchanged(self, version: int) -> bool:
        """Whether nothing was written since SQLite's count of commits was this, into the file that is there now."""
        with translated(self._path, "reading"):
            before, connection = self._connection, self._current()  # of another file nothing is known
            return connection is not None and connection is before and _version(connection) == version

    def _current(self) -> sqlite3.Connection | None:
        files = database_files(self._path)
        if self._connection is None or files != self._files:
            self.close()
            self._connection = None if files is None else self._opened(self._path)
            if self._connection is not None:
                self._connection.text_factory = _text
            self._files = opened_files(self._path, files)
        return self._connection


def _text(data: bytes) -> str:
    """Return what SQLite holds as text: by itself it ends a whole reading for one byte that is none."""
    return data.decode(errors="replace")


def _moment(entry: JournalEntry) -> float:
    """Return when an entry was made, the beginning of 1970 where it bears no moment."""
    try:
        iso_utc(entry.at_utc)
    except RunError:
        return 0.0
    return entry.at_utc


def _version(connection: sqlite3.Connection) -> int:
    """Return SQLite's count of what others committed: up to now, and in a transaction up to what that sees."""
    (version,) = connection.execute(_VERSION).fetchone()
    return int(version)


def _newest(connection: sqlite3.Connection) -> JournalPosition | None:
    row = connection.execute(_NEWEST).fetchone()
    return None if row is None else JournalPosition(row[0], row[1])


def _holds(connection: sqlite3.Connection, position: JournalPosition, beginning: JournalPosition) -> bool:
    """Whether the journal holds the entry of a position, or begins behind it."""
    if position.number == beginning.number:
        found: bytes | None = beginning.digest
    else:
        row = connection.execute(_DIGEST, (position.number,)).fetchone()
        found = None if row is None else row[0]
    return found is not None and (not position.digest or not found or found == position.digest)
