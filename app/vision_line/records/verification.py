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
from vision_line.records.directory import ForeignEvidenceError, read_stored
from vision_line.records.evidence import EXPIRED_AT_ONCE
from vision_line.records.evidence_files import DeletedWhy
from vision_line.records.journal_check import CheckedJournal, Expected, check_journal
from vision_line.records.journal_removal import is_bad_text
from vision_line.records.lives import EndCause
from vision_line.records.schema import FILE_NAME, OBJECTS, open_reader, translated
from vision_line.records.schema_check import schema_problems

#: A run removes images before their rows say so; it takes a commit.
REMOVAL_S = 3.0

_IMAGES = """SELECT evidence, event_id, path, sha256, overlay_path, overlay_sha256, crop_path, crop_sha256 FROM evidence
    WHERE path IS NOT NULL AND deleted_utc IS NULL ORDER BY evidence"""
#: What each start found lost; a start finds it all at once.
_LOST = "SELECT count(*), min(event_id) FROM evidence WHERE deleted_why = ? GROUP BY deleted_utc ORDER BY 1 DESC"
_DIED = "SELECT count(*) FROM runs WHERE end_cause = ?"
#: A run that dies has removed at most so many events' images of which no row says so yet.
REMOVED_AT_ONCE = EXPIRED_AT_ONCE
_STILL_KEPT = "SELECT 1 FROM evidence WHERE evidence = ? AND deleted_utc IS NULL"


class _KeptImages(NamedTuple):
    """A row of evidence with its images, which an older version had not all of, nor their digests."""

    evidence: int
    event_id: str
    path: str
    sha256: str | None
    overlay_path: str | None
    overlay_sha256: str | None
    crop_path: str | None
    crop_sha256: str | None

    def check(self, directory: Path) -> int:
        """Return how many images hold.

        Raises:
            FileNotFoundError: one is not there.
            ForeignEvidenceError: one is another.
        """
        pairs = ((self[at], self[at + 1]) for at in (2, 4, 6))
        known = [(str(path), str(sha256)) for path, sha256 in pairs if path is not None and sha256 is not None]
        for path, sha256 in known:
            read_stored(directory, path, sha256)
        return len(known)


@dataclass(frozen=True, slots=True)
class ImageCheck:
    """Images that were checked, events whose images are gone since the run died, and those found lost at a start."""

    images: int
    unsettled: int
    lost: int


@dataclass(frozen=True, slots=True)
class Verified:
    """Everything holds; `images` is None where they were not asked for."""

    journal: CheckedJournal
    images: ImageCheck | None


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
        if not images:
            return Verified(journal, None)
        is_running = connection.execute("SELECT 1 FROM runs WHERE ended_utc IS NULL").fetchone() is not None
        kept = [_KeptImages(*row) for row in connection.execute(_IMAGES)]
        lost = _lost(connection)
        connection.execute("COMMIT")
    return Verified(journal, _check_images(directory, kept, lost, is_running=is_running))


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


def _lost(connection: sqlite3.Connection) -> int:
    """Return of how many events the images were lost when a run died.

    Raises:
        BrokenRecordError: more are lost than that explains.
        sqlite3.Error: as it comes.
    """
    (died,) = connection.execute(_DIED, (EndCause.CRASHED,)).fetchone()
    total = 0
    for start, (lost, event_id) in enumerate(connection.execute(_LOST, (DeletedWhy.LOST,))):
        if lost > REMOVED_AT_ONCE or start >= died:
            raise BrokenRecordError(
                f"evidence {event_id}: a start found its images missing, of {lost} events at once; nothing removed them"
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


def _check_images(directory: Path, rows: list[_KeptImages], lost: int, *, is_running: bool) -> ImageCheck:
    missing: list[_KeptImages] = []
    checked = 0
    for row in rows:
        try:
            checked += row.check(directory)
        except FileNotFoundError:
            missing.append(row)
        except ForeignEvidenceError as exc:
            raise BrokenRecordError(f"evidence {row.event_id}: {exc}") from exc
    missing = _still_missing(directory, missing)
    unsettled = _removed_at_last(missing, rows) if is_running else 0
    if missing[unsettled:]:
        row = missing[unsettled]
        raise BrokenRecordError(f"evidence {row.event_id}: an image of {row.path} is missing, and was not removed")
    return ImageCheck(checked, unsettled, lost)


def _still_missing(directory: Path, missing: list[_KeptImages]) -> list[_KeptImages]:
    """Return those of `missing` whose rows do not say soon that they were removed."""
    deadline_s = time.monotonic() + REMOVAL_S
    while missing:
        with closing(open_reader(directory)) as connection:
            missing = [
                one for one in missing if connection.execute(_STILL_KEPT, (one.evidence,)).fetchone() is not None
            ]
        if time.monotonic() > deadline_s:
            break
        time.sleep(REMOVAL_S / 10)
    return missing


def _removed_at_last(missing: list[_KeptImages], rows: list[_KeptImages]) -> int:
    """Return how many of `missing` a run that was killed may have removed: images go oldest first, a few at once."""
    pairs = zip(missing, rows[:REMOVED_AT_ONCE], strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
