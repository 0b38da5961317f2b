# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is entered of parts: a part when it is decided, and what was found of it too late."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from vision_line.parts.part import PartCause, PartRecord, PartVerdict
from vision_line.parts.parts_removal import removed_parts
from vision_line.records.side_journal import append

PART, CORRECTION = "part", "correction"

#: The columns of `part_row`.
PART_COLUMNS = (
    *("number", "lane", "sequence", "part_id", "lot", "recipe", "triggered_utc", "decided_utc", "verdict", "cause"),
    *("inspections", "run_id", "is_simulated"),
)
_PART = f"INSERT INTO parts ({', '.join(PART_COLUMNS)}) VALUES ({', '.join('?' * len(PART_COLUMNS))})"  # noqa: S608
_NEWEST = """SELECT sequence, triggered_utc, is_simulated FROM parts WHERE lane = ? AND sequence > ?
    ORDER BY sequence DESC LIMIT ?"""
#: More than are ever on their way at a lane.
_LOOKED_THROUGH = 1024
#: Takes `corrected_row`.
CORRECT_PART = """UPDATE parts SET corrected = ?, verdict = coalesce(?, verdict), cause = coalesce(?, cause)
    WHERE number = ?"""
_EVENT = "INSERT OR IGNORE INTO part_events (number, run_id, event_id) VALUES (?, ?, ?)"


def add_part(connection: sqlite3.Connection, part: PartRecord) -> int:
    """Enter a part within the caller's transaction; return its entry's number."""
    body = asdict(part)
    number = append(connection, PART, f"{part.lane}/{part.sequence}", body)
    connection.execute(_PART, part_row(number, body))
    connection.executemany(_EVENT, [(number, part.run_id, event) for event in part.events])
    return number


def part_row(number: int, body: Mapping[str, Any]) -> tuple[object, ...]:
    """Return the row of the part whose entry has this number and body: of the cameras' inspections the fewest."""
    columns = {
        **body,
        "number": number,
        "inspections": min(body["inspections"].values(), default=0),
        "is_simulated": int(body["is_simulated"]),
    }
    return tuple(columns[name] for name in PART_COLUMNS)


def corrected_row(entry: int, body: Mapping[str, object]) -> tuple[object, ...]:
    """Return what a correction with this body, in entry `entry`, makes of its part's row: it says how the part left."""
    left_as = body.get("left_as")
    verdict, cause = (left_as["verdict"], left_as["cause"]) if isinstance(left_as, dict) else (None, None)
    return entry, verdict, cause, body["part"]


@dataclass(frozen=True, slots=True)
class LeftAs:
    """What left of a part whose acceptance was entered and never did, and why."""

    verdict: PartVerdict
    cause: PartCause = PartCause.NONE


def add_correction(
    connection: sqlite3.Connection,
    part: PartRecord,
    number: int,
    found: PartVerdict,
    events: Sequence[str],
    left_as: LeftAs | None = None,
) -> int:
    """Enter what was found of part entry `number` after it was decided; return the entry's number.

    The part's row says what left of it. Without `left_as` that is what was decided, and this says that it was wrong.
    """
    body: dict[str, object] = {"part": number, "decided": part.verdict, "found": found, "events": tuple(events)}
    if left_as is not None:
        body["left_as"] = asdict(left_as)
    entry = append(connection, CORRECTION, f"{part.lane}/{part.sequence}", body)
    connection.execute(CORRECT_PART, corrected_row(entry, body))
    connection.executemany(_EVENT, [(number, part.run_id, event) for event in events])
    return entry


def last_sequence(connection: sqlite3.Connection, lane: str) -> int:
    """Return the number of a lane's newest part, also where it was removed since; 0: there was none."""
    (kept,) = connection.execute("SELECT max(sequence) FROM parts WHERE lane = ?", (lane,)).fetchone()
    removed = removed_parts(connection).lanes.get(lane)
    return max(kept or 0, 0 if removed is None else removed.last)


def enter_missing(connection: sqlite3.Connection, lane: str, now_utc: float) -> int:
    """Enter the parts of a lane that a kill took, within the caller's transaction; return how many.

    Parts are not decided in their order: one that was on its way has a lower number than some that are entered. It was
    told nothing, and so it was not inspected. When it came nobody knows but by the one behind it.
    """
    removed = removed_parts(connection).lanes.get(lane)
    rows = connection.execute(_NEWEST, (lane, 0 if removed is None else removed.last, _LOOKED_THROUGH)).fetchall()
    entered = 0
    for (later, at_utc, is_simulated), (sooner, _, _) in pairwise(rows):
        for sequence in range(sooner + 1, later):
            add_part(connection, _unknown(lane, sequence, at_utc, now_utc, is_simulated=bool(is_simulated)))
            entered += 1
    return entered


def _unknown(lane: str, sequence: int, at_utc: float, now_utc: float, *, is_simulated: bool) -> PartRecord:
    return PartRecord(
        lane=lane,
        sequence=sequence,
        part_id="",
        lot="",
        recipe="",
        trigger=None,
        triggered_utc=at_utc,
        window_utc=(at_utc, at_utc),
        deadline_utc=at_utc,
        decided_utc=round(now_utc, 3),
        verdict=PartVerdict.NOT_INSPECTED,
        cause=PartCause.RESTART,
        inspections={},
        events=(),
        sent_after_ms=None,
        run_id="",
        is_simulated=is_simulated,
    )
