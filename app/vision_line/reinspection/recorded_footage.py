# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which clips and images a record directory holds, with what the line found in each."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from vision_line.config.models import StreamSettings
from vision_line.errors import RunError
from vision_line.records.query import Selection
from vision_line.records.schema import FILE_NAME, open_reader, translated
from vision_line.reinspection.file_line import OF_CAMERAS
from vision_line.reinspection.footage import FootageKind, FoundDefect, Recording, TimedBox
from vision_line.reviews.answer import ItemKey, ItemKind

_KEPT = "t.path IS NOT NULL AND t.deleted_utc IS NULL"
_CLIPS = f"""SELECT t.run, r.run_id, t.clip_id, t.camera, t.begins_utc, t.ends_utc, t.frames, t.path, t.sha256
    FROM clips t JOIN runs r USING (run) WHERE {_KEPT} AND {{where}} ORDER BY t.clip"""  # noqa: S608  names, of this file
_OF_CLIP = {"run": "run", "camera": "camera", "begins": "begins_utc", "ends": "ends_utc"}
_LISTED = "SELECT c.run, e.value AS event_id, c.clip_id FROM clips c, json_each(c.events) e"
#: The best observation's own moment is not kept; of an event that has none first and last, it stands for both.
_EVENTS = """SELECT event_id, class, verdict, top_score, first_seen_utc - :begins AS first_s,
    last_seen_utc - :begins AS last_s, coalesce(first_x1, x1) AS a1, coalesce(first_y1, y1) AS b1,
    coalesce(first_x2, x2) AS a2, coalesce(first_y2, y2) AS b2, coalesce(last_x1, x1) AS c1,
    coalesce(last_y1, y1) AS d1, coalesce(last_x2, x2) AS c2, coalesce(last_y2, y2) AS d2 FROM events
    WHERE run = :run AND camera = :camera AND first_seen_utc <= :ends AND last_seen_utc >= :begins ORDER BY event"""
_EVENT_IMAGES = f"""SELECT t.run, r.run_id, v.event_id AS id, v.camera, v.first_seen_utc AS seen_utc, t.path, t.sha256,
    json_array(json_object('class', coalesce(d.class, v.class), 'score', coalesce(d.score, v.score),
    'box', json_array(coalesce(d.x1, v.x1), coalesce(d.y1, v.y1), coalesce(d.x2, v.x2), coalesce(d.y2, v.y2)))) AS found
    FROM evidence t JOIN runs r USING (run) JOIN events v ON v.run = t.run AND v.event_id = t.event_id
    LEFT JOIN detections d ON d.run = t.run AND d.camera = v.camera AND d.sequence = v.picture_sequence
    AND d.event_id = v.event_id WHERE {_KEPT} AND {{where}} ORDER BY v.event"""  # noqa: S608  the same
_NEAR_MISSES = f"""SELECT t.run, r.run_id, t.near_miss_id AS id, t.camera, t.first_seen_utc AS seen_utc, t.path,
    t.sha256, json_array(json_object('class', t.class, 'score', t.score, 'box', json_array(t.x1, t.y1, t.x2, t.y2)))
    AS found FROM near_misses t JOIN runs r USING (run) WHERE {_KEPT} AND {{where}} ORDER BY t.near_miss"""  # noqa: S608  the same
_AUDITS = f"""SELECT t.run, r.run_id, t.camera || '/' || t.sequence AS id, t.camera, t.arrived_utc AS seen_utc, t.path,
    t.sha256, t.detections AS found FROM audits t JOIN runs r USING (run) WHERE {_KEPT} AND {{where}}
    ORDER BY t.audit"""  # noqa: S608  the same
_SETTINGS = """SELECT settings FROM cameras WHERE run = ? AND name = ? ORDER BY since_utc <= ? DESC,
    abs(since_utc - ?) LIMIT 1"""


@dataclass(frozen=True, slots=True)
class FootageSource:
    """Where images of a kind come from, whose items they are, and by which time they are chosen."""

    kind: FootageKind
    sql: str
    of: ItemKind
    time: str
    camera: str


_IMAGES = (
    FootageSource(FootageKind.EVENT, _EVENT_IMAGES, ItemKind.EVENT, "v.first_seen_utc", "v.camera"),
    FootageSource(FootageKind.NEAR_MISS, _NEAR_MISSES, ItemKind.NEAR_MISS, "t.first_seen_utc", "t.camera"),
    FootageSource(FootageKind.AUDIT, _AUDITS, ItemKind.AUDIT, "t.arrived_utc", "t.camera"),
)


