# SPDX-License-Identifier: AGPL-3.0-or-later
"""Periods of charts on the plant's clock: without gaps or overlaps, also where clocks change."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.desk.charts.chart_periods import PeriodKind, chart_periods, edges_of
from vision_line.desk.local_time import ChosenTime, PlantClock
from vision_line.errors import ConfigError
from vision_line.quality import shift_plan

BERLIN = ZoneInfo("Europe/Berlin")
CLOCK = PlantClock(BERLIN, shift_plan("Europe/Berlin", ["06:00", "14:00", "22:00"]))
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia", "UTC")


def berlin(*moment: int) -> float:
    return datetime(*moment, tzinfo=BERLIN).timestamp()  # type: ignore[arg-type,misc]  # numbers of a moment


@given(
    zone=st.sampled_from(ZONES),
    kind=st.sampled_from(list(PeriodKind)),
    since=st.integers(1_262_300_400, 1_893_456_000),
    length=st.integers(1, 5 * 86_400),
)
def test_periods_cover_the_time_without_gap_or_overlap(zone: str, kind: PeriodKind, since: int, length: int) -> None:
    """Each begins where the one before ends, none is empty, and no name comes twice."""
    clock = PlantClock(ZoneInfo(zone), shift_plan(zone, ["05:30", "17:30"]))
    found = chart_periods(kind, ChosenTime(since, since + length), clock)
    edges = edges_of(found)
    assert [one.until_utc for one in found] == edges[1:].tolist()
    assert (edges[1:] > edges[:-1]).all()
    assert edges[0] <= since
    assert edges[-1] >= since + length
    assert found[0].until_utc > since
    assert found[-1].since_utc < since + length
    assert len({one.name for one in found}) == len(found)


def test_the_days_in_which_clocks_change_have_23_and_25_hours() -> None:
    for day, hours in (((2026, 3, 29), 23), ((2026, 10, 25), 25)):
        time = ChosenTime(berlin(*day), berlin(*day) + 3600.0)
        (whole,) = chart_periods(PeriodKind.DAY, time, CLOCK)
        assert whole.until_utc - whole.since_utc == hours * 3600.0
        names = [
            one.name for one in chart_periods(PeriodKind.HOUR, ChosenTime(whole.since_utc, whole.until_utc), CLOCK)
        ]
        assert len(names) == hours
    assert names[2:4] == ["2026-10-25 02:00 (UTC+02:00)", "2026-10-25 02:00 (UTC+01:00)"]
    assert names[4] == "2026-10-25 03:00"


def test_shifts_have_their_names_and_a_night_an_hour_more() -> None:
    found = chart_periods(PeriodKind.SHIFT, ChosenTime(berlin(2026, 10, 24, 15), berlin(2026, 10, 25, 7)), CLOCK)
    assert [(one.name, (one.until_utc - one.since_utc) / 3600.0) for one in found] == [
        ("2026-10-24/late", 8.0),
        ("2026-10-24/night", 9.0),
        ("2026-10-25/early", 8.0),
    ]


def test_too_many_points_and_shifts_that_nobody_knows_are_refused() -> None:
    with pytest.raises(ConfigError, match="at most 1500 points"):
        chart_periods(PeriodKind.HOUR, ChosenTime(berlin(2026, 1, 1), berlin(2026, 4, 1)), CLOCK)
    with pytest.raises(ConfigError, match="name no shifts"):
        chart_periods(PeriodKind.SHIFT, ChosenTime(0.0, 1.0), PlantClock(BERLIN))
