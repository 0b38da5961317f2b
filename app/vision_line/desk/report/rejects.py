# SPDX-License-Identifier: AGPL-3.0-or-later
"""The newest rejects, each with a small copy of its enlarged defect as text that a page can hold."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vision_line.desk.local_time import ChosenTime
from vision_line.records.directory import ForeignFileError, read_stored
from vision_line.records.file_tables import EVIDENCE
from vision_line.records.records import Records, Row

#: The longer side of a small copy, pixels: four in a row of A4 are printed at some 140 dpi.
LONGEST_SIDE = 240
_QUALITY = 80

_REJECTS = """SELECT t.event, t.event_id, t.camera, t.station, t.class AS class_name, t.score, t.first_seen_utc,
    e.crop_path, e.crop_sha256, e.sha256, e.deleted_utc, e.missing
    FROM events t LEFT JOIN evidence e ON e.run = t.run AND e.event_id = t.event_id
    WHERE t.verdict = 'reject' AND t.first_seen_utc >= ? AND t.first_seen_utc < ?
    AND NOT is_challenge(t.camera, t.first_seen_utc)
    ORDER BY t.first_seen_utc DESC, t.event DESC LIMIT ?"""


@dataclass(frozen=True, slots=True)
class ShownReject:
    """A reject. `image` is a data URI, "" where there is none; then `without` says why.

    `event` is its number in the record file, `sha256` that of the untouched image, "" where there is none.
    """

    event: int
    event_id: str
    camera: str
    station: str
    class_name: str
    score: float
    first_seen_utc: float
    image: str
    without: str
    sha256: str


def read_rejects(connection: Records, time: ChosenTime, most: int) -> Sequence[Row]:
    """Return the rows of the newest `most` rejects, newest first.

    Raises:
        Error: the database's, as it comes.
    """
    return connection.execute(_REJECTS, (time.since_utc, time.until_utc, most)).fetchall()


def shown(directory: Path, row: Row) -> ShownReject:
    """Return a reject with its image, which is shown only if it is the one that was recorded."""
    image, without = _image(directory, row)
    return ShownReject(
        event=row["event"],
        event_id=row["event_id"],
        camera=row["camera"],
        station=row["station"],
        class_name=row["class_name"],
        score=row["score"],
        first_seen_utc=row["first_seen_utc"],
        image=image,
        without=without,
        sha256=row["sha256"] or "",
    )


def _image(directory: Path, row: Row) -> tuple[str, str]:
    """Return the image's data URI, and why there is none."""
    if row["deleted_utc"] is not None:
        return "", "image removed to make room"
    if row["crop_path"] is None:
        return "", row["missing"] or "no image was kept"
    try:
        data = read_stored(directory, row["crop_path"], row["crop_sha256"], EVIDENCE.folder)
    except FileNotFoundError:
        return "", "the image file is gone"
    except ForeignFileError:
        return "", "the image is not the one that was recorded"
    except OSError as exc:
        return "", f"the image cannot be read: {exc.strerror}"
    small = small_copy(data)
    return (f"data:image/jpeg;base64,{base64.b64encode(small).decode()}", "") if small else ("", "no JPEG image")


def small_copy(data: bytes) -> bytes:
    """Return a JPEG image of at most `LONGEST_SIDE` pixels a side, b"" where `data` is no image."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        return b""
    scale = min(1.0, LONGEST_SIDE / max(image.shape[:2]))
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
