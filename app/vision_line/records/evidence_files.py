# SPDX-License-Identifier: AGPL-3.0-or-later
"""The images that are kept, oldest first: a short window of them in memory, all others in the record file alone."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from vision_line.errors import RunError
from vision_line.frames import DefectEvent, Observation
from vision_line.records.corrected_time import Timeline, read_timeline
from vision_line.records.directory import FOLDER, ForeignEvidenceError, stored_path
from vision_line.records.rows import SET_IMAGE, image_row
from vision_line.records.schema import FILE_NAME, open_reader, transaction, translated

logger = logging.getLogger(__name__)

#: At most this many events' images are known in memory, and rows read at once.
WINDOW = 256

# By number and not by time: a clock that is set back must not hide images from their removal. An image is as old as
# its event.
_KEPT = """SELECT evidence, e.run, e.event_id, bytes, coalesce(v.first_seen_utc, e.created_utc),
    v.first_seen_utc - v.first_seen_s, path, overlay_path, crop_path
    FROM evidence e LEFT JOIN events v ON v.run = e.run AND v.event_id = e.event_id
    WHERE evidence > {after} AND path IS NOT NULL AND deleted_utc IS NULL ORDER BY evidence LIMIT ?"""
_KEPT_AFTER_NUMBER = _KEPT.format(after="?")
#: Nothing where that image's own row is not committed yet: what follows it is not known then.
_KEPT_AFTER_EVENT = _KEPT.format(after="(SELECT evidence FROM evidence WHERE run = ? AND event_id = ?)")


class DeletedWhy(StrEnum):
    """Why an event's images are not there any more. Stable: in the journal."""

    MAX_MB = "evidence_max_mb"
    KEEP_DAYS = "keep_days"
    PRUNE = "prune"
    LOST = "lost"  # at a start they were not there


@dataclass(frozen=True, slots=True)
class EvidenceFile:
    """An event's images on the disk; paths are relative to the record directory.

    `seen_utc` is when the event was first seen, by the wall clock of then, and `offset_s` that minus the same by the
    monotonic clock.
    """

    run: int
    event_id: str
    paths: tuple[str, ...]
    size: int
    seen_utc: float
    offset_s: float | None

    def true_utc(self, timeline: Timeline) -> float:
        """Return when the event was first seen."""
        return timeline.true_utc(self.run, self.seen_utc, self.offset_s)


@dataclass(frozen=True, slots=True)
class StorageUsage:
    """How many events' images are kept, and their size in bytes."""

    images: int = 0
    size: int = 0


class EvidenceFiles:
    """Every image of a record directory in the order of their rows; its memory does not grow with their number.

    As long as all images fit into the window they are known here alone. Beyond that new ones are only counted, and
    the window is filled again from the record file when it is used up. Used by one thread, save for `size`.
    """

    def __init__(self, directory: Path, usage: StorageUsage) -> None:
        """Begin with the `usage` that `reconcile` found in `directory`."""
        self._directory = directory
        self._images = usage.images
        self._size = usage.size
        self._window: deque[EvidenceFile] = deque()
        self._removed: EvidenceFile | None = None  # the last one: the window continues after it

    @property
    def size(self) -> int:
        """Disk space that the images take, bytes; from any thread."""
        return self._size

    @property
    def known(self) -> int:
        """How many images are known in memory now, at most `WINDOW`."""
        return len(self._window)

    def add(self, evidence: EvidenceFile) -> None:
        """Take account of an image that was written."""
        if len(self._window) == self._images < WINDOW:
            self._window.append(evidence)
        self._images += 1
        self._size += evidence.size

    def oldest(self) -> EvidenceFile | None:
        """Return the oldest image; None if there is none, or its row has not been committed yet.

        Raises:
            RunError: the record file cannot be read.
        """
        if not self._window and self._images:
            self._window.extend(_kept_after(self._directory, self._removed))
        return self._window[0] if self._window else None

    def timeline(self, now_utc: float) -> Timeline:
        """Return what says when their events were, as far as it is known now.

        Raises:
            RunError: the record file cannot be read.
        """
        with closing(open_reader(self._directory)) as connection, translated(self._directory / FILE_NAME, "reading"):
            return read_timeline(connection, now_utc)

    def drop_oldest(self) -> None:
        """Take account of the removal of the image that `oldest` returned."""
        self._removed = self._window.popleft()
        self._images -= 1
        self._size -= self._removed.size


class EvidencePaths(NamedTuple):
    """An event's images, by their paths relative to the record directory."""

    clean: str
    overlay: str
    crop: str


def evidence_paths(run: int, event: DefectEvent, sequence: int) -> EvidencePaths:
    """Return where the images of an event that show it in frame `sequence` lie. Pure."""
    return _paths_of(f"{_stem(run, event.camera, event.event_id, event.first_seen_utc)}-{sequence}")


def _paths_of(stem: str) -> EvidencePaths:
    return EvidencePaths(f"{stem}.jpg", f"{stem}.overlay.jpg", f"{stem}.crop.jpg")


def _stem(run: int, camera: str, event_id: str, first_seen_utc: float) -> str:
    day = datetime.fromtimestamp(first_seen_utc, UTC).strftime("%Y-%m-%d")
    return f"{FOLDER}/{day}/{quote(camera, safe='')}/{run}-{quote(event_id, safe='')}"


