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
from vision_line.records.evidence_files import DeletedWhy
from vision_line.records.journal_check import CheckedJournal, Expected, check_journal
from vision_line.records.schema import FILE_NAME, open_reader, translated

#: A run removes images before their rows say so; it takes a commit.
REMOVAL_S = 3.0

_IMAGES = """SELECT evidence, event_id, path, sha256, overlay_path, overlay_sha256, crop_path, crop_sha256 FROM evidence
    WHERE path IS NOT NULL AND deleted_utc IS NULL ORDER BY evidence"""
_LOST = "SELECT count(*) FROM evidence WHERE deleted_why = ?"
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
        journal = check_journal(connection, expected, report)
        if not images:
            return Verified(journal, None)
        is_running = connection.execute("SELECT 1 FROM runs WHERE ended_utc IS NULL").fetchone() is not None
        kept = [_KeptImages(*row) for row in connection.execute(_IMAGES)]
        (lost,) = connection.execute(_LOST, (DeletedWhy.LOST,)).fetchone()
        connection.execute("COMMIT")
    return Verified(journal, _check_images(directory, kept, lost, is_running=is_running))


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Say of a file that SQLite finds damaged that it is not what was written.

    Raises:
        BrokenRecordError: it is damaged.
    """
    try:
        yield
    except sqlite3.DatabaseError as exc:
        if getattr(exc, "sqlite_errorcode", 0) & 0xFF not in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            raise
        raise BrokenRecordError(f"{path} is damaged: {exc}") from exc


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
    """Return how many of `missing` a run that was killed may have removed: images go oldest first."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(missing, rows, strict=False)))
