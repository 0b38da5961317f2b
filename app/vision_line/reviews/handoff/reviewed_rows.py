# SPDX-License-Identifier: AGPL-3.0-or-later
"""The rows of reviewed items: which frame shows each, where in it, and what else was found there."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import NotRequired, TypedDict

from vision_line.records.file_tables import AUDITS, EVIDENCE, NEAR_MISSES
from vision_line.records.outlines import outline_in
from vision_line.records.row_models import model_of_row
from vision_line.reviews.answer import ItemKey, ItemKind
from vision_line.reviews.handoff.reviewed_image import LineDetection, PixelBox, StoredFrame

_FRAME = f"r.run, r.run_id, t.camera, t.station, t.width, t.height, {model_of_row('model_sha256')} AS model_sha256"
_BOX = "t.x1, t.y1, t.x2, t.y2, t.outline, t.class, t.score"
_IMAGE = "e.path, e.sha256, e.deleted_utc"
#: `shown`: the sequence of the frame that the image shows; `boxed`: that of the row's own box.
_SQL = {
    ItemKind.EVENT: f"""SELECT {_FRAME}, {_BOX}, {_IMAGE}, t.first_seen_utc AS at_utc, t.event_id AS track,
        coalesce(t.picture_sequence, t.confirmed_sequence) AS shown, t.sequence AS boxed
        FROM events t JOIN runs r ON r.run = t.run
        LEFT JOIN evidence e ON e.run = t.run AND e.event_id = t.event_id WHERE r.run_id = ? AND t.event_id = ?""",  # noqa: S608  names, of this file
    ItemKind.NEAR_MISS: f"""SELECT {_FRAME}, {_BOX}, {_IMAGE.replace("e.", "t.")}, t.first_seen_utc AS at_utc,
        NULL AS track, t.sequence AS shown, t.sequence AS boxed
        FROM near_misses t JOIN runs r ON r.run = t.run WHERE r.run_id = ? AND t.near_miss_id = ?""",  # noqa: S608  the same
    ItemKind.AUDIT: f"""SELECT {_FRAME}, {_IMAGE.replace("e.", "t.")}, t.arrived_utc AS at_utc, t.detections,
        t.sequence AS shown FROM audits t JOIN runs r ON r.run = t.run
        WHERE r.run_id = ? AND t.camera = ? AND t.sequence = ?""",  # noqa: S608  the same
}
_DETECTIONS = """SELECT class, score, x1, y1, x2, y2, outline, event_id FROM detections
    WHERE run = ? AND camera = ? AND sequence = ? ORDER BY detection"""
#: Events that go on through a frame and have no detection in it: one below the threshold keeps an event going.
_FAINT = """SELECT event_id FROM events e WHERE run = ? AND camera = ? AND ? BETWEEN first_sequence AND last_sequence
    AND first_seen_utc BETWEEN ? AND ? AND NOT EXISTS (SELECT 1 FROM detections d
    WHERE d.run = e.run AND d.camera = e.camera AND d.sequence = ? AND d.event_id = e.event_id)"""
#: How far from a frame's time such events begin, in seconds.
_AROUND_S = 3600.0
_FOLDERS = {
    ItemKind.EVENT: EVIDENCE.folder,
    ItemKind.NEAR_MISS: NEAR_MISSES.folder,
    ItemKind.AUDIT: AUDITS.folder,
}


class AuditedDetection(TypedDict):
    """One of what was found in an audited frame, as far as it is read here."""

    box: list[float]
    outline: NotRequired[list[float]]


@dataclass(frozen=True, slots=True)
class ReviewedRow:
    """A reviewed item in the records. `frame` is None where there is no image of it (any more).

    `own` is what the line found, None where the image does not show it or the item is an audit; `audited` are the
    detections of an audited frame.
    """

    item: ItemKey
    camera: str
    at_utc: float
    frame: StoredFrame | None
    own: LineDetection | None = None
    audited: tuple[LineDetection, ...] = ()


def read_row(connection: sqlite3.Connection, item: ItemKey) -> ReviewedRow | None:
    """Return the row of an item; None: the records have none (any more).

    Raises:
        sqlite3.Error: as it comes.
    """
    row = connection.execute(_SQL[item.kind], (item.run_id, *_key(item))).fetchone()
    if row is None:
        return None
    frame = _frame(row, item.kind)
    if item.kind is ItemKind.AUDIT:
        return ReviewedRow(item, row["camera"], row["at_utc"], frame, audited=_audited(row["detections"]))
    own = None
    if frame is not None:
        shown = [one for one in read_found(connection, frame) if one.event_id and one.event_id == row["track"]]
        own = shown[0] if shown else _own(row)
    return ReviewedRow(item, row["camera"], row["at_utc"], frame, own)


def read_found(connection: sqlite3.Connection, frame: StoredFrame) -> list[LineDetection]:
    """Return what the line found in a frame.

    Raises:
        sqlite3.Error: as it comes.
    """
    rows = connection.execute(_DETECTIONS, (frame.run, frame.camera, frame.sequence))
    return [LineDetection(row["class"], row["score"], _box(row), row["event_id"]) for row in rows]


def read_faint(connection: sqlite3.Connection, frame: StoredFrame) -> list[str]:
    """Return the ids of events that go on in a frame where nothing was found of them: where they are is not known.

    Raises:
        sqlite3.Error: as it comes.
    """
    around = (frame.at_utc - _AROUND_S, frame.at_utc + _AROUND_S)
    rows = connection.execute(_FAINT, (frame.run, frame.camera, frame.sequence, *around, frame.sequence))
    return [row["event_id"] for row in rows]


def _key(item: ItemKey) -> tuple[str | int, ...]:
    if item.kind is not ItemKind.AUDIT:
        return (item.id,)
    camera, _, sequence = item.id.rpartition("/")
    return camera, int(sequence) if sequence.isdigit() else -1


def _frame(row: sqlite3.Row, kind: ItemKind) -> StoredFrame | None:
    if not row["path"] or row["deleted_utc"] is not None or row["width"] is None:
        return None
    return StoredFrame(
        run=row["run"],
        run_id=row["run_id"],
        camera=row["camera"],
        station=row["station"],
        sequence=row["shown"],
        at_utc=row["at_utc"],
        width=row["width"],
        height=row["height"],
        path=row["path"],
        sha256=row["sha256"] or "",
        folder=_FOLDERS[kind],
        model_sha256=row["model_sha256"],
    )


def _own(row: sqlite3.Row) -> LineDetection | None:
    """Return the row's own box, where the image shows that very frame."""
    if row["shown"] != row["boxed"]:
        return None
    return LineDetection(row["class"], row["score"], _box(row), row["track"])


def _box(row: sqlite3.Row) -> PixelBox:
    return PixelBox(row["x1"], row["y1"], row["x2"], row["y2"], outline_in(row["outline"]))


def _audited(text: str) -> tuple[LineDetection, ...]:
    return tuple(LineDetection(one["class"], one["score"], _audited_box(one)) for one in json.loads(text))


def _audited_box(found: AuditedDetection) -> PixelBox:
    x1, y1, x2, y2 = found["box"]
    return PixelBox(x1, y1, x2, y2, tuple(found["outline"]) if "outline" in found else None)
