# SPDX-License-Identifier: AGPL-3.0-or-later
"""The wishes of a kind as they stand, for who follows them at once: a look that finds nothing costs microseconds."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from vision_line.parts.orders import Order, newest_number, newest_of_each
from vision_line.parts.parts_file import FILE_NAME, PARTS_FILE
from vision_line.records.database_files import DatabaseFiles, database_files, opened_files
from vision_line.records.schema import translated


class OrderReader:
    """Looks at the wishes of one kind; used by one thread at a time."""

    def __init__(self, directory: Path, kind: str) -> None:
        """Look into the parts file of a record directory, which need not be there yet."""
        self._directory = directory
        self._path = directory / FILE_NAME
        self._kind = kind
        self._connection: sqlite3.Connection | None = None
        self._files: DatabaseFiles | None = None  # those that the connection reads
        self._version: int | None = None  # as SQLite counts commits
        self._newest = 0  # the number of the newest wish that was read

    def news(self) -> tuple[Order, ...] | None:
        """Return the newest wish of each lane and value, the newest first; None: nothing was written since.

        Raises:
            RunError: the file cannot be read; the next call tries again.
        """
        try:
            with translated(self._path, "reading"):
                return self._read_news()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let the file go; the next look opens it again."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._version = None
        self._newest = 0

    def _read_news(self) -> tuple[Order, ...] | None:
        files = database_files(self._path)
        if self._connection is None or files != self._files:  # made, or others in their place
            self.close()
            self._connection = None if files is None else PARTS_FILE.reader(self._directory)
            self._files = opened_files(self._path, files)
        if self._connection is None:
            return None
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if version == self._version:
            return None
        self._version = version  # of before the reading: what comes in between is found by the next look
        newest = newest_number(self._connection, self._kind)
        if newest == self._newest:
            return None  # a part, or a lot
        found = tuple(newest_of_each(self._connection, self._kind))
        self._newest = newest
        return found
