# SPDX-License-Identifier: AGPL-3.0-or-later
"""The files that are kept, oldest first: a short window of them in memory, all others in the record file alone."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from vision_line.records.corrected_time import Timeline, read_timeline
from vision_line.records.file_tables import FileTable, RowKey
from vision_line.records.schema import FILE_NAME, open_reader, translated

#: At most this many rows' files are known in memory, and rows read at once.
WINDOW = 256


@dataclass(frozen=True, slots=True)
class StoredFile:
    """The files of one row; paths are relative to the record directory, `size` is what all of them take, in bytes.

    `seen_utc` is when what they show was seen, by the wall clock of then, and `offset_s` that minus the same by the
    monotonic clock. `number` is the row's, None as long as that is only on its way to the record file.
    """

    run: int
    key: RowKey
    paths: tuple[str, ...]
    size: int
    seen_utc: float
    offset_s: float | None
    number: int | None = field(default=None, compare=False)

    def true_utc(self, timeline: Timeline) -> float:
        """Return when what they show was seen."""
        return timeline.true_utc(self.run, self.seen_utc, self.offset_s)


@dataclass(frozen=True, slots=True)
class StorageUsage:
    """How many rows' files are kept, and their size in bytes."""

    rows: int = 0
    size: int = 0


class StoredFiles:
    """Every kept file of a table in the order of the rows; its memory does not grow with their number.

    As long as all rows fit into the window they are known here alone. Beyond that new ones are only counted, and the
    window is filled again from the record file when it is used up. Used by one thread, save for `size`.
    """

    def __init__(self, table: FileTable, directory: Path, usage: StorageUsage) -> None:
        """Begin with the `usage` that a start found in `directory`."""
        self._table = table
        self._directory = directory
        self._rows = usage.rows
        self._size = usage.size
        self._window: deque[StoredFile] = deque()
        self._removed: StoredFile | None = None  # the last one: the window continues after it

    @property
    def size(self) -> int:
        """Disk space that the files take, bytes; from any thread."""
        return self._size

    @property
    def known(self) -> int:
        """How many rows are known in memory now, at most `WINDOW`."""
        return len(self._window)

    def add(self, stored: StoredFile) -> None:
        """Take account of files that were written."""
        if len(self._window) == self._rows < WINDOW:
            self._window.append(stored)
        self._rows += 1
        self._size += stored.size

    def oldest(self) -> StoredFile | None:
        """Return the oldest row's files; None if there are none, or its row has not been committed yet.

        Raises:
            RunError: the record file cannot be read.
        """
        if not self._window and self._rows:
            self._window.extend(_kept_after(self._table, self._directory, self._removed))
        return self._window[0] if self._window else None

    def is_removal_committed(self) -> bool:
        """Whether the row of what was removed last says so; one that is gone since did.

        Raises:
            RunError: the record file cannot be read.
        """
        last = self._removed
        if last is None:
            return True
        asked = (last.run, *last.key, last.run)
        with closing(open_reader(self._directory)) as connection, translated(self._directory / FILE_NAME, "reading"):
            return bool(connection.execute(self._table.is_deleted_by_key, asked).fetchone()[0])

    def timeline(self, now_utc: float) -> Timeline:
        """Return what says when things were, as far as it is known now.

        Raises:
            RunError: the record file cannot be read.
        """
        with closing(open_reader(self._directory)) as connection, translated(self._directory / FILE_NAME, "reading"):
            return read_timeline(connection, now_utc)

    def drop_oldest(self) -> None:
        """Take account of the removal of what `oldest` returned."""
        self._removed = self._window.popleft()
        self._rows -= 1
        self._size -= self._removed.size


def kept_files(connection: sqlite3.Connection, table: FileTable) -> Iterator[tuple[int, StoredFile]]:
    """Return the files of every row that are kept, with the row's number.

    Raises:
        sqlite3.Error: as it comes.
    """
    number, sql = 0, table.kept_sql("?")
    while rows := _rows_of(connection, table, sql, (number,)):
        yield from rows
        number = rows[-1][0]


def _rows_of(
    connection: sqlite3.Connection, table: FileTable, sql: str, parameters: tuple[object, ...]
) -> list[tuple[int, StoredFile]]:
    keys = len(table.key)
    return [
        (
            number,
            StoredFile(
                run, tuple(own[:keys]), tuple(filter(None, own[keys:])), size, seen_utc, offset_s, number=number
            ),
        )
        for number, run, size, seen_utc, offset_s, *own in connection.execute(sql, (*parameters, WINDOW))
    ]


def _kept_after(table: FileTable, directory: Path, last: StoredFile | None) -> list[StoredFile]:
    """Return the oldest files after `last`, as far as their rows are committed.

    Nothing where the row of `last` itself is not committed yet: what follows it is not known then. Where its number is
    known the row may be gone. Where it is not, the row is of this run and the highest that says that its files went,
    which stays.

    Raises:
        RunError: the record file cannot be read.
    """
    if last is not None and last.number is None:
        sql, parameters = table.kept_sql(table.number_of_key), (last.run, *last.key)
    else:
        sql, parameters = table.kept_sql("?"), (0 if last is None else last.number,)
    with closing(open_reader(directory)) as connection, translated(directory / FILE_NAME, "reading"):
        return [stored for _, stored in _rows_of(connection, table, sql, parameters)]
