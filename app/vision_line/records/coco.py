# SPDX-License-Identifier: AGPL-3.0-or-later
"""Evidence as a COCO data set: the untouched images with every detection in them, to correct and to train on."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from vision_line import __version__
from vision_line.errors import ConfigError, RunError
from vision_line.frames import Outline
from vision_line.output_files import open_output, place_of, said_of
from vision_line.ports import ProgressCallback
from vision_line.records.columns import SqlValue, Table
from vision_line.records.directory import ForeignFileError, read_stored
from vision_line.records.file_tables import EVIDENCE
from vision_line.records.formats import iso_utc
from vision_line.records.outlines import area_of, outline_in
from vision_line.records.query import SOURCES, Query
from vision_line.records.records import Records
from vision_line.records.retention import detections_since
from vision_line.records.row_models import model_of_row

#: Images of one read; each read is a transaction of its own, as in `export`.
CHUNK_IMAGES = 500

_WANTED = """FROM {source} WHERE {where} AND e.path IS NOT NULL AND e.deleted_utc IS NULL AND t.width IS NOT NULL"""

#: When the frame of an event's image arrived. In files of earlier versions a number may stand for two frames, as they
#: began anew when a camera was altered: it is the one in which the event itself was found, or else the nearest in time.
_ARRIVED = """SELECT arrived_utc FROM detections WHERE run = ? AND camera = ? AND sequence = ?
    ORDER BY event_id IS ? DESC, abs(arrived_s - behind_ms / 1000 - ?) LIMIT 1"""

_IMAGES = f"""SELECT t.event, t.run, t.camera, coalesce(t.picture_sequence, t.confirmed_sequence) AS sequence,
    t.width, t.height, t.event_id, t.verdict,
    t.station, t.recipe, t.first_seen_utc, t.first_seen_s, e.path, e.sha256, r.run_id,
    {model_of_row("model_sha256")} AS model_sha256 {{wanted}} AND e.evidence <= ?
    AND (t.first_seen_utc, t.event) > (?, ?) ORDER BY t.first_seen_utc, t.event LIMIT ?"""

_BOXES = """SELECT class, score, x1, y1, x2, y2, event_id, outline, area_px FROM detections
    WHERE run = ? AND camera = ? AND sequence = ? AND arrived_utc = ? ORDER BY detection"""

#: Events whose box has no detection: a score below the threshold keeps an event going, and is no detection.
_FAINT = """SELECT run, camera, sequence, class, score, x1, y1, x2, y2, event_id, outline, area_px
    FROM events AS e WHERE NOT EXISTS (
    SELECT 1 FROM detections AS d WHERE d.run = e.run AND d.camera = e.camera AND d.sequence = e.sequence
    AND d.class = e.class AND max(abs(d.x1 - e.x1), abs(d.y1 - e.y1), abs(d.x2 - e.x2), abs(d.y2 - e.y2)) < 0.1)"""


@dataclass(slots=True)
class CocoSet:
    """A data set as it grows.

    `missing` counts images that were deleted while they were copied, `left_out` those of frames of which detections may
    have been removed, `strange` says which ones are not those that were recorded; none of these are in it.
    """

    categories: dict[str, int]
    images: list[dict[str, object]] = field(default_factory=list)
    annotations: list[dict[str, object]] = field(default_factory=list)
    missing: int = 0
    left_out: int = 0
    strange: list[str] = field(default_factory=list)


def export_coco(
    connection: sqlite3.Connection,
    records: Path,
    query: Query,
    output: Path,
    progress: ProgressCallback,
) -> CocoSet:
    """Write the COCO file `output` and the images of the wanted events into `<output's stem>_images/` beside it.

    Images are named relative to the file that `output` leads to. An image that two events share is in the set once,
    with all detections of its frame whatever the filters, and each event's own box though it was too faint for a
    detection: an image whose other defects were not marked would teach a model to overlook them. So one of which
    detections may have been removed is left out.

    Raises:
        ConfigError: `output` is no file that images could lie beside.
        RunError: it cannot be written.
        sqlite3.Error: as it comes.
    """
    with said_of(output):
        place = place_of(output)
        if not place.replaced:
            raise ConfigError(f"-o {output}: expected a file, since COCO's images are put into a folder beside it")
        folder = images_folder(place.target)
        folder.mkdir(exist_ok=True)
    with open_output(output) as file:
        found = _collect(connection, records, query, folder, progress)
        file.write(json.dumps(_document_of(found), ensure_ascii=False).encode())
    return found


def images_folder(target: Path) -> Path:
    """Return where the images of the COCO file `target` go."""
    return target.with_name(f"{target.stem}_images")


def _collect(
    connection: sqlite3.Connection, records: Path, query: Query, folder: Path, progress: ProgressCallback
) -> CocoSet:
    found = CocoSet(known_classes(connection))
    wanted = _WANTED.format(source=SOURCES[Table.EVENTS].sql, where=query.where)
    counting = f"SELECT count(*), coalesce(max(e.evidence), -1) {wanted}"
    total, highest = connection.execute(counting, query.parameters).fetchone()
    faint: dict[tuple[SqlValue, ...], list[sqlite3.Row]] = {}
    for row in connection.execute(_FAINT):
        faint.setdefault((row["run"], row["camera"], row["sequence"]), []).append(row)
    done = 0
    seen: set[tuple[SqlValue, ...]] = set()
    for done, image in enumerate(_images(connection, wanted, (*query.parameters, highest)), 1):
        frame = _frame_of(connection, image)
        if frame not in seen:
            boxes = connection.execute(_BOXES, frame).fetchall()
            if _first_utc(image, frame) <= detections_since(connection):  # asked behind the boxes: they go meanwhile
                found.left_out += 1
                seen.add(frame)
            elif _add_image(found, image, records, folder):
                seen.add(frame)
                _add_annotations(found, [*boxes, *faint.get(frame[:3], ())])
        progress(done, total)
    found.missing += total - done  # the running line made room before they were read
    return found


def _images(connection: sqlite3.Connection, wanted: str, parameters: tuple[object, ...]) -> Iterator[sqlite3.Row]:
    last: tuple[float, int] = (float("-inf"), -1)
    sql = _IMAGES.format(wanted=wanted)
    while rows := connection.execute(sql, (*parameters, *last, CHUNK_IMAGES)).fetchall():
        yield from rows
        last = (rows[-1]["first_seen_utc"], rows[-1]["event"])


def _frame_of(connection: sqlite3.Connection, image: sqlite3.Row) -> tuple[SqlValue, ...]:
    """Return the frame of an event's image: run, camera, number and arrival."""
    numbered = (image["run"], image["camera"], image["sequence"])
    found = connection.execute(_ARRIVED, (*numbered, image["event_id"], image["first_seen_s"])).fetchone()
    return (*numbered, None if found is None else found["arrived_utc"])


