# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reads the record file for one answer at a time: read only, in short transactions, and not for ever."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from vision_line.challenges.challenge_windows import teach_challenges
from vision_line.errors import RunError
from vision_line.records.schema import FILE_NAME, open_reader, translated

#: How long all statements of one answer may take, in seconds.
LIMIT_S = 5.0
#: SQLite asks whether to go on after so many of its steps: some 2 ms.
_STEPS = 50_000


class NoRecordsError(RunError):
    """There is no record file yet."""


class RecordReader:
    """Opens the record file of a directory anew for each answer, so that it may come later, or be another one.

    Each statement is a transaction of its own (callers fetch all rows at once), so that no answer keeps the line's
    write-ahead log from being folded back.
    """

    def __init__(self, directory: Path, limit_s: float = LIMIT_S) -> None:
        self.directory = directory
        self._limit_s = limit_s

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection whose statements end after the time limit.

        Raises:
            NoRecordsError: there is no record file yet.
            RunError: it cannot be read by this version, is damaged, or a statement took too long.
        """
        path = self.directory / FILE_NAME
        if not path.is_file():
            raise NoRecordsError(f"{self.directory}: no records yet; the first run of vision-line makes {FILE_NAME}")
        with translated(path, "reading"), closing(open_reader(self.directory)) as connection:
            due_s = time.monotonic() + self._limit_s
            teach_challenges(connection, self.directory)
            connection.set_progress_handler(lambda: time.monotonic() > due_s, _STEPS)
            try:
                yield connection
            except sqlite3.OperationalError as exc:
                if exc.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                    raise RunError(
                        f"that takes more than {self._limit_s:g} s: choose less time or other filters"
                    ) from exc
                raise
