# SPDX-License-Identifier: AGPL-3.0-or-later
"""`outputs.sqlite`: how far each output has come, and how it is. A crash repeats, and skips nothing.

A cursor is noted when its messages are acknowledged, before the next ones go: a killed process finds it. Once a
second it is put on the disk, so that after a power cut messages come twice. No secret is in the file.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from vision_line.outputs.cursor import Cursor, CursorKey, JournalName, JournalPosition
from vision_line.outputs.cursor_tables import steps_from
from vision_line.records.database_files import database_files
from vision_line.records.schema import translated
from vision_line.telemetry.output_status import APPLICATION_ID, FILE_NAME, IDENTITY, SCHEMA_VERSION, OutputState

logger = logging.getLogger(__name__)

#: A mark is kept of every so many entries.
MARK_EVERY = 1000
_BUSY_TIMEOUT_S = 5.0


class CursorFile:
    """The file, opened to write; used by one thread."""

    def __init__(self, directory: Path) -> None:
        """Open it, made where needed.

        Raises:
            RunError: it is another program's, of a newer version, damaged, or cannot be written.
        """
        self.path = directory / FILE_NAME
        with translated(self.path, "opening"):
            self._connection = _connection(self.path)
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise
        self._files = database_files(self.path)
        self._asked: dict[CursorKey, int] = {}  # replays, and SQLite's count of what others committed when it was read
        self._asked_version: int | None = None
        self._marked: dict[CursorKey, int] = {}  # the newest mark of each, where it is known

    def _prepare(self) -> None:
        self._connection.execute("PRAGMA journal_mode=WAL")
        # A commit is in the file when it returns, so that it outlives the process; `sync` has it outlive the power.
        self._connection.execute("PRAGMA synchronous=NORMAL")
        with self._transaction():
            statements = steps_from(IDENTITY.version_of(self._connection, self.path))
            for statement in statements:
                self._connection.execute(statement)
            if statements:
                self._connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
                self._connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with translated(self.path, "writing"):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def cursor(self, key: CursorKey) -> Cursor | None:
        """Return how far an output has come, None for a new one.

        Raises:
            RunError: the file cannot be read.
        """
        with translated(self.path, "reading"):
            sql = "SELECT number, digest, lost, sent, repeated FROM cursors WHERE output = ? AND journal = ?"
            row = self._connection.execute(sql, key).fetchone()
        return None if row is None else Cursor(*row)

    def save(self, key: CursorKey, cursor: Cursor) -> None:
        """Note how far an output has come, and a mark now and then.

        Raises:
            RunError: the file cannot be written.
        """
        values = (*key, cursor.number, cursor.digest, cursor.lost, cursor.sent, cursor.repeated)
        sql = "INSERT OR REPLACE INTO cursors VALUES (?, ?, ?, ?, ?, ?, ?)"
        if 0 <= cursor.number - self._marked.get(key, cursor.number + 1) < MARK_EVERY:
            with translated(self.path, "writing"):  # many times a second: by itself a statement is a transaction
                self._connection.execute(sql, values)
            return
        with self._transaction():
            self._connection.execute(sql, values)
            sql = "SELECT coalesce(max(number), -1) FROM marks WHERE output = ? AND journal = ?"
            (newest,) = self._connection.execute(sql, key).fetchone()
            if cursor.number - newest >= MARK_EVERY or newest < 0:
                self._connection.execute("INSERT INTO marks VALUES (?, ?, ?, ?)", values[:4])
                newest = cursor.number
        self._marked[key] = newest

    def marks(self, key: CursorKey) -> list[tuple[int, bytes]]:
        """Return entries that an output has come past, the newest first.

        Raises:
            RunError: the file cannot be read.
        """
        with translated(self.path, "reading"):
            sql = "SELECT number, digest FROM marks WHERE output = ? AND journal = ? ORDER BY number DESC"
            return self._connection.execute(sql, key).fetchall()

    def add_mark(self, key: CursorKey, position: JournalPosition) -> None:
        """Keep a mark of an entry that an output has come past.

        Raises:
            RunError: the file cannot be written.
        """
        with self._transaction():
            self._marked.pop(key, None)
            self._connection.execute("INSERT OR IGNORE INTO marks VALUES (?, ?, ?, ?)", (*key, *position))

    def drop_marks(self, key: CursorKey, *, above: int = -1, below: int = -1) -> None:
        """Remove the marks above and below these numbers: the journal has them no more; -1: none.

        Raises:
            RunError: the file cannot be written.
        """
        with self._transaction():
            self._marked.pop(key, None)
            sql = "DELETE FROM marks WHERE output = ? AND journal = ? AND ((? >= 0 AND number > ?) OR number < ?)"
            self._connection.execute(sql, (*key, above, above, below))

    def asked_replay(self, key: CursorKey) -> int | None:
        """Return behind which entry somebody asked to have everything again; None: nobody did.

        Raises:
            RunError: the file cannot be read.
        """
        with translated(self.path, "reading"):  # each output asks many times a second, and seldom is there one
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
            if version != self._asked_version:
                rows = self._connection.execute("SELECT output, journal, behind FROM replays").fetchall()
                self._asked = {CursorKey(output, JournalName(journal)): behind for output, journal, behind in rows}
                self._asked_version = version
        return self._asked.get(key)

    def end_replay(self, key: CursorKey, behind: int) -> None:
        """Take note that the cursor is behind the entry where it was asked to be; what was asked meanwhile stays.

        Raises:
            RunError: the file cannot be written.
        """
        with self._transaction():
            self._connection.execute(
                "DELETE FROM replays WHERE output = ? AND journal = ? AND behind = ?", (*key, behind)
            )
        self._asked_version = None  # what is committed by this connection is not counted

    def ask_replay(self, key: CursorKey, behind: int, asked_utc: float) -> None:
        """Have the process that sends, now or at its next start, send everything behind an entry again.

        Raises:
            RunError: the file cannot be written.
        """
        with self._transaction():
            sql = "INSERT OR REPLACE INTO replays VALUES (?, ?, ?, ?)"
            self._connection.execute(sql, (*key, behind, asked_utc))
        self._asked_version = None

    def sync(self, states: Mapping[str, OutputState] | None = None) -> None:
        """Note how outputs are, by their names, and put everything on the disk.

        A commit with full synchronisation takes all before it along.

        Raises:
            RunError: the file cannot be written.
        """
        with translated(self.path, "writing"):
            if database_files(self.path) != self._files:
                self._put_back()
            self._connection.execute("PRAGMA synchronous=FULL")
            try:
                with self._transaction():  # one that changes nothing would write nothing
                    self._connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
                    for name, at in (states or {}).items():
                        values = (name, at.state, at.since_utc, at.error, at.behind, at.behind_s, at.updated_utc)
                        self._connection.execute("INSERT OR REPLACE INTO states VALUES (?, ?, ?, ?, ?, ?, ?)", values)
            finally:
                self._connection.execute("PRAGMA synchronous=NORMAL")

    def _put_back(self) -> None:
        """Have the file where it was: what goes on in one that was removed or replaced would end with the process."""
        logger.error("%s was removed or replaced while it is used; it is written again", self.path)
        for ending in ("", "-wal", "-shm"):  # those of the other file would be taken for ours
            self.path.with_name(self.path.name + ending).unlink(missing_ok=True)
        again = _connection(self.path)
        try:
            self._connection.backup(again)
        except BaseException:
            again.close()
            raise
        self._connection.close()
        self._connection, self._asked_version = again, None
        self._prepare()
        self._files = database_files(self.path)

    def close(self) -> None:
        """Put everything on the disk, and close."""
        try:
            self.sync()
        finally:
            self._connection.close()


def _connection(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
