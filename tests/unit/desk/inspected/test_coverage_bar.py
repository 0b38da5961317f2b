# SPDX-License-Identifier: AGPL-3.0-or-later
"""The bar of a camera: what each column says."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords

from vision_line.desk.inspected.coverage_bar import MOST_COLUMNS, BarPart, axis, column_s, read_bars
from vision_line.desk.inspected.inspected_time import read_gaps
from vision_line.desk.local_time import ChosenTime, PlantClock, shown_by
from vision_line.desk.record_reader import RecordReader


def bar(records: Path, until_s: float, since_s: float = 0.0) -> list[BarPart]:
    """Return the bar of cam01."""
    time = ChosenTime(BEGAN_UTC + since_s, BEGAN_UTC + until_s)
    with RecordReader(records).open() as connection:
        return read_bars(connection, time, read_gaps(connection, time)).get("cam01", [])


def test_columns_are_inspected_partly_not_off_or_unknown(rows: DeskRecords) -> None:
    """Whatever has no row is unknown: it must not look inspected."""
    run = rows.run(0, 360, "cam01")
    rows.minute(run, "cam01", 0, inspected=90)
    rows.minute(run, "cam01", 60, inspected=50, missing_s=20)
    rows.gap(run, "cam01", "capacity", 70, 90)
    rows.minute(run, "cam01", 120, inspected=0, missing_s=60)
    rows.gap(run, "cam01", "camera:TIMEOUT", 120, 180)
    rows.gap(run, "cam01", "off", 180, 240)
    parts = bar(rows.directory, 300)
    assert [(part.state, part.causes) for part in parts] == [
        ("inspected", ()),
        ("partly", ("capacity",)),
        ("not", ("camera:TIMEOUT",)),
        ("off", ("off",)),
        ("unknown", ()),
    ]
    assert [part.x for part in parts] == pytest.approx([0, 20, 40, 60, 80])
    assert sum(part.width for part in parts) == pytest.approx(100)


def test_a_minute_without_a_frame_is_not_inspected_whatever_its_intervals_say(rows: DeskRecords) -> None:
    run = rows.run(0, 60, "cam01")
    rows.minute(run, "cam01", 0, inspected=0)
    assert [part.state for part in bar(rows.directory, 60)] == ["not"]


def test_equal_columns_are_one_part(rows: DeskRecords) -> None:
    """A day is a few parts, and not 1440."""
    run = rows.run(0, 600, "cam01")
    for minute in range(10):
        rows.minute(run, "cam01", minute * 60, inspected=90)
    (part,) = bar(rows.directory, 600)
    assert (part.frames, part.missing_s, part.width) == (900, 0.0, 100.0)


def test_a_time_that_begins_within_a_minute_has_columns_of_whole_minutes(rows: DeskRecords) -> None:
    """Rows of minutes and gaps lie in the same columns, the first and the last cut off."""
    run = rows.run(120, 300, "cam01")
    for at_s, inspected, missing_s in ((120, 90, 0), (180, 0, 60), (240, 90, 0)):
        rows.minute(run, "cam01", at_s, inspected=inspected, missing_s=missing_s)
    rows.gap(run, "cam01", "camera:TIMEOUT", 180, 240)
    parts = bar(rows.directory, 270.5, since_s=40.5)
    assert [(part.state, part.since_utc - BEGAN_UTC, part.until_utc - BEGAN_UTC) for part in parts] == [
        ("unknown", 40.5, 120),
        ("inspected", 120, 180),
        ("not", 180, 240),
        ("inspected", 240, 270.5),
    ]
    assert sum(part.width for part in parts) == pytest.approx(100)
    assert parts[1].x == pytest.approx(100 * 79.5 / 230)


def test_of_a_minute_that_is_cut_only_what_lies_in_the_time_is_missing(rows: DeskRecords) -> None:
    run = rows.run(0, 180, "cam01")
    for at_s, missing_s in ((0, 20), (60, 0), (120, 30)):
        rows.minute(run, "cam01", at_s, inspected=50, missing_s=missing_s)
    rows.gap(run, "cam01", "capacity", 10, 30)
    rows.gap(run, "cam01", "camera:TIMEOUT", 140, 170)
    whole, end = bar(rows.directory, 150, since_s=40)
    assert (whole.state, whole.missing_s, whole.frames) == ("inspected", 0.0, 100)
    assert (end.state, end.missing_s, end.causes) == ("partly", 10.0, ("camera:TIMEOUT",))


def test_a_cut_minute_whose_rest_is_a_gap_is_not_inspected(rows: DeskRecords) -> None:
    """Its frames came before."""
    run = rows.run(0, 180, "cam01")
    rows.minute(run, "cam01", 0, inspected=50, missing_s=40)
    rows.minute(run, "cam01", 60, inspected=90)
    rows.gap(run, "cam01", "camera:TIMEOUT", 20, 60)
    assert [(part.state, part.frames) for part in bar(rows.directory, 120, since_s=30)] == [
        ("not", 0),
        ("inspected", 90),
    ]


@pytest.mark.parametrize(("hours", "minutes"), [(8, 1), (12, 1), (24, 2), (24 * 32, 120)])
def test_columns_stay_wide_enough_to_be_seen(hours: int, minutes: int) -> None:
    time = ChosenTime(BEGAN_UTC, BEGAN_UTC + hours * 3600)
    assert column_s(time) == minutes * 60
    assert time.length_s / column_s(time) <= MOST_COLUMNS


@pytest.mark.parametrize("hours", [1, 8, 24, 24 * 7])
def test_the_axis_has_a_few_round_marks(hours: int) -> None:
    marks = axis(ChosenTime(BEGAN_UTC, BEGAN_UTC + hours * 3600))
    assert 4 <= len(marks) <= 10
    assert all(0 <= place < 100 and utc % 300 == 0 for place, utc in marks)


@pytest.mark.parametrize(
    ("day", "marks"),
    [
        (date(2026, 3, 29), ["00:00", "03:00", "06:00", "09:00", "12:00", "15:00", "18:00", "21:00"]),
        (date(2026, 10, 25), ["00:00", "03:00", "06:00", "09:00", "12:00", "15:00", "18:00", "21:00"]),
    ],
)
def test_marks_stay_on_full_hours_where_the_clock_is_set(day: date, marks: list[str]) -> None:
    clock = PlantClock(ZoneInfo("Europe/Berlin"))
    time = clock.whole_day(day)
    with shown_by(clock):
        assert [clock.mark(utc, time.length_s) for _, utc in axis(time)] == marks
