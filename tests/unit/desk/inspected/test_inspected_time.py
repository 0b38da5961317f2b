# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the first page says of inspected time: the ledger's own figures, to the last digit."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords

from vision_line.desk.inspected.inspected_time import CameraTime, read_inspected_time
from vision_line.desk.inspected.opportunity import read_opportunity
from vision_line.desk.local_time import ChosenTime
from vision_line.desk.plain_words import percent
from vision_line.desk.record_reader import RecordReader
from vision_line.frames import CameraState
from vision_line.records.columns import Table
from vision_line.records.query import Selection
from vision_line.records.table_export import Format, export


def within(records: Path, since_s: float, until_s: float) -> dict[str, CameraTime]:
    """Return what is known of each camera in a time."""
    with RecordReader(records).open() as connection:
        time = ChosenTime(BEGAN_UTC + since_s, BEGAN_UTC + until_s)
        return {found.camera: found for found in read_inspected_time(connection, time)}


def test_the_seconds_are_those_of_an_export(rows: DeskRecords, tmp_path: Path) -> None:
    """By the monotonic clock of each interval, summed in the same order."""
    run = rows.run(0, 1000, "cam01", "cam02")
    for number, cause in enumerate(("capacity", "camera:TIMEOUT", "capacity", "device:STARTING") * 20):
        rows.gap(run, "cam01", cause, number * 10 + 0.1, number * 10 + 0.1 + 1 / (number + 3))
    time = Selection(BEGAN_UTC, BEGAN_UTC + 1000)
    export(rows.directory, Table.NOT_INSPECTED, Format.JSONL, time, tmp_path / "gaps.jsonl")
    expected = defaultdict[str, float](float)
    for line in (tmp_path / "gaps.jsonl").read_text(encoding="utf-8").splitlines():
        gap = json.loads(line)
        expected[gap["cause"]] += gap["ended_s"] - gap["started_s"]
    found = within(rows.directory, 0, 1000)
    assert dict(found["cam01"].covered.not_inspected_s) == expected
    assert found["cam01"].covered.due_s == 1000.0
    assert found["cam02"].covered.share == 1.0


def test_a_gap_that_sticks_out_counts_as_far_as_it_is_in_the_time(rows: DeskRecords) -> None:
    run = rows.run(0, 1000, "cam01")
    rows.gap(run, "cam01", "capacity", 90, 110)
    rows.gap(run, "cam01", "log", 195, 300)
    found = within(rows.directory, 100, 200)["cam01"]
    assert dict(found.covered.not_inspected_s) == {"capacity": 10.0, "log": 5.0}
    assert found.covered.due_s == 100.0
    assert found.longest is not None
    assert found.longest.cause == "capacity"


def test_an_open_gap_goes_on_as_far_as_the_run_accounts_for(rows: DeskRecords) -> None:
    """What is later is not known yet, and not due."""
    run = rows.run(0, None, "cam01", alive_s=100)
    rows.gap(run, "cam01", "camera:TIMEOUT", 60, None)
    found = within(rows.directory, 0, 3600)["cam01"]
    assert found.covered.due_s == 100.0
    assert found.missing_s == 40.0
    assert found.gaps[0].is_open


def test_off_is_not_due_and_crashed_is(rows: DeskRecords) -> None:
    """Nobody promised an inspection while the line was switched off; a program that died had promised it."""
    rows.run(0, 100, "cam01")
    second = rows.run(200, 300, "cam01")
    rows.gap(second, "cam01", "off", 100, 200)
    third = rows.run(400, 500, "cam01")
    rows.gap(third, "cam01", "crashed", 300, 400)
    found = within(rows.directory, 0, 500)["cam01"]
    assert found.off_s == 100.0
    assert found.covered.due_s == pytest.approx(400.0)
    assert dict(found.covered.not_inspected_s) == {"crashed": 100.0}


def test_a_shift_that_lies_wholly_in_a_crash_was_due(rows: DeskRecords) -> None:
    """No run had a camera then, and nothing was inspected: such a shift must not look as if nobody had wanted any."""
    rows.run(0, 100, "cam01", "cam02")
    second = rows.run(1000, 1100, "cam01", "cam02")
    rows.gap(second, "cam01", "crashed", 100, 1000)
    rows.gap(second, "cam02", "off", 100, 1000)
    found = within(rows.directory, 200, 500)
    assert found["cam01"].covered.due_s == found["cam01"].missing_s == 300.0
    assert (found["cam02"].covered.due_s, found["cam02"].off_s) == (0.0, 300.0)


