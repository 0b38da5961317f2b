# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether `parts.sqlite` is what was written (`vision-line verify`): chain, and each table against the entries."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vision_line.errors import BrokenRecordError
from vision_line.parts.orders import LOT
from vision_line.parts.part_entries import CORRECTION, PART, PART_COLUMNS, part_row
from vision_line.parts.parts_file import PARTS_FILE
from vision_line.parts.parts_removal import RemovedLane, removed_parts
from vision_line.records.side_check import check_side_file
from vision_line.records.side_journal import head

_PARTS = (
    f"SELECT j.number, j.body, {', '.join(f't.{name}' for name in PART_COLUMNS)} FROM journal j"  # noqa: S608  names
    f" LEFT JOIN parts t ON t.number = j.number WHERE j.kind = '{PART}' ORDER BY j.number"
)
_LOTS = (
    "SELECT j.number, j.key, j.body, t.lane, t.lot, t.begun_utc FROM journal j"  # noqa: S608  a kind
    f" LEFT JOIN lots t ON t.number = j.number WHERE j.kind = '{LOT}' ORDER BY j.number"
)
_CORRECTIONS = f"SELECT number, body FROM journal WHERE kind = '{CORRECTION}' ORDER BY number"  # noqa: S608  a kind
_LANES = "SELECT lane, count(*), max(sequence) FROM parts GROUP BY lane"


@dataclass(frozen=True, slots=True)
class CheckedParts:
    """Everything holds: how many entries, parts and corrections there are, the digest of the newest entry in hex.

    `removed` parts were removed for their age, as the entries say.
    """

    entries: int
    head: str
    parts: int
    corrections: int
    removed: int


def check_parts(directory: Path) -> CheckedParts | None:
    """Check what passed the lanes; None: there is nothing yet.

    Raises:
        BrokenRecordError: something does not fit, or the file is damaged; it names the first.
        RunError: it is none of ours, of a newer version, or cannot be read.
    """
    return check_side_file(PARTS_FILE, directory, _checked)


def _checked(connection: sqlite3.Connection, path: Path) -> CheckedParts:
    connection.row_factory = None
    for problems in (_of_parts, _of_corrections, _of_lots, _of_counts, _of_holes):
        if problem := next(problems(connection), ""):
            raise BrokenRecordError(f"{path}: {problem}")
    entries, parts, corrections = connection.execute(
        "SELECT count(*), count(*) FILTER (WHERE kind = ?), count(*) FILTER (WHERE kind = ?) FROM journal",
        (PART, CORRECTION),
    ).fetchone()
    connection.row_factory = sqlite3.Row
    removed = sum(lane.parts for lane in removed_parts(connection).lanes.values())
    return CheckedParts(entries, head(connection), parts, corrections, removed)


def _of_parts(connection: sqlite3.Connection) -> Iterator[str]:
    left_as = _left_as(connection)
    for number, body, *row in connection.execute(_PARTS):
        said = json.loads(body)
        if tuple(row) != part_row(number, {**said, **left_as.get(number, {})}):
            yield f"part {said['lane']}/{said['sequence']} is not as entry {number} says"
        if not {*said["events"]} <= _events(connection, number):
            yield f"the events of part {said['lane']}/{said['sequence']} are not as entry {number} says"


def _left_as(connection: sqlite3.Connection) -> dict[int, dict[str, str]]:
    """Return what left instead of what was decided, by the part's number."""
    bodies = (json.loads(body) for _, body in connection.execute(_CORRECTIONS))
    return {said["part"]: said["left_as"] for said in bodies if "left_as" in said}


def _of_corrections(connection: sqlite3.Connection) -> Iterator[str]:
    """Each part's newest correction stands with it, and no other part has one."""
    newest: dict[int, int] = {}
    through = removed_parts(connection).through
    for number, body in connection.execute(_CORRECTIONS):
        said = json.loads(body)
        if said["part"] <= through:
            continue  # the part itself was removed
        newest[said["part"]] = number
        if not {*said["events"]} <= _events(connection, said["part"]):
            yield f"the events of part entry {said['part']} are not as entry {number} says"
    found = dict(connection.execute("SELECT number, corrected FROM parts WHERE corrected IS NOT NULL"))
    for part in sorted(newest.keys() | found.keys()):
        if newest.get(part) != found.get(part):
            yield f"the correction of part entry {part} is not as the entries say"


def _events(connection: sqlite3.Connection, number: int) -> set[str]:
    return {event for (event,) in connection.execute("SELECT event_id FROM part_events WHERE number = ?", (number,))}


def _of_lots(connection: sqlite3.Connection) -> Iterator[str]:
    for number, key, body, *row in connection.execute(_LOTS):
        said = json.loads(body)
        if row != [key, said[LOT], said["at_utc"]]:
            yield f"lot {said[LOT]!r} is not as entry {number} says"


def _of_counts(connection: sqlite3.Connection) -> Iterator[str]:
    """No row is without its entry."""
    for table, kind in (("parts", PART), ("lots", LOT)):
        rows, entries = connection.execute(
            f"SELECT (SELECT count(*) FROM {table}), (SELECT count(*) FROM journal WHERE kind = ?)",  # noqa: S608
            (kind,),
        ).fetchone()
        if rows != entries:
            yield f"{table}: {rows} rows, and {entries} entries of them"
    (events,) = connection.execute("SELECT count(*) FROM part_events").fetchone()
    kinds = (PART, CORRECTION)
    bodies = connection.execute("SELECT kind, number, body FROM journal WHERE kind IN (?, ?)", kinds)
    through = removed_parts(connection).through
    said = {
        (part, event)
        for kind, number, body in ((kind, number, json.loads(text)) for kind, number, text in bodies)
        if (part := number if kind == PART else body["part"]) > through
        for event in body["events"]
    }
    if events != len(said):
        yield f"part_events: {events} rows, and {len(said)} in the entries"


def _of_holes(connection: sqlite3.Connection) -> Iterator[str]:
    """The parts of a lane are numbered from 1 one by one, so that one that was left out, or is gone, is seen."""
    kept = {lane: (parts, last) for lane, parts, last in connection.execute(_LANES)}
    removed = removed_parts(connection).lanes
    for lane in sorted(kept.keys() | removed.keys()):
        gone = removed.get(lane, RemovedLane())
        parts, last = kept.get(lane, (0, 0))
        missing = max(last, gone.last) - parts - gone.parts
        if missing > 0:
            yield f"lane {lane}: of its numbers {missing} are missing"
        if missing < 0:
            yield f"lane {lane}: {-missing} of the parts that were removed, as is said, are there, or never were"
