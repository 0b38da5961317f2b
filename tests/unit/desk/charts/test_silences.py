# SPDX-License-Identifier: AGPL-3.0-or-later
"""Suspiciously low against approved baselines: when it is called, and how often on a line that is quiet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords

from vision_line.desk.charts.rate_series import read_last_events
from vision_line.desk.charts.silences import HOURS_A_MONTH, SilenceWatch, read_silences
from vision_line.desk.record_reader import RecordReader
from vision_line.desk.report.document import document
from vision_line.desk.report.period import WantedPeriod
from vision_line.desk.report.shift_report import read_report
from vision_line.quality import Baseline, ChartKind, ControlLimits, silence_h
from vision_line.records.removal import prune
from vision_line.reviews import baseline_entries
from vision_line.reviews.baseline_entries import ApprovedBaseline, ChartScope
from vision_line.reviews.reviews_file import writing as reviewing

HOUR_S = 3600.0
#: Of the baseline: a day before the records of these tests begin.
DAY_S = 86_400.0


def approved(scope: ChartScope, rate: float, cameras: int = 1) -> ApprovedBaseline:
    """Return a baseline of a whole day of inspection that ends when the records begin."""
    limits = ControlLimits(ChartKind.RATE, rate)
    made = Baseline(limits, 24, BEGAN_UTC - DAY_S, BEGAN_UTC, "anna", BEGAN_UTC)
    return ApprovedBaseline(scope, made, round(24 * rate), DAY_S * cameras, (), "1" * 64, "")


def watch(records: Path, *baselines: ApprovedBaseline, until_utc: float | None = None) -> SilenceWatch:
    with RecordReader(records).open() as connection:
        return read_silences(connection, {one.scope: one for one in baselines}, until_utc)


def test_silence_counts_from_the_last_event_in_inspected_time(rows: DeskRecords) -> None:
    """Accepted events, those of other cameras and classes, and time without inspection change nothing."""
    run = rows.run(0, 2 * HOUR_S, "cam01", "cam02")
    rows.event(run, "cam01", 600)
    rows.event(run, "cam01", 900, verdict="accept")
    rows.event(run, "cam02", 3000)
    rows.event(run, "cam01", 3300, class_name="short")
    rows.gap(run, "cam01", "camera:TIMEOUT", 1000, 3000)
    found = watch(
        rows.directory,
        approved(ChartScope("hour", "cam01", class_name="open"), 12.0),
        approved(ChartScope("hour", "cam01"), 12.0),
        approved(ChartScope("hour", station="line 1"), 3.0, cameras=2),
    )
    of = {one.name: one for one in found.watched}
    open_, every, station = (
        of[name] for name in ("camera cam01, class open", "camera cam01, all classes", "station line 1, all classes")
    )
    assert (open_.last_utc, open_.inspected_s) == (BEGAN_UTC + 600, 7200.0 - 600.0 - 2000.0)
    assert (every.last_utc, every.inspected_s) == (BEGAN_UTC + 3300, 3900.0)
    assert (station.last_utc, station.inspected_s) == (BEGAN_UTC + 3300, 7800.0)
    assert [one.is_called for one in (open_, every, station)] == [True, True, False]
    assert [one.name for one in found.called] == [open_.name, every.name]
    assert open_.shortage.expected == 12.0 * (open_.inspected_s / HOUR_S)


def test_without_any_event_since_it_counts_from_the_end_of_the_baseline(rows: DeskRecords) -> None:
    rows.run(0, HOUR_S, "cam01")
    (found,) = watch(rows.directory, approved(ChartScope("hour", "cam01"), 12.0)).watched
    assert (found.last_utc, found.since_utc, found.inspected_s) == (None, BEGAN_UTC, HOUR_S)


def test_a_clock_that_was_ahead_ends_no_silence(rows: DeskRecords) -> None:
    """What a run before labelled with a time that is to come says nothing of now, and is no end of the records."""
    ahead = rows.run(10 * DAY_S, 11 * DAY_S, "cam01")
    rows.event(ahead, "cam01", 10.5 * DAY_S)
    rows.run(0, HOUR_S, "cam01")
    found = watch(rows.directory, approved(ChartScope("hour", "cam01"), 12.0))
    assert (found.until_utc, found.watched[0].inspected_s) == (BEGAN_UTC + HOUR_S, HOUR_S)
    assert found.called


def test_of_several_periods_the_newest_baseline_watches(rows: DeskRecords) -> None:
    """The same events are watched once."""
    rows.run(0, HOUR_S, "cam01")
    scopes = [ChartScope(period, "cam01") for period in ("hour", "shift", "day")]
    with reviewing(rows.directory) as connection:
        for n, scope in enumerate(scopes):
            baseline_entries.approve(connection, approved(scope, 1.0 + n))
        baselines = baseline_entries.in_force(connection)
    (found,) = watch(rows.directory, *baselines.values()).watched
    assert (found.rate_per_h, found.scope.period) == (3.0, "day")


@pytest.mark.parametrize("rate", [0.5, 12.0])
def test_a_thousand_quiet_months_are_called_as_often_as_is_said(rows: DeskRecords, rate: float) -> None:
    """Nothing changes in them, and chance does what is printed beside the alarm, within four standard errors."""
    rows.run(0, HOUR_S, "cam01")
    said = watch(rows.directory, approved(ChartScope("hour", "cam01"), rate)).false_a_month
    chance = np.random.default_rng(6)
    called = 0
    for _ in range(1000):
        at_h = np.sort(chance.uniform(0.0, HOURS_A_MONTH, chance.poisson(rate * HOURS_A_MONTH)))
        called += int(np.count_nonzero(np.diff(at_h) > silence_h(rate)))
    assert called <= 1000 * said + 4 * (1000 * said) ** 0.5
    assert called == pytest.approx(1000 * said, abs=4 * (1000 * said) ** 0.5 + 0.03 * 1000 * said)


def test_the_report_says_who_was_silent_when_its_time_ended(rows: DeskRecords) -> None:
    """Not who is silent by now; and what such alarms are worth."""
    run = rows.run(0, 4 * HOUR_S, "cam01")
    for n in range(24):
        rows.event(run, "cam01", 300.0 * n)
    with reviewing(rows.directory) as connection:
        baseline_entries.approve(connection, approved(ChartScope("hour", "cam01"), 12.0))
    now_utc = BEGAN_UTC + 4 * HOUR_S
    said = "Suspiciously low: camera cam01, all classes had no reject and no warning"
    for hours, is_said in ((2, False), (4, True)):
        since, until = "2026-11-28T20:00:00Z", f"2026-11-28T{20 + hours - 1}:59:59Z"
        text = document(read_report(rows.directory, WantedPeriod(since=since, until=until), now_utc, 0))
        assert (said in text) is is_said
        assert f"{int(is_said)} of 1 approved baselines" in text
        assert "times a month" in text


def test_all_baselines_share_each_look_at_the_events(rows: DeskRecords) -> None:
    """A look for each would take the first page too long, with a year of events and a class that hardly comes."""
    run = rows.run(0, 40 * DAY_S, "cam01")
    seen_s = {"open": 39.9 * DAY_S, "short": 35 * DAY_S, "burr": 60.0}
    for class_name, at_s in seen_s.items():
        rows.event(run, "cam01", 30.0, class_name=class_name)
        rows.event(run, "cam01", at_s, class_name=class_name)
    scopes = [ChartScope(period, "cam01", class_name=name) for name in (*seen_s, "never") for period in ("hour", "day")]
    asked: list[str] = []
    with RecordReader(rows.directory).open() as connection:
        connection.set_trace_callback(asked.append)
        found = read_last_events(connection, dict.fromkeys(scopes, BEGAN_UTC), BEGAN_UTC + 40 * DAY_S)
    assert found == {scope: BEGAN_UTC + seen_s[scope.class_name] for scope in scopes if scope.class_name in seen_s}
    assert len(asked) == 3


def test_what_was_removed_is_no_silence(rows: DeskRecords) -> None:
    """Nobody knows what was found then."""
    run = rows.run(0, 10 * DAY_S, "cam01")
    for day in range(9):
        rows.event(run, "cam01", day * DAY_S, class_name="open" if day < 8 else "short")
        rows.minute(run, "cam01", day * DAY_S, 100)
    baseline = approved(ChartScope("hour", "cam01", class_name="open"), 0.05)
    prune(rows.directory, 1, 0, BEGAN_UTC + 10 * DAY_S, dry_run=False)
    (found,) = watch(rows.directory, baseline).watched
    assert (found.last_utc, found.since_utc) == (None, BEGAN_UTC + 7 * DAY_S + 3)
    assert found.inspected_s == 3 * DAY_S - 3
    assert not found.is_called