def test_what_the_clock_jumped_over_was_not_inspected(rows: DeskRecords) -> None:
    """A machine whose clock stands while it is off was off for a day; its clock is put right a minute later."""
    rows.run(0, 100, "cam01")
    run = rows.run(100, 90_000, "cam01")
    jump = {"at_s": 160.0, "from_utc": BEGAN_UTC + 160, "to_utc": BEGAN_UTC + 86_560}
    rows.insert("clock_steps", run=run, clock=1, **jump)
    time = ChosenTime(BEGAN_UTC, BEGAN_UTC + 90_000)
    with RecordReader(rows.directory).open() as connection:
        (seconds,) = read_opportunity(connection, time).seconds(np.array([time.since_utc, time.until_utc])).tolist()
    assert within(rows.directory, 0, 90_000)["cam01"].covered.due_s == seconds == 90_000.0 - 86_400.0
    assert within(rows.directory, 1000, 80_000) == {}


def test_a_camera_that_was_taken_out_for_a_while_was_not_due(rows: DeskRecords) -> None:
    run = rows.run(0, 300, "cam01")
    rows.state(run, "cam01", "REMOVED", 100)
    rows.camera(run, "cam01", 200)
    rows.gap(run, "cam01", "off", 100, 200)
    rows.state(run, "cam01", "RUNNING", 200)
    assert within(rows.directory, 0, 300)["cam01"].covered.due_s == pytest.approx(200.0)


def test_a_camera_that_was_taken_out_for_good_is_not_due_any_more(rows: DeskRecords) -> None:
    run = rows.run(0, 300, "cam01")
    rows.state(run, "cam01", "REMOVED", 100)
    assert within(rows.directory, 0, 300)["cam01"].covered.due_s == 100.0


def test_a_time_without_records_has_no_cameras(rows: DeskRecords) -> None:
    """Nothing found is not the same as all inspected."""
    rows.run(0, 100, "cam01")
    assert within(rows.directory, 5000, 6000) == {}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts_ms=st.lists(st.integers(1_000, 999_000), min_size=1, max_size=5, unique=True))
def test_parts_of_a_time_add_up_to_it(rows: DeskRecords, cuts_ms: list[int]) -> None:
    """However a shift is cut, no second is lost or counted twice; a part shorter than a moment is refused as empty."""
    rows.connection.execute("DELETE FROM not_inspected")
    rows.connection.execute("DELETE FROM cameras")
    rows.connection.execute("DELETE FROM runs")
    run = rows.run(0, 1000, "cam01")
    rows.gap(run, "cam01", "capacity", 100, 400)
    rows.gap(run, "cam01", "log", 700, 900)
    places = [0.0, *(cut / 1e3 for cut in sorted(cuts_ms)), 1000.0]
    parts = [within(rows.directory, *pair)["cam01"] for pair in pairwise(places)]
    assert sum(part.missing_s for part in parts) == pytest.approx(500.0, abs=1e-5)
    assert sum(part.covered.due_s for part in parts) == pytest.approx(1000.0, abs=1e-5)


@pytest.mark.parametrize(("share", "shown"), [(1.0, "100 %"), (0.999999, "99.99 %"), (0.0, "0.00 %"), (None, "–")])
def test_what_lacks_a_second_is_never_shown_as_whole(share: float | None, shown: str) -> None:
    assert percent(share) == shown


def test_a_camera_that_another_box_had_meanwhile(rows: DeskRecords) -> None:
    """Nobody here had it between, which no interval says: that is neither due nor inspected."""
    run = rows.run(0, 1000, "cam01")
    rows.state(run, "cam01", CameraState.REMOVED, 300)
    rows.camera(run, "cam01", 700)
    rows.state(run, "cam01", CameraState.RUNNING, 701)
    rows.gap(run, "cam01", "node:lost", 694, 700)
    found = within(rows.directory, 0, 1000)["cam01"]

    assert found.covered.due_s == 606.0
    assert dict(found.covered.not_inspected_s) == {"node:lost": 6.0}
