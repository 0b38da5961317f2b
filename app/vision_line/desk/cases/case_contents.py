# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a case holds of the records, read from one moment on: rows, files, settings, and the journal's place."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vision_line.challenges.challenge_windows import challenge_windows
from vision_line.desk.cases.case_files import Fate, WantedFile
from vision_line.desk.cases.event_lookup import numbers_by_key
from vision_line.desk.found.found_events import (
    CameraSettings,
    FoundEvent,
    read_entries,
    read_events,
    read_settings,
)
from vision_line.desk.reviewing.shown_answers import visible_to
from vision_line.errors import mask_credentials
from vision_line.records.columns import COLUMNS, SqlValue, Table
from vision_line.records.file_tables import CLIPS, EVIDENCE
from vision_line.records.formats import iso_utc
from vision_line.records.query import SOURCES
from vision_line.records.records import Records, Row
from vision_line.records.side_journal import head
from vision_line.reviews.answer import GivenAnswer, ItemKey, ItemKind
from vision_line.reviews.answer_journal import answers_of
from vision_line.reviews.cases import Case, CaseEvent
from vision_line.reviews.reviews_file import reading

#: In characters, of a camera's name in a name of a folder: Windows takes no path of more than 260.
_LONGEST_NAME = 24

_IMAGES = (
    ("image", "untouched image", "path", "sha256"),
    ("overlay", "image with boxes", "overlay_path", "overlay_sha256"),
    ("crop", "enlarged defect", "crop_path", "crop_sha256"),
)
_EVIDENCE = f"""SELECT {", ".join(f"{path}, {sha256}" for _, _, path, sha256 in _IMAGES)}, deleted_utc, deleted_why,
    missing FROM evidence WHERE run = ? AND event_id = ?"""  # noqa: S608  names, of this file
_CLIPS = """SELECT clip, camera, path, sha256, begins_utc, created_utc, deleted_utc, deleted_why, missing FROM clips
    WHERE clip IN (SELECT value FROM json_each(?)) ORDER BY coalesce(begins_utc, created_utc), clip"""
#: In one pass over the clips, however many events there are.
_SHOWN = """SELECT t.event, c.clip FROM clips c, json_each(c.events) e
    JOIN events t ON t.run = c.run AND t.event_id = e.value
    WHERE t.event IN (SELECT value FROM json_each(?)) ORDER BY c.clip"""
_HEAD = "SELECT number, lower(hex(digest)) FROM journal ORDER BY number DESC LIMIT 1"

#: Rows of these tables are in the archive: which ones, by a JSON list of numbers (of cameras: run and name).
_CHOSEN: Mapping[Table, str] = {
    Table.EVENTS: "t.event IN (SELECT value FROM json_each(?))",
    Table.CLIPS: "t.clip IN (SELECT value FROM json_each(?))",
    Table.CAMERAS: "EXISTS (SELECT 1 FROM json_each(?) j WHERE j.value ->> 0 = t.run AND j.value ->> 1 = t.name)",
    Table.RUNS: "r.run IN (SELECT value FROM json_each(?))",
}


@dataclass(frozen=True, slots=True)
class CaseMember:
    """An event of a case; `name` is its folder. `found` is None where its row was removed from the records.

    `is_challenge`: it is of a challenge part, and no product.
    """

    name: str
    event: CaseEvent
    found: FoundEvent | None = None
    settings: CameraSettings = CameraSettings(None, {})  # noqa: RUF009  nobody changes it
    first_entry: int | None = None
    last_entry: int | None = None
    images: tuple[WantedFile, ...] = ()
    clips: tuple[WantedFile, ...] = ()
    is_challenge: bool = False


@dataclass(frozen=True, slots=True)
class CaseContents:
    """All that an archive is made of but the contents of the files; `head` and `reviews_head` are digests in hex."""

    case: Case
    directory: Path
    made_utc: float
    members: Sequence[CaseMember]
    clips: Sequence[WantedFile]
    tables: Mapping[Table, Sequence[Sequence[SqlValue]]]
    head_number: int
    head: str
    reviews_head: str
    answers: Mapping[str, Sequence[GivenAnswer]]

    def answers_for(self, event: CaseEvent) -> Sequence[GivenAnswer]:
        """Return what people said of an event, each person's latest."""
        return self.answers.get(_item(event), ())

    @property
    def files(self) -> list[WantedFile]:
        """All files in the order of the archive, each once."""
        return [*(image for member in self.members for image in member.images), *self.clips]


