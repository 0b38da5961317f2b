# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whatever is changed in `parts.sqlite` is found."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.fakes.passed_parts import make_part

from vision_line.errors import BrokenRecordError
from vision_line.parts.orders import Asked, ask_lot
from vision_line.parts.part import PartVerdict
from vision_line.parts.part_entries import add_correction, add_part
from vision_line.parts.parts_check import check_parts
from vision_line.parts.parts_file import FILE_NAME, writing


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Return a folder in which four parts passed two lanes, one of them corrected, and a lot was begun."""
    ask_lot(tmp_path, "L-1", Asked("the shift", "command"))
    with writing(tmp_path) as connection:
        add_part(connection, make_part(1))
        bad = make_part(2, verdict=PartVerdict.REJECT, events=("e1", "e2"))
        add_part(connection, bad)
        good = make_part(3)
        add_correction(connection, good, add_part(connection, good), PartVerdict.REJECT, ["e3"])
        add_part(connection, make_part(1, lane="b"))
    return tmp_path


def test_what_was_written_holds(records: Path) -> None:
    checked = check_parts(records)
    assert checked is not None
    assert (checked.entries, checked.parts, checked.corrections) == (6, 4, 1)
    assert len(checked.head) == 64


def test_without_a_file_there_is_nothing_to_check(tmp_path: Path) -> None:
    assert check_parts(tmp_path) is None


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("UPDATE parts SET verdict = 'accept' WHERE number = 3", "part a/2 is not as entry 3 says"),
        ("UPDATE parts SET inspections = 9 WHERE lane = 'b'", "part b/1 is not as entry 6 says"),
        ("UPDATE parts SET corrected = NULL", "the correction of part entry 4 is not as the entries say"),
        ("UPDATE parts SET corrected = 5 WHERE number = 2", "the correction of part entry 2"),
        ("DELETE FROM parts WHERE number = 3", "part a/2 is not as entry 3 says"),
        ("DELETE FROM part_events WHERE event_id = 'e2'", "the events of part a/2"),
        ("DELETE FROM part_events WHERE event_id = 'e3'", "the events of part entry 4"),
        ("INSERT INTO part_events VALUES (2, 'run', 'e9')", "part_events: 4 rows, and 3 in the entries"),
        ("UPDATE lots SET lot = 'L-2'", "lot 'L-1' is not as entry 1 says"),
        ("INSERT INTO lots VALUES (9, '*', 'L-2', 1.0)", "lots: 2 rows, and 1 entries"),
        (
            "INSERT INTO parts SELECT 9, lane, 9, '', '', '', 1.0, 1.0, 'accept', '', 1, '', 0, NULL"
            " FROM parts LIMIT 1",
            "parts: 5 rows, and 4 entries",
        ),
        (
            "DROP TRIGGER journal_no_delete; DELETE FROM journal WHERE number = 3; DELETE FROM parts WHERE number = 3",
            "entry 3 is not what was written",
        ),
    ],
)
def test_what_was_changed_is_named(records: Path, change: str, found: str) -> None:
    with closing(sqlite3.connect(records / FILE_NAME)) as connection:
        connection.executescript(change)
    with pytest.raises(BrokenRecordError, match=found):
        check_parts(records)


def test_a_part_that_is_missing_in_its_lane_is_seen(tmp_path: Path) -> None:
    with writing(tmp_path) as connection:
        for sequence in (1, 2, 4):
            add_part(connection, make_part(sequence))
    with pytest.raises(BrokenRecordError, match="lane a: of its numbers 1 are missing"):
        check_parts(tmp_path)
