# SPDX-License-Identifier: AGPL-3.0-or-later
"""Parts as `vision-line lanes` decides and enters them."""

from __future__ import annotations

from pathlib import Path

from vision_line.parts.part import PartCause, PartRecord, PartVerdict
from vision_line.parts.part_entries import add_correction, add_part, last_sequence
from vision_line.parts.parts_file import writing

#: A Saturday, 20:00 in UTC.
BEGAN_UTC = 1_795_896_000.0


def made_part(sequence: int, verdict: PartVerdict = PartVerdict.ACCEPT, lane: str = "lane1") -> PartRecord:
    """Return a part that passed so many seconds after `BEGAN_UTC`; a rejected one has one event."""
    at_utc = BEGAN_UTC + sequence
    return PartRecord(
        lane=lane,
        sequence=sequence,
        part_id=f"P-{sequence}",
        lot="L-1",
        recipe="",
        trigger=sequence,
        triggered_utc=at_utc,
        window_utc=(at_utc + 0.1, at_utc + 0.4),
        deadline_utc=at_utc + 0.8,
        decided_utc=at_utc + 0.5,
        verdict=verdict,
        cause=PartCause.GAP if verdict is PartVerdict.NOT_INSPECTED else PartCause.NONE,
        inspections={"cam1": 4, "cam2": 3},
        events=("event 1",) if verdict is PartVerdict.REJECT else (),
        sent_after_ms=500.0,
        run_id="run at 0",
        is_simulated=True,
    )


def enter_part(directory: Path, verdict: PartVerdict = PartVerdict.ACCEPT, lane: str = "lane1") -> int:
    """Enter a lane's next part; return its entry's number."""
    with writing(directory) as connection:
        return add_part(connection, made_part(last_sequence(connection, lane) + 1, verdict, lane))


def correct_part(directory: Path, number: int, sequence: int, found: PartVerdict) -> int:
    """Enter what was found of part entry `number` too late."""
    with writing(directory) as connection:
        return add_correction(connection, made_part(sequence), number, found, ["event 2"])
