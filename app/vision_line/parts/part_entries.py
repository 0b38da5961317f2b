# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is entered of parts: a part when it is decided, and what was found of it too late."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from vision_line.parts.part import PartRecord, PartVerdict
from vision_line.parts.parts_removal import removed_parts
from vision_line.records.side_journal import append

PART, CORRECTION = "part", "correction"

#: The columns of `part_row`.
PART_COLUMNS = (
    *("number", "lane", "sequence", "part_id", "lot", "recipe", "triggered_utc", "decided_utc", "verdict", "cause"),
    *("inspections", "run_id", "is_simulated"),
)
_PART = f"INSERT INTO parts ({', '.join(PART_COLUMNS)}) VALUES ({', '.join('?' * len(PART_COLUMNS))})"  # noqa: S608
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


def add_correction(
    connection: sqlite3.Connection, part: PartRecord, number: int, found: PartVerdict, events: Sequence[str]
) -> int:
    """Enter what was found of part entry `number` after its decision had left; return the entry's number.

    The part's verdict stays what was sent: this says that it was wrong.
    """
    body = {"part": number, "decided": part.verdict, "found": found, "events": tuple(events)}
    entry = append(connection, CORRECTION, f"{part.lane}/{part.sequence}", body)
    connection.execute("UPDATE parts SET corrected = ? WHERE number = ?", (entry, number))
    connection.executemany(_EVENT, [(number, part.run_id, event) for event in events])
    return entry


def last_sequence(connection: sqlite3.Connection, lane: str) -> int:
    """Return the number of a lane's newest part, also where it was removed since; 0: there was none."""
    (kept,) = connection.execute("SELECT max(sequence) FROM parts WHERE lane = ?", (lane,)).fetchone()
    removed = removed_parts(connection).lanes.get(lane)
    return max(kept or 0, 0 if removed is None else removed.last)