def recorded_footage(directory: Path, wanted: Selection) -> list[Recording]:
    """Return the clips and images of the time and cameras that are wanted: clips first, each event once.

    Raises:
        RunError: there are no records, or they cannot be read.
    """
    with closing(open_reader(directory)) as connection, translated(directory / FILE_NAME, "reading"):
        try:
            clips = list(_clips(connection, wanted))
            shown = {finding.key for clip in clips for finding in clip.recorded}
            images = [image for source in _IMAGES for image in _images(connection, source, wanted)]
        except (ValueError, TypeError, LookupError) as exc:
            raise RunError(f"{directory / FILE_NAME}: a row is not what vision-line writes: {exc}") from exc
    return clips + [one for one in images if not any(finding.key in shown for finding in one.recorded)]


def _clips(connection: sqlite3.Connection, wanted: Selection) -> Iterator[Recording]:
    listed = {(run, event_id): clip_id for run, event_id, clip_id in connection.execute(_LISTED).fetchall()}
    where, parameters = _where(wanted, "t.begins_utc", "t.camera")
    for row in connection.execute(_CLIPS.format(where=where), parameters).fetchall():
        settings = _settings(connection, row["run"], row["camera"], row["begins_utc"])
        recorded, beside = list[FoundDefect](), list[FoundDefect]()
        for event_id, finding in _findings(connection, row):
            is_its_own = listed.get((row["run"], event_id)) == row["clip_id"]
            (recorded if is_its_own else beside).append(finding)
        yield Recording(
            kind=FootageKind.CLIP,
            id=f"{row['run_id']}/{row['clip_id']}",
            camera=row["camera"],
            at_utc=row["begins_utc"],
            path=row["path"],
            sha256=row["sha256"],
            frames=row["frames"],
            settings=settings,
            recorded=tuple(recorded),
            beside=tuple(beside),
        )


def _findings(connection: sqlite3.Connection, clip: sqlite3.Row) -> Iterator[tuple[str, FoundDefect]]:
    """Yield the events of a clip's camera that were seen while it lasts."""
    asked = {name: clip[column] for name, column in _OF_CLIP.items()}
    for row in connection.execute(_EVENTS, asked).fetchall():
        first = TimedBox(row["first_s"], row["a1"], row["b1"], row["a2"], row["b2"])
        last = TimedBox(row["last_s"], row["c1"], row["d1"], row["c2"], row["d2"])
        yield (
            row["event_id"],
            FoundDefect(
                key=str(ItemKey(ItemKind.EVENT, clip["run_id"], row["event_id"])),
                class_name=row["class"],
                verdict=row["verdict"],
                score=row["top_score"],
                boxes=(first, last) if first.at_s < last.at_s else (last,),
            ),
        )


def _images(connection: sqlite3.Connection, source: FootageSource, wanted: Selection) -> Iterator[Recording]:
    where, parameters = _where(wanted, source.time, source.camera)
    for row in connection.execute(source.sql.format(where=where), parameters).fetchall():
        key = str(ItemKey(source.of, row["run_id"], row["id"]))
        yield Recording(
            kind=source.kind,
            id=key,
            camera=row["camera"],
            at_utc=row["seen_utc"],
            path=row["path"],
            sha256=row["sha256"],
            settings=_settings(connection, row["run"], row["camera"], row["seen_utc"]),
            recorded=tuple(_detection(key, found) for found in json.loads(row["found"])),
        )


def _detection(key: str, found: Mapping[str, object]) -> FoundDefect:
    box = TimedBox(0.0, *map(float, found["box"]))  # type: ignore[call-overload]
    return FoundDefect(key=key, class_name=str(found["class"]), score=float(str(found["score"])), boxes=(box,))


def _settings(connection: sqlite3.Connection, run: int, camera: str, at_utc: float) -> dict[str, JsonValue]:
    """Return a camera's settings at a moment, those that this version knows and a file has a use for."""
    row = connection.execute(_SETTINGS, (run, camera, at_utc, at_utc)).fetchone()
    known = StreamSettings.model_fields.keys() - OF_CAMERAS
    found: dict[str, JsonValue] = json.loads(row[0] or "{}") if row is not None else {}
    return {name: value for name, value in found.items() if name in known and value is not None}


def _where(wanted: Selection, time: str, camera: str) -> tuple[str, tuple[object, ...]]:
    conditions: list[tuple[str, tuple[object, ...]]] = [("1", ())]
    if wanted.since_utc is not None:
        conditions.append((f"{time} >= ?", (wanted.since_utc,)))
    if wanted.until_utc is not None:
        conditions.append((f"{time} < ?", (wanted.until_utc,)))
    if wanted.cameras:
        conditions.append((f"{camera} IN ({', '.join('?' * len(wanted.cameras))})", wanted.cameras))
    return " AND ".join(sql for sql, _ in conditions), tuple(value for _, own in conditions for value in own)