def _first_utc(image: sqlite3.Row, frame: tuple[SqlValue, ...]) -> float:
    """Return the earliest moment from which a detection of an event's image may be: of its frame, or its event's first.

    None of the frame may be left to say when it arrived, and in files of earlier versions it may be another's.
    """
    arrived_utc, first_seen_utc = frame[-1], float(image["first_seen_utc"])
    return min(arrived_utc, first_seen_utc) if isinstance(arrived_utc, float) else first_seen_utc


def known_classes(connection: Records) -> dict[str, int]:
    """Return the classes of all runs, those of the newest model first and in its order, numbered from 1.

    Raises:
        RunError: a run's are no list of names.
    """
    names: dict[str, int] = {}
    for (classes,) in connection.execute("SELECT classes FROM runs ORDER BY run DESC"):
        try:
            found = json.loads(classes)
        except ValueError as exc:
            raise RunError(f"the records are damaged: a run's classes are {classes!r}") from exc
        for name in map(str, found if isinstance(found, list) else ()):
            names.setdefault(name, len(names) + 1)
    return names


def _add_image(found: CocoSet, image: sqlite3.Row, records: Path, folder: Path) -> bool:
    try:
        data = read_stored(records, image["path"], image["sha256"], EVIDENCE.folder)
    except FileNotFoundError:
        found.missing += 1  # the running line made room in the meantime
        return False
    except ForeignFileError as exc:
        found.strange.append(str(exc))
        return False
    target = folder / f"{quote(image['run_id'][:8], safe='')}-{Path(image['path']).name}"
    target.unlink(missing_ok=True)  # an earlier export's image, or a link that somebody put there
    target.write_bytes(data)
    found.images.append(
        {
            "id": len(found.images) + 1,
            "file_name": f"{folder.name}/{target.name}",
            "width": image["width"],
            "height": image["height"],
            "date_captured": iso_utc(image["first_seen_utc"]),
            "camera": image["camera"],
            "station": image["station"],
            "recipe": image["recipe"],
            "sequence": image["sequence"],
            "run_id": image["run_id"],
            "sha256": image["sha256"],
            "event_id": image["event_id"],
            "verdict": image["verdict"],
            "model_sha256": image["model_sha256"],
        }
    )
    return True


def _add_annotations(found: CocoSet, boxes: list[sqlite3.Row]) -> None:
    """Add the detections of the newest image; COCO boxes are x, y, width, height, cut to the image."""
    image = found.images[-1]
    for box in boxes:
        x1, x2 = (min(max(box[name], 0.0), image["width"]) for name in ("x1", "x2"))
        y1, y2 = (min(max(box[name], 0.0), image["height"]) for name in ("y1", "y2"))
        outline = outline_in(box["outline"])
        category = found.categories.setdefault(box["class"], len(found.categories) + 1)
        found.annotations.append(
            {
                "id": len(found.annotations) + 1,
                "image_id": image["id"],
                "category_id": category,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": _area(box, outline, (x2 - x1) * (y2 - y1)),
                "iscrowd": 0,
                "segmentation": [] if outline is None else [outline],
                "score": box["score"],
                "event_id": box["event_id"],
            }
        )


def _area(row: sqlite3.Row, outline: Outline | None, of_box: float) -> float:
    """Return a mask's own area, holes and further parts counted; else that of the rotated or upright box."""
    if row["area_px"] is not None:
        return float(row["area_px"])
    return of_box if outline is None else round(area_of(outline), 2)


def _document_of(found: CocoSet) -> dict[str, object]:
    created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "info": {"description": "vision-line evidence", "version": __version__, "date_created": created},
        "licenses": [],
        "categories": [{"id": number, "name": name} for name, number in found.categories.items()],
        "images": found.images,
        "annotations": found.annotations,
    }
