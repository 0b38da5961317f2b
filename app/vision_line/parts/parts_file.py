# SPDX-License-Identifier: AGPL-3.0-or-later
"""`parts.sqlite`, beside the record file: each part with its verdict, the lots, the recipes that were asked for.

It is a file of its own because parts pass also while no run is there, and then must be recorded as not inspected. Its
writers are `vision-line lanes` and whoever begins a lot or asks for a recipe: commands, the desk, the outputs.
"""

from __future__ import annotations

from vision_line.records import side_journal, side_removal
from vision_line.records.file_identity import FileIdentity
from vision_line.records.side_file import SideFile

FILE_NAME = "parts.sqlite"
#: Locked by who decides parts for a record directory.
LANES_LOCK = "lanes.lock"

#: Raise it with every change of the tables, and give `_ADDED` what the new version has.
SCHEMA_VERSION = 2

#: "vlpt".
APPLICATION_ID = 0x766C7074

#: What joins and searches need of a part; the whole of it is its entry, of the same `number`. `sequence` counts the
#: parts of its lane and never goes back. `corrected` is the number of the entry that says what was found too late.
_PARTS = """CREATE TABLE parts (
        number INTEGER PRIMARY KEY, lane TEXT NOT NULL, sequence INTEGER NOT NULL, part_id TEXT NOT NULL,
        lot TEXT NOT NULL, recipe TEXT NOT NULL, triggered_utc REAL NOT NULL, decided_utc REAL NOT NULL,
        verdict TEXT NOT NULL, cause TEXT NOT NULL, inspections INTEGER NOT NULL, run_id TEXT NOT NULL,
        is_simulated INTEGER NOT NULL, corrected INTEGER, UNIQUE (lane, sequence)) STRICT"""
#: A lot or recipe is asked for seldom, and the newest one for each part.
_ORDERS = "CREATE INDEX orders ON journal (kind, key, number) WHERE kind IN ('lot', 'recipe')"
#: Which events a part has.
_PART_EVENTS = """CREATE TABLE part_events (
        number INTEGER NOT NULL, run_id TEXT NOT NULL, event_id TEXT NOT NULL,
        PRIMARY KEY (number, run_id, event_id)) STRICT, WITHOUT ROWID"""
#: Which lot a lane is at from a moment on; `*` is every lane and camera, an empty lot is none.
_LOTS = """CREATE TABLE lots (
        number INTEGER PRIMARY KEY, lane TEXT NOT NULL, lot TEXT NOT NULL, begun_utc REAL NOT NULL) STRICT"""

_ADDED: dict[int, tuple[str, ...]] = {
    1: (
        *side_journal.TABLES,
        _ORDERS,
        _PARTS,
        "CREATE INDEX parts_by_time ON parts (triggered_utc)",
        "CREATE INDEX parts_by_lot ON parts (lot) WHERE lot <> ''",
        "CREATE INDEX parts_by_id ON parts (part_id) WHERE part_id <> ''",
        _PART_EVENTS,
        "CREATE INDEX part_events_by_event ON part_events (event_id)",
        _LOTS,
    ),
    2: (side_removal.TABLE,),
}

#: Readers are many and must not hold up a lane.
PARTS_FILE = SideFile(
    FILE_NAME,
    FileIdentity("a file of vision-line lanes", APPLICATION_ID, SCHEMA_VERSION),
    _ADDED,
    tables={2: (side_removal.TABLE,)},
    keeps_log=True,
    mode=0o666,
)

writing = PARTS_FILE.writing
reading = PARTS_FILE.reading
