# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reads a box's files for one answer at a time: read only, in short transactions, and not for ever."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Protocol

from vision_line.challenges.challenge_windows import teach_challenges
from vision_line.errors import RunError
from vision_line.parts import parts_file
from vision_line.parts.parts_removal import RemovedParts, removed_parts
from vision_line.records.records import Records
from vision_line.records.schema import FILE_NAME, open_reader, translated
from vision_line.reviews import reviews_file

#: How long all statements of one answer may take, in seconds.
LIMIT_S = 5.0
#: SQLite asks whether to go on after so many of its steps: some 2 ms.
_STEPS = 50_000


class NoRecordsError(RunError):
    """There is no record file yet."""


class DeskSource(Protocol):
    """What a desk shows: the files of a box, or the database of all boxes. Each is opened anew for each answer.

    What is opened ends its statements after a time limit, and knows challenges (`is_challenge`). All raise RunError
    where it cannot be read, or where a statement took too long. None: there is nothing of it yet.
    """

    @property
    def directory(self) -> Path:
        """The desk's own folder; of a box it is the record directory."""
        ...

    def open(self) -> AbstractContextManager[Records]:
        """Yield the records; raises NoRecordsError where there are none yet."""
        ...

    def open_parts(self) -> AbstractContextManager[Records | None]:
        """Yield the parts."""
        ...

    def open_reviews(self) -> AbstractContextManager[Records | None]:
        """Yield the reviews."""
        ...

    def removed_parts(self) -> RemovedParts:
        """Return which parts were removed for age."""
        ...


class RecordReader:
    """Opens the files of a record directory anew for each answer, so that they may come later, or be other ones.

    Each statement on the records is a transaction of its own (callers fetch all rows at once), so that no answer keeps
    the line's write-ahead log from being folded back.
    """

    def __init__(self, directory: Path, limit_s: float = LIMIT_S) -> None:
        self.directory = directory
        self._limit_s = limit_s

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection to the record file.

        Raises:
            NoRecordsError: there is no record file yet.
            RunError: it cannot be read by this version, is damaged, or a statement took too long.
        """
        path = self.directory / FILE_NAME
        if not path.is_file():
            raise NoRecordsError(f"{self.directory}: no records yet; the first run of vision-line makes {FILE_NAME}")
        with translated(path, "reading"), closing(open_reader(self.directory)) as connection, self._limited(connection):
            yield connection

    @contextmanager
    def open_parts(self) -> Iterator[sqlite3.Connection | None]:
        """Yield a connection to the parts; None: no lane has ever run, and nobody began a lot.

        Raises:
            RunError: they cannot be read by this version, are damaged, or a statement took too long.
        """
        with parts_file.reading(self.directory) as connection:
            if connection is None:
                yield None
                return
            with self._limited(connection):
                yield connection

    def open_reviews(self) -> AbstractContextManager[sqlite3.Connection | None]:
        """Return what yields a connection to the reviews; raises RunError as `open_parts`."""
        return reviews_file.reading(self.directory)

    def removed_parts(self) -> RemovedParts:
        """Return which parts were removed for age; raises RunError as `open_parts`."""
        with parts_file.reading(self.directory) as connection:
            return RemovedParts() if connection is None else removed_parts(connection)

    @contextmanager
    def _limited(self, connection: sqlite3.Connection) -> Iterator[None]:
        """Teach a connection challenges, and end its statements after the time limit."""
        due_s = time.monotonic() + self._limit_s
        teach_challenges(connection, self.directory)
        connection.set_progress_handler(lambda: time.monotonic() > due_s, _STEPS)
        try:
            yield
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                raise RunError(f"that takes more than {self._limit_s:g} s: choose less time or other filters") from exc
            raise
