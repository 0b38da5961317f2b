# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line verify`: the journal, the tables and the images of a record directory, against each other.

Read-only, and from one moment on: a run that writes meanwhile is not held up and does not confuse it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from vision_line.errors import BrokenRecordError
from vision_line.ports import ProgressCallback
from vision_line.records.directory import ForeignFileError, check_stored
from vision_line.records.file_budget import REMOVED_AT_ONCE
from vision_line.records.file_tables import CLIPS, FILE_TABLES, DeletedWhy, FileTable
from vision_line.records.journal_check import CheckedJournal, Expected, check_journal
from vision_line.records.journal_removal import is_bad_text
from vision_line.records.lives import EndCause
from vision_line.records.review.draw_check import check_draws
from vision_line.records.schema import FILE_NAME, OBJECTS, open_reader, translated
from vision_line.records.schema_check import schema_problems

#: A run removes images before their rows say so; it takes a commit.
REMOVAL_S = 3.0

_DIED = "SELECT count(*) FROM runs WHERE end_cause = ?"


class _KeptFiles(NamedTuple):
    """A row whose files are kept, by their paths and digests; an older version had not all of them."""

    table: FileTable
    number: int
    name: str
    files: tuple[tuple[str, str], ...]

    def check(self, directory: Path) -> int:
        """Return how many files hold.

        Raises:
            FileNotFoundError: one is not there.
            ForeignFileError: one is another.
        """
        for path, sha256 in self.files:
            check_stored(directory, path, sha256, self.table.folder)
        return len(self.files)


@dataclass(frozen=True, slots=True)
class ImageCheck:
    """Images and other files that were checked; of how many rows they are gone since the run died, or since a start."""

    images: int
    unsettled: int
    lost: int
    clips: int = 0


@dataclass(frozen=True, slots=True)
class Verified:
    """Everything holds; `images` is None where they were not asked for."""

    journal: CheckedJournal
    images: ImageCheck | None
    draws: int = 0  # audits and near misses that were made again


def verify(directory: Path, expected: Expected, report: ProgressCallback, *, images: bool) -> Verified:
    """Check the records of `directory`, with `images` these too.

    Raises:
        BrokenRecordError: something does not fit.
        ConfigError: the journal is signed, and the package that checks it is missing.
        RunError: there are no records, of an older version, or they cannot be read.
    """
    path = directory / FILE_NAME
    with closing(open_reader(directory)) as connection, translated(path, "reading"), _damage_named(path):
        connection.row_factory = None
        connection.execute("BEGIN")
        _check_file(connection, path)
        journal = check_journal(connection, expected, report)
        draws = check_draws(connection)
        if not images:
            return Verified(journal, None, draws)
        is_running = connection.execute("SELECT 1 FROM runs WHERE ended_utc IS NULL").fetchone() is not None
        kept = [_kept_of(connection, table) for table in FILE_TABLES.values()]
        lost = sum(_lost(connection, table) for table in FILE_TABLES.values())
        connection.execute("COMMIT")
    checks = [_check_files(directory, rows, is_running=is_running) for rows in kept]
    images, unsettled = (sum(numbers) for numbers in zip(*checks, strict=True))
    clips = checks[list(FILE_TABLES).index(CLIPS.table)][0]
    return Verified(journal, ImageCheck(images - clips, unsettled, lost, clips), draws)


def _kept_of(connection: sqlite3.Connection, table: FileTable) -> list[_KeptFiles]:
    """Return all rows of a table whose files are kept, in their order."""
    columns = ", ".join((table.number, *table.key, *table.paths, *table.hashes))
    sql = f"SELECT {columns} FROM {table.table} WHERE path IS NOT NULL AND deleted_utc IS NULL ORDER BY {table.number}"  # noqa: S608  names, of this package
    keys, paths = 1 + len(table.key), 1 + len(table.key) + len(table.paths)
    return [
        _KeptFiles(
            table,
            row[0],
            f"{table.table} {'/'.join(map(str, row[1:keys]))}",
            tuple(
                (str(path), str(digest))
                for path, digest in zip(row[keys:paths], row[paths:], strict=True)
                if path and digest
            ),
        )
        for row in connection.execute(sql)
    ]


