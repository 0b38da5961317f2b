# SPDX-License-Identifier: AGPL-3.0-or-later
"""Shifts on the clocks of real time zones."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.quality.shifts import ShiftPlan, shift_plan

BERLIN = shift_plan("Europe/Berlin", ["06:00", "14:00", "22:00"])
#: With half an hour of summer time, a day that never was, summer time within the year's fast, changes at midnight.
ZONES = (
    "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca",
    "America/Sao_Paulo", "America/St_Johns", "UTC",
)  # fmt: skip
minutes = st.sets(st.integers(0, 24 * 60 - 1), min_size=1, max_size=6)
plans = st.builds(
    lambda zone, starts: shift_plan(zone, [f"{m // 60:02}:{m % 60:02}" for m in sorted(starts)]),
    st.sampled_from(ZONES),
    minutes,
)
moments = st.floats(datetime(2000, 1, 1, tzinfo=UTC).timestamp(), datetime(2030, 1, 1, tzinfo=UTC).timestamp())


def utc(text: str) -> float:
    """Return the moment as seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("moment", "key"),
    [
        ("2026-11-27T06:00:00+01:00", "2026-11-27/early"),
        ("2026-11-27T13:59:59+01:00", "2026-11-27/early"),
        ("2026-11-27T14:00:00+01:00", "2026-11-27/late"),
        ("2026-11-27T23:00:00+01:00", "2026-11-27/night"),
        ("2026-11-28T05:59:59+01:00", "2026-11-27/night"),  # named by the day it began
    ],
)
def test_the_shift_of_a_moment(moment: str, key: str) -> None:
    """A start belongs to the shift that begins."""
    shift = BERLIN.shift_at(utc(moment))

    assert shift.key == key
    assert BERLIN.shift(key) == shift


@pytest.mark.parametrize(
    ("day", "night_h", "day_h"), [("2026-03-28", 7.0, 23.0), ("2026-10-24", 9.0, 25.0), ("2026-11-27", 8.0, 24.0)]
)
def test_the_night_in_which_the_clock_changes(day: str, night_h: float, day_h: float) -> None:
    """An hour less in March, an hour more in October."""
    shifts = BERLIN.shifts_of(date.fromisoformat(day))

    assert [shift.hours for shift in shifts] == [8.0, 8.0, night_h]
    assert sum(shift.hours for shift in shifts) == day_h


def test_a_start_that_the_clock_jumps_over() -> None:
    """It falls on the moment of the jump, and what would have come before it has no time left."""
    plan = shift_plan("Europe/Berlin", ["02:00", "02:30", "03:00"], ["a", "b", "c"])
    jump = utc("2026-03-29T01:00:00+00:00")

    assert [(s.start_utc - jump, s.hours) for s in plan.shifts_of(date(2026, 3, 29))] == [(0, 0), (0, 0), (0, 23.0)]
    assert plan.shift_at(jump).name == "c"
    assert plan.shift_at(jump - 1).key == "2026-03-28/c"


def test_a_start_that_the_clock_shows_twice() -> None:
    """The first time counts."""
    plan = shift_plan("Europe/Berlin", ["02:30", "03:00"])
    first = plan.shifts_of(date(2026, 10, 25))[0]

    assert first.start_utc == utc("2026-10-25T02:30:00+02:00")
    assert first.hours == 1.5
    assert first.name == "02:30"


def test_a_clock_that_goes_back_over_midnight() -> None:
    """In St. John's it showed 00:00 of the 29th for a minute, then the 28th once more: the shift had begun."""
    plan = shift_plan("America/St_Johns", ["00:00", "12:00"])
    again = utc("2006-10-28T23:30:00-03:30")

    assert plan.shift_at(again).key == "2006-10-29/00:00"
    assert plan.shift_at(again).start_utc == utc("2006-10-29T00:00:00-02:30")


@given(plan=plans, moment=moments)
def test_every_moment_is_in_one_shift(plan: ShiftPlan, moment: float) -> None:
    """No gap and no overlap: the next begins where one ends, and its key finds it again."""
    shift = plan.shift_at(moment)

    assert shift.start_utc <= moment < shift.end_utc
    assert plan.shift(shift.key) == shift
    assert plan.shift_at(shift.end_utc).start_utc == shift.end_utc
    assert plan.shift_at(shift.start_utc - 1e-3).end_utc == shift.start_utc


@given(plan=plans, moment=moments, hours=st.floats(0.0, 100.0))
def test_shifts_of_a_span(plan: ShiftPlan, moment: float, hours: float) -> None:
    """They cover it from its first moment to its last."""
    shifts = list(plan.shifts_between(moment, moment + hours * 3600))

    assert all(one.end_utc == next_one.start_utc for one, next_one in pairwise(shifts))
    assert not shifts or (shifts[0].start_utc <= moment and shifts[-1].end_utc >= moment + hours * 3600)
    assert bool(shifts) == (hours * 3600 + moment > moment)


@given(plan=plans, day=st.dates(date(2000, 1, 1), date(2029, 12, 31)))
def test_a_shift_begins_when_the_clock_shows_its_start(plan: ShiftPlan, day: date) -> None:
    """Unless the clock jumps over it: then it shows a later time, and a moment before an earlier one."""
    for shift, start in zip(plan.shifts_of(day), plan.starts, strict=True):
        shown = datetime.combine(day, start)
        now = datetime.fromtimestamp(shift.start_utc, plan.zone).replace(tzinfo=None)
        before = datetime.fromtimestamp(shift.start_utc - 1, plan.zone).replace(tzinfo=None)
        assert before < shown <= now


@pytest.mark.parametrize(
    ("starts", "names"),
    [
        (["06:00"], ("day",)),
        (["06:00", "18:00"], ("early", "late")),
        (["05:30", "13:30", "21:30"], ("early", "late", "night")),
        (["00:00", "08:00", "16:00"], ("00:00", "08:00", "16:00")),
        (["06:00", "12:00", "18:00", "23:00"], ("06:00", "12:00", "18:00", "23:00")),
    ],
)
def test_names_without_names(starts: list[str], names: tuple[str, ...]) -> None:
    """Those that a plant uses, where they fit."""
    assert shift_plan("UTC", starts).names == names


@pytest.mark.parametrize(
    ("timezone", "starts", "names", "message"),
    [
        ("Europe/Nowhere", ["06:00"], [], "no time zone 'Europe/Nowhere'"),
        ("../etc/passwd", ["06:00"], [], "no time zone"),
        ("UTC", [], [], "one start"),
        ("UTC", ["14:00", "06:00"], [], "later in the day"),
        ("UTC", ["06:00", "06:00"], [], "later in the day"),
        ("UTC", ["6 am"], [], "such as 06:00"),
        ("UTC", ["06:00"], ["a", "b"], "a name for each shift"),
        ("UTC", ["06:00", "07:00"], ["a", "a"], "each another one"),
        ("UTC", ["06:00"], ["a/b"], "without a slash"),
    ],
)
def test_plans_that_are_refused(timezone: str, starts: list[str], names: list[str], message: str) -> None:
    """With what was expected instead."""
    with pytest.raises(ValueError, match=message):
        shift_plan(timezone, starts, names)


@pytest.mark.parametrize(("key", "message"), [("2026-11-27/midday", "early, late, night"), ("soon/early", "isoformat")])
def test_keys_that_name_no_shift(key: str, message: str) -> None:
    """The names that there are are said."""
    with pytest.raises(ValueError, match=message):
        BERLIN.shift(key)


def test_starts_are_times_of_the_day() -> None:
    """As they were written."""
    assert BERLIN.starts == (time(6), time(14), time(22))
