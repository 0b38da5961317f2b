# SPDX-License-Identifier: AGPL-3.0-or-later
"""A SQLite file beside the record file, with a journal of its own: the line is the only writer of its records.

Each has several writers, commands among them; a transaction makes one wait for the other. A file of an older version is
brought up to date by the first that writes; who reads it finds what it lacks empty.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from vision_line.errors import RunError
from vision_line.records.file_identity import FileIdentity
from vision_line.records.schema import translated

_BUSY_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class SideFile:
    """What such a file is called, whose it is, and what each version of its tables added.

    `added` has the statements of each version from 1 on; only additions, so that a file of an older version can be
    read. `tables` has the tables among them for who reads an older file. `keeps_log`: a write-ahead log, so that
    readers never make a writer wait. `mode` is who may read a new one, less what the umask takes away.
    """

    name: str
    identity: FileIdentity
    added: Mapping[int, Sequence[str]] = field(hash=False)
    tables: Mapping[int, Sequence[str]] = field(hash=False, default_factory=dict)
    keeps_log: bool = False
    mode: int = 0o600

    @contextmanager
    def writing(self, directory: Path) -> Iterator[sqlite3.Connection]:
        """Do all of it or nothing, as the only writer; the file is made where needed.

        Raises:
            RunError: it is none of ours, of a newer version, damaged, or cannot be written.
        """
        with closing(self.writer(directory)) as connection, self.transaction(connection, directory):
            yield connection

    def writer(self, directory: Path) -> sqlite3.Connection:
        """Return a connection for `transaction`, the file being made where needed; the caller closes it.

        What is committed by it is on the disk.

        Raises:
            RunError: as `writing`.
        """
        path = directory / self.name
        with translated(path, "writing"):
            connection = _connection(_made(path, self.mode), "rw")
            try:
                self._prepare(connection, path)
            except BaseException:
                connection.close()
                raise
        return connection

    def reader(self, directory: Path) -> sqlite3.Connection | None:
        """Return a connection that can only read, for who looks often; None: there is no file, or nothing in it yet.

        Of a file of an older version it has what that has. The caller closes it.

        Raises:
            RunError: as `reading`.
        """
        path = directory / self.name
        if not path.is_file():
            return None
        with translated(path, "reading"):
            connection = _connection(path, "ro")
            try:
                version = self.identity.version_of(connection, path)
            except BaseException:
                connection.close()
                raise
        if not version:
            connection.close()
        return connection if version else None

    @contextmanager
    def transaction(self, connection: sqlite3.Connection, directory: Path) -> Iterator[None]:
        """Do all of it or nothing, as the only writer; the file's tables are brought up to date with it.

        Raises:
            RunError: it cannot be written, or another writer takes too long.
        """
        path = directory / self.name
        with translated(path, "writing"):
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._bring_up_to_date(connection, self.identity.version_of(connection, path))
                yield
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def reading(self, directory: Path) -> Iterator[sqlite3.Connection | None]:
        """Yield a connection that can only read, one state of the file; None: there is none yet.

        What an older version had not is there, and empty.

        Raises:
            RunError: it is none of ours, of a newer version, or damaged.
        """
        path = directory / self.name
        if not path.is_file():
            yield None
            return
        with translated(path, "reading"), closing(_connection(path, "ro")) as connection:
            connection.execute("BEGIN")
            version = self.identity.version_of(connection, path)
            self._add_empty_tables(connection, version)
            yield connection if version else None

    def _prepare(self, connection: sqlite3.Connection, path: Path) -> None:
        self.identity.version_of(connection, path)  # before anything is changed: it may be somebody else's
        connection.execute("PRAGMA synchronous=FULL")
        if self.keeps_log:
            connection.execute("PRAGMA journal_mode=WAL")

    def _bring_up_to_date(self, connection: sqlite3.Connection, version: int) -> None:
        """Add what later versions have, within the caller's transaction."""
        for later in range(version + 1, self.identity.newest + 1):
            for statement in self.added[later]:
                connection.execute(statement)
        if version != self.identity.newest:
            connection.execute(f"PRAGMA application_id={self.identity.application_id}")
            connection.execute(f"PRAGMA user_version={self.identity.newest}")

    def _add_empty_tables(self, connection: sqlite3.Connection, version: int) -> None:
        """Add what later versions have to this connection alone: temporary tables are not in the file."""
        for later in range(version + 1, self.identity.newest + 1):
            for statement in self.tables.get(later, ()):
                connection.execute(statement.replace("CREATE TABLE", "CREATE TEMP TABLE", 1))


def _made(path: Path, mode: int) -> Path:
    """Make the file where needed.

    Raises:
        RunError: it cannot be made.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, mode))
    except OSError as exc:
        raise RunError(f"{path}: cannot be written: {exc.strerror}") from exc
    return path


def _connection(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
    connection.row_factory = sqlite3.Row
    return connection