def reconcile(connection: sqlite3.Connection, directory: Path, now_utc: float) -> StorageUsage:
    """Make rows and images agree after a run that was killed; return what is kept.

    An image that was durable when its row was not gets its row; an event without an image gets a row that says so;
    a row whose image is gone is marked deleted.

    Raises:
        RunError: the folder of the images is not in the record directory.
        sqlite3.Error, OSError: the record directory cannot be read or written.
    """
    if not (directory / FOLDER).resolve().is_relative_to(directory.resolve()):
        raise RunError(f"{directory / FOLDER}: leads out of the record directory; let the whole directory be elsewhere")
    with transaction(connection):
        _adopt(connection, directory, now_utc)
        return _mark_missing(connection, directory, now_utc)


def _adopt(connection: sqlite3.Connection, directory: Path, now_utc: float) -> None:
    unknown = connection.execute(
        "SELECT run, camera, event_id, first_seen_utc FROM events JOIN runs USING (run) WHERE runs.evidence = 1"
        " AND NOT EXISTS (SELECT 1 FROM evidence e WHERE e.run = events.run AND e.event_id = events.event_id)"
        " ORDER BY event"
    ).fetchall()
    for run, camera, event_id, first_seen_utc in unknown:
        found = _found(directory, _stem(run, camera, event_id, first_seen_utc))
        observation = None if found is None else _observation_of(connection, run, camera, event_id, found)
        if found is None or observation is None:
            reason = "the program ended before the image was written"
            values: tuple[object, ...] = (*(None,) * 6, 0, now_utc, reason)
        else:
            connection.execute(SET_IMAGE, image_row(run, event_id, observation))
            values = _file_values(directory, found)
        connection.execute(
            "INSERT INTO evidence (run, event_id, path, overlay_path, crop_path, sha256, overlay_sha256, crop_sha256,"
            " bytes, created_utc, missing) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (run, event_id, *values),
        )


def _found(directory: Path, stem: str) -> EvidencePaths | None:
    """Return the images of an event that were all written before a kill."""
    folder, name = (directory / stem).parent, Path(stem).name
    for overlay in folder.glob(f"{name}-*.overlay.jpg"):
        whole = overlay.name.removesuffix(".overlay.jpg")
        paths = _paths_of(f"{Path(stem).parent}/{whole}")
        if whole.removeprefix(f"{name}-").isdecimal() and all(_is_there(directory, path) for path in paths):
            return paths
    return None


def _observation_of(
    connection: sqlite3.Connection, run: int, camera: str, event_id: str, paths: EvidencePaths
) -> Observation | None:
    """Return the observation that the images show, as its detection was recorded."""
    number = paths.clean.removesuffix(".jpg").rpartition("-")[2]
    row = connection.execute(
        "SELECT sequence, score, x1, y1, x2, y2 FROM detections"
        " WHERE run = ? AND camera = ? AND event_id = ? AND sequence = CAST(? AS INTEGER)",
        (run, camera, event_id, number),
    ).fetchone()
    return None if row is None else Observation(row[0], row[1], (row[2], row[3], row[4], row[5]))


def _file_values(directory: Path, paths: EvidencePaths) -> tuple[object, ...]:
    """Return path ... missing of the evidence row for images that are there."""
    files = [directory / path for path in paths]
    digests = (hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    return (*paths, *digests, sum(file.stat().st_size for file in files), files[0].stat().st_mtime, None)


def _mark_missing(connection: sqlite3.Connection, directory: Path, now_utc: float) -> StorageUsage:
    images = size = 0
    for number, evidence in kept_evidence(connection):
        if _is_there(directory, evidence.paths[0]):
            images, size = images + 1, size + evidence.size
        else:
            sql = "UPDATE evidence SET deleted_utc = ?, deleted_why = ? WHERE evidence = ?"
            connection.execute(sql, (now_utc, DeletedWhy.LOST, number))
    return StorageUsage(images, size)


def _is_there(directory: Path, path: str) -> bool:
    try:
        return stored_path(directory, path).is_file()
    except ForeignEvidenceError as exc:
        logger.error("an evidence image that the records name is ignored: %s", exc)
        return False


def kept_evidence(connection: sqlite3.Connection) -> Iterator[tuple[int, EvidenceFile]]:
    """Return every image that is kept, with the number of its row.

    Raises:
        sqlite3.Error: as it comes.
    """
    number = 0
    while rows := _rows_of(connection, _KEPT_AFTER_NUMBER, (number,)):
        yield from rows
        number = rows[-1][0]


def _rows_of(
    connection: sqlite3.Connection, sql: str, parameters: tuple[object, ...]
) -> list[tuple[int, EvidenceFile]]:
    """Return the images with the numbers of their rows."""
    return [
        (number, EvidenceFile(run, event_id, tuple(filter(None, paths)), size, seen_utc, offset_s))
        for number, run, event_id, size, seen_utc, offset_s, *paths in connection.execute(sql, (*parameters, WINDOW))
    ]


def _kept_after(directory: Path, last: EvidenceFile | None) -> list[EvidenceFile]:
    """Return the oldest images after `last`, as far as their rows are committed.

    Raises:
        RunError: the record file cannot be read.
    """
    sql, parameters = (_KEPT_AFTER_NUMBER, (0,)) if last is None else (_KEPT_AFTER_EVENT, (last.run, last.event_id))
    with closing(open_reader(directory)) as connection, translated(directory / FILE_NAME, "reading"):
        return [evidence for _, evidence in _rows_of(connection, sql, parameters)]
