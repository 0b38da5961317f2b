# SPDX-License-Identifier: AGPL-3.0-or-later
"""The area of opportunity: inspected seconds of any periods, never the time on the wall."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords
from tests.fakes.shift_records import SHIFT_HOURS, SHIFT_S, made_shift

from vision_line.desk.inspected.inspected_time import HeldTime, read_inspected_time
from vision_line.desk.inspected.opportunity import Floats, Opportunity, read_opportunity
from vision_line.desk.local_time import ChosenTime
from vision_line.desk.record_reader import RecordReader
from vision_line.records.removal import prune

TIMES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(sorted).map(tuple), max_size=6)


def edges(*seconds: float) -> Floats:
    return BEGAN_UTC + np.array(seconds)


@given(spans=TIMES, gaps=TIMES, cuts=st.lists(st.integers(0, 60), min_size=2, max_size=9, unique=True).map(sorted))
def test_each_second_counts_once(spans: list[tuple[int, int]], gaps: list[tuple[int, int]], cuts: list[int]) -> None:
    """As if each second were asked whether a run had the camera then and no gap was there, overlaps included."""
    inspected = [
        any(begin <= n < end for begin, end in spans) and not any(begin <= n < end for begin, end in gaps)
        for n in range(61)
    ]
    opportunity = Opportunity(
        [HeldTime("cam", "", BEGAN_UTC + begin, BEGAN_UTC + end) for begin, end in spans],
        {"cam": [(BEGAN_UTC + begin, BEGAN_UTC + end) for begin, end in gaps]},
        {"": 0.0},
    )
    expected = [sum(inspected[begin:end]) for begin, end in pairwise(cuts)]
    assert opportunity.seconds(edges(*cuts)).tolist() == expected


def test_hours_add_up_to_what_was_inspected(rows: DeskRecords) -> None:
    """The first page's own figures, to the millisecond."""
    made_shift(rows.directory, cameras=3, events=0, images=False)
    time = ChosenTime(BEGAN_UTC + SHIFT_S, BEGAN_UTC + SHIFT_S + SHIFT_HOURS * 3600.0)
    with RecordReader(rows.directory).open() as connection:
        hours = read_opportunity(connection, time).seconds(
            edges(*(SHIFT_S + 3600.0 * n for n in range(SHIFT_HOURS + 1)))
        )
        cameras = read_inspected_time(connection, time)
    assert hours.sum() == pytest.approx(sum(one.covered.due_s - one.missing_s for one in cameras), abs=1e-6)
    assert hours[1] == 3 * 3600 - 600.125


def test_a_camera_that_changes_its_station_counts_for_each_in_its_time(rows: DeskRecords) -> None:
    run = rows.run(0, 1000, "cam01")
    rows.insert(
        "cameras", run=run, name="cam01", station="line 2", recipe="", url="", since_utc=BEGAN_UTC + 600, settings=""
    )
    with RecordReader(rows.directory).open() as connection:
        opportunity = read_opportunity(connection, ChosenTime(BEGAN_UTC, BEGAN_UTC + 1000))
        (camera,) = read_inspected_time(connection, ChosenTime(BEGAN_UTC, BEGAN_UTC + 1000))
    first, second = (
        opportunity.seconds(edges(0, 1000), wanted).tolist()
        for wanted in (lambda span: span.station == "line 1", lambda span: span.station == "line 2")
    )
    assert (first, second) == ([600.0], [400.0])
    assert camera.covered.due_s == 1000.0


def test_time_whose_rows_were_removed_is_neither_inspected_nor_due(rows: DeskRecords) -> None:
    """Without its gaps all would look inspected, and without its events good."""
    day_s = 86_400.0
    run = rows.run(0, 4 * day_s, "cam01")
    for day in range(4):
        rows.gap(run, "cam01", "camera:TIMEOUT", day * day_s + 1000, day * day_s + 5000)
        rows.event(run, "cam01", day * day_s + 40_000)
        rows.minute(run, "cam01", day * day_s + 40_020, 100)
    prune(rows.directory, 2, 0, BEGAN_UTC + 4 * day_s, dry_run=False)
    time = ChosenTime(BEGAN_UTC, BEGAN_UTC + 4 * day_s)
    with RecordReader(rows.directory).open() as connection:
        (removed_utc,) = connection.execute("SELECT max(to_utc) FROM removals WHERE removed_from = 'events'").fetchone()
        days = read_opportunity(connection, time).seconds(edges(*(day_s * n for n in range(5))))
        (camera,) = read_inspected_time(connection, time)
        removed_days = read_inspected_time(connection, ChosenTime(BEGAN_UTC, BEGAN_UTC + day_s))
    assert removed_utc == BEGAN_UTC + day_s + 40_003
    assert days.tolist() == [0.0, day_s - 40_003, day_s - 4000, day_s - 4000]
    assert camera.missing_s == 8000.0
    assert removed_days == []


def test_a_clock_that_was_ahead_removes_no_time(rows: DeskRecords) -> None:
    """A removed row that it labelled says nothing of the time that is to come."""
    rows.run(0, 1000, "cam01")
    values = {"removed_from": "events", "rows": 1, "why": "keep_days", "at_utc": BEGAN_UTC}
    rows.insert("removals", from_utc=0.0, to_utc=9e9, **values)
    with RecordReader(rows.directory).open() as connection:
        found = read_opportunity(connection, ChosenTime(BEGAN_UTC, BEGAN_UTC + 1000))
    assert found.seconds(edges(0, 1000)).tolist() == [1000.0]
