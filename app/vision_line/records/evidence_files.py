# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where an event's images lie, and how rows and images are made to agree after a run that was killed."""

from __future__ import annotations

import hashlib
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from vision_line.frames import DefectEvent, MaskFigures, Observation
from vision_line.records.file_tables import EVIDENCE
from vision_line.records.outlines import outline_in
from vision_line.records.reconciliation import check_folder, is_stored, mark_lost
from vision_line.records.rows import SET_IMAGE, image_row
from vision_line.records.schema import transaction
from vision_line.records.stored_files import StorageUsage


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
    return f"{EVIDENCE.folder}/{day}/{quote(camera, safe='')}/{run}-{quote(event_id, safe='')}"


def reconcile(connection: sqlite3.Connection, directory: Path, now_utc: float) -> StorageUsage:
    """Make rows and images agree after a run that was killed; return what is kept.

    An image that was durable when its row was not gets its row; an event without an image gets a row that says so;
    a row whose image is gone is marked deleted.

    Raises:
        RunError: the folder of the images is not in the record directory.
        sqlite3.Error, OSError: the record directory cannot be read or written.
    """
    check_folder(directory, EVIDENCE)
    with transaction(connection):
        _adopt(connection, directory, now_utc)
        return mark_lost(connection, directory, EVIDENCE, now_utc)


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
        if whole.removeprefix(f"{name}-").isdecimal() and all(is_stored(directory, path, EVIDENCE) for path in paths):
            return paths
    return None


def _observation_of(
    connection: sqlite3.Connection, run: int, camera: str, event_id: str, paths: EvidencePaths
) -> Observation | None:
    """Return the observation that the images show, as its detection was recorded."""
    number = paths.clean.removesuffix(".jpg").rpartition("-")[2]
    row = connection.execute(
        "SELECT sequence, score, x1, y1, x2, y2, outline, area_px, centre_x, centre_y FROM detections"
        " WHERE run = ? AND camera = ? AND event_id = ? AND sequence = CAST(? AS INTEGER)",
        (run, camera, event_id, number),
    ).fetchone()
    if row is None:
        return None
    mask = None if row[7] is None else MaskFigures(*row[7:10])
    return Observation(row[0], row[1], (row[2], row[3], row[4], row[5]), outline_in(row[6]), mask)


def _file_values(directory: Path, paths: EvidencePaths) -> tuple[object, ...]:
    """Return path ... missing of the evidence row for images that are there."""
    files = [directory / path for path in paths]
    digests = (hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    return (*paths, *digests, sum(file.stat().st_size for file in files), files[0].stat().st_mtime, None)