def read_contents(
    connection: Records, directory: Path, case: Case, made_utc: float, person: str | None = None
) -> CaseContents:
    """Return what a case holds of the records of `directory`; of answers those that `person` may see, None: all.

    Raises:
        RunError: `reviews.sqlite` cannot be read.
        Error: the database's, as it comes.
    """
    connection.execute("BEGIN")  # what a run writes or removes meanwhile is not in it
    numbers = numbers_by_key(connection, [event.key for event in case.events])
    found = {one.event: one for one in read_events(connection, list(numbers.values()))}
    clips_of = _clips_of(connection, list(found))
    clips = _clips(connection, sorted({clip for own in clips_of.values() for clip in own}))
    members = [
        _member(connection, position, event, found.get(numbers.get(event.key, -1)), clips, clips_of)
        for position, event in enumerate(case.events, 1)
    ]
    chosen: dict[Table, Sequence[object]] = {
        Table.EVENTS: list(found),
        Table.CLIPS: list(clips),
        Table.CAMERAS: sorted({(one.run, one.camera) for one in found.values()}),
        Table.RUNS: sorted({one.run for one in found.values()}),
    }
    tables = {table: _rows(connection, table, keys) for table, keys in chosen.items()}
    number, digest = connection.execute(_HEAD).fetchone() or (0, "")
    connection.execute("COMMIT")
    windows = challenge_windows(directory, 0.0, float("inf"))
    members = [replace(one, is_challenge=windows.holds(one.event.camera, one.event.first_seen_utc)) for one in members]
    with reading(directory) as reviews:
        reviews_head = "" if reviews is None else head(reviews)
        answers = {} if reviews is None else answers_of(reviews, [_item(event) for event in case.events])
    return CaseContents(
        case=case,
        directory=directory,
        made_utc=made_utc,
        members=members,
        clips=list(clips.values()),
        tables=tables,
        head_number=number,
        head=digest,
        reviews_head=reviews_head,
        answers=answers if person is None else {key: visible_to(person, own) for key, own in answers.items()},
    )


def _member(
    connection: Records,
    position: int,
    event: CaseEvent,
    found: FoundEvent | None,
    clips: Mapping[int, WantedFile],
    clips_of: Mapping[int, Sequence[int]],
) -> CaseMember:
    name = f"{position:04d}-{_plain(event.camera)}-{_compact(event.first_seen_utc)}"
    if found is None:
        return CaseMember(name, event)
    row = connection.execute(_EVIDENCE, (found.run, found.event_id)).fetchone()
    images = tuple(_image(name, event, row, *columns) for columns in _IMAGES)
    first, last, _ = read_entries(connection, found)
    own = tuple(clips[clip] for clip in clips_of[found.event])
    return CaseMember(
        name=name,
        event=event,
        found=found,
        settings=read_settings(connection, found),
        first_entry=first,
        last_entry=last,
        images=images,
        clips=own,
    )


def _image(name: str, event: CaseEvent, row: Row | None, kind: str, what: str, path: str, sha256: str) -> WantedFile:
    fate, why = (Fate.NEVER, "none was kept") if row is None else _recorded_fate(row, path)
    return WantedFile(
        place=f"events/{name}/{kind}.jpg",
        what=what,
        folder=EVIDENCE.folder,
        path=(row[path] if row is not None else None) or "",
        sha256=None if row is None else row[sha256],
        at_utc=event.first_seen_utc,
        fate=fate,
        why=why,
    )


def _clips_of(connection: Records, numbers: Sequence[int]) -> Mapping[int, list[int]]:
    """Return the numbers of the clips that show each event."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    for event, clip in connection.execute(_SHOWN, (json.dumps(numbers),)).fetchall():
        found[event].append(clip)
    return found


def _clips(connection: Records, numbers: Sequence[int]) -> dict[int, WantedFile]:
    """Return clips by their number, the oldest first; one that shows several events is there once."""
    found = {}
    for position, row in enumerate(connection.execute(_CLIPS, (json.dumps(numbers),)).fetchall(), 1):
        at_utc = row["created_utc"] if row["begins_utc"] is None else row["begins_utc"]
        fate, why = _recorded_fate(row, "path")
        found[row["clip"]] = WantedFile(
            place=f"clips/{position:04d}-{_plain(row['camera'])}-{_compact(at_utc)}.mp4",
            what="clip",
            folder=CLIPS.folder,
            path=row["path"] or "",
            sha256=row["sha256"],
            at_utc=at_utc,
            fate=fate,
            why=why,
        )
    return found


def _recorded_fate(row: Row, path: str) -> tuple[Fate | None, str]:
    """Return what the records say of a file that is not kept; None: it is."""
    if row["deleted_utc"] is not None:
        return Fate.REMOVED, f"it was removed at {iso_utc(row['deleted_utc'])} ({row['deleted_why'] or 'to make room'})"
    if row[path] is None:
        return Fate.NEVER, row["missing"] or "none was kept"
    return None, ""


def _rows(connection: Records, table: Table, keys: Sequence[object]) -> list[tuple[SqlValue, ...]]:
    source = SOURCES[table]
    columns = ", ".join(column.sql for column in COLUMNS[table])
    sql = f"SELECT {columns} FROM {source.sql} WHERE {_CHOSEN[table]} ORDER BY {source.time}, {source.number}"  # noqa: S608  names, of this package
    rows = connection.execute(sql, (json.dumps(keys),)).fetchall()
    return [tuple(mask_credentials(cell) if isinstance(cell, str) else cell for cell in row) for row in rows]


def _item(event: CaseEvent) -> str:
    return str(ItemKey(ItemKind.EVENT, event.run_id, event.event_id))


def _plain(name: str) -> str:
    """Return a name of which any system makes a file's: letters, digits, `-` and `_`; a number stands before it."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", name)[:_LONGEST_NAME].strip("-") or "camera"


def _compact(utc: float) -> str:
    """Return a moment as names have it: `20261128T200030Z`."""
    return re.sub(r"[-:]|\.\d+", "", iso_utc(utc))