def _check_file(connection: sqlite3.Connection, path: Path) -> None:
    """Check that SQLite finds the file whole, and that it has our tables and indices and nothing else.

    Raises:
        BrokenRecordError: it is not so.
        sqlite3.Error: as it comes.
    """
    if problem := next(schema_problems(connection, OBJECTS), None):
        raise BrokenRecordError(f"{path}: {problem}")
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise BrokenRecordError(f"{path} is damaged: {found}")


def _lost(connection: sqlite3.Connection, table: FileTable) -> int:
    """Return of how many rows of a table the files were lost when a run died; each start finds them all at once.

    Raises:
        BrokenRecordError: more are lost than that explains.
        sqlite3.Error: as it comes.
    """
    (died,) = connection.execute(_DIED, (EndCause.CRASHED,)).fetchone()
    sql = f"SELECT count(*), min({table.key[0]}) FROM {table.table} WHERE deleted_why = ?"  # noqa: S608  names, of this package
    total = 0
    for start, (lost, name) in enumerate(
        connection.execute(f"{sql} GROUP BY deleted_utc ORDER BY 1 DESC", (DeletedWhy.LOST,))
    ):
        if lost > REMOVED_AT_ONCE or start >= died:
            raise BrokenRecordError(
                f"{table.table} {name}: a start found its {table.files} missing, of {lost} rows at once;"
                " nothing removed them"
            )
        total += lost
    return total


#: What text that vision-line never wrote raises where it is read.
_NOT_OURS = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Say of a file that is damaged, or holds what nobody could have written with vision-line, that it is so.

    Raises:
        BrokenRecordError: it is damaged.
    """
    try:
        yield
    except sqlite3.DatabaseError as exc:
        is_damaged = getattr(exc, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
        if not is_damaged and not is_bad_text(exc):
            raise
        raise BrokenRecordError(f"{path} is damaged: {exc}") from exc
    except _NOT_OURS as exc:
        raise BrokenRecordError(f"{path}: holds what vision-line does not write: {type(exc).__name__}: {exc}") from exc


def _check_files(directory: Path, rows: list[_KeptFiles], *, is_running: bool) -> tuple[int, int]:
    """Return how many files of one table hold, and of how many rows they are gone since the run died.

    Raises:
        BrokenRecordError: one is another, or gone without that.
    """
    missing: list[_KeptFiles] = []
    checked = 0
    for row in rows:
        try:
            checked += row.check(directory)
        except FileNotFoundError:
            missing.append(row)
        except ForeignFileError as exc:
            raise BrokenRecordError(f"{row.name}: {exc}") from exc
    missing = _still_missing(directory, missing)
    unsettled = _removed_at_last(missing, rows) if is_running else 0
    if missing[unsettled:]:
        row = missing[unsettled]
        raise BrokenRecordError(f"{row.name}: {row.table.one_of} {row.files[0][0]} is missing, and was not removed")
    return checked, unsettled


def _still_missing(directory: Path, missing: list[_KeptFiles]) -> list[_KeptFiles]:
    """Return those of `missing` whose rows do not say soon that they were removed."""
    deadline_s = time.monotonic() + REMOVAL_S
    while missing:
        with closing(open_reader(directory)) as connection:
            missing = [row for row in missing if _is_kept(connection, row)]
        if time.monotonic() > deadline_s:
            break
        time.sleep(REMOVAL_S / 10)
    return missing


def _is_kept(connection: sqlite3.Connection, row: _KeptFiles) -> bool:
    table = row.table
    sql = f"SELECT 1 FROM {table.table} WHERE {table.number} = ? AND deleted_utc IS NULL"  # noqa: S608  the same
    return connection.execute(sql, (row.number,)).fetchone() is not None


def _removed_at_last(missing: list[_KeptFiles], rows: list[_KeptFiles]) -> int:
    """Return how many of `missing` a run that was killed may have removed: files go oldest first, a few at once."""
    pairs = zip(missing, rows[:REMOVED_AT_ONCE], strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
