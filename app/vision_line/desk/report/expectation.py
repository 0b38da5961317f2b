# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether so many events are usual: a u chart of the hours, and cameras that found suspiciously few.

What is usual is what an approved baseline says; without one it is what the week before showed, and the report says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vision_line.desk.charts.baselines import BaselineInUse, Baselines, in_use, watched
from vision_line.desk.charts.chart_periods import ChartPeriod, PeriodKind, chart_periods
from vision_line.desk.charts.rate_chart import HOUR_S, RateChart, RateSeries, fitted, rate_chart
from vision_line.desk.charts.rate_series import read_series
from vision_line.desk.inspected.inspected_time import CameraTime, read_inspected_time
from vision_line.desk.local_time import ChosenTime, PlantClock
from vision_line.desk.report.counts import VerdictCounts, in_all, read_counts
from vision_line.quality import EventShortage, event_shortage
from vision_line.records.records import Records
from vision_line.reviews.baseline_entries import ChartScope

BASELINE_S = 7 * 86_400.0
#: A camera's rate of fewer inspected hours is a guess.
FEWEST_HOURS = 20
#: All cameras together, by hours.
_ALL = ChartScope(PeriodKind.HOUR)


@dataclass(frozen=True, slots=True)
class ReportedChart:
    """The chart; without `baseline` its limits are from `usual_hours` hours of the week before."""

    chart: RateChart
    baseline: BaselineInUse | None
    usual_hours: int


@dataclass(frozen=True, slots=True)
class CameraShortage:
    """How few events a camera had against its approved baseline, or its own week before."""

    camera: str
    shortage: EventShortage
    is_approved: bool


@dataclass(frozen=True, slots=True)
class Shortages:
    """The cameras with suspiciously few events, of `compared` ones; of the others too little is known."""

    compared: int
    suspicious: Sequence[CameraShortage]


def week_before(time: ChosenTime) -> ChosenTime:
    """Return the time that tells what is usual."""
    return ChosenTime(time.since_utc - BASELINE_S, time.since_utc)


def read_rate_chart(
    connection: Records, times: Sequence[ChosenTime], clock: PlantClock, baselines: Baselines, now_utc: float
) -> ReportedChart:
    """Return the u chart of rejects and warnings per inspected hour of `times`, one after the other until now.

    Raises:
        Error: the database's, as it comes.
    """
    series = _together([_read_hours(connection, time, clock) for time in times])
    approved = baselines.get(_ALL)
    if approved is not None:
        chart = rate_chart(series, approved.baseline.limits)
        return ReportedChart(chart, in_use(connection, approved, now_utc), 0)
    usual = _read_hours(connection, week_before(times[0]), clock)
    limits = fitted(usual)
    chart = rate_chart(series, f"of the 7 days before, {limits}" if isinstance(limits, str) else limits)
    return ReportedChart(chart, None, len(usual.kept))


def _together(series: Sequence[RateSeries]) -> RateSeries:
    """Return several as one."""
    return RateSeries(
        [period for one in series for period in one.periods],
        [events for one in series for events in one.events],
        [seconds for one in series for seconds in one.inspected_s],
    )


def _read_hours(connection: Records, time: ChosenTime, clock: PlantClock) -> RateSeries:
    (series,) = read_series(connection, [_ALL], hours_of(time, clock))
    return series


def hours_of(time: ChosenTime, clock: PlantClock) -> list[ChartPeriod]:
    """Return the hours of `time`; where it begins or ends within one, that is cut off."""
    return [
        replace(one, since_utc=max(one.since_utc, time.since_utc), until_utc=min(one.until_utc, time.until_utc))
        for one in chart_periods(PeriodKind.HOUR, time, clock)
    ]


def read_shortages(
    connection: Records,
    time: ChosenTime,
    now: Sequence[CameraTime],
    found: Sequence[VerdictCounts],
    baselines: Baselines,
) -> Shortages:
    """Compare each camera's events with its approved baseline, or else with its own rate of the week before.

    Raises:
        Error: the database's, as it comes.
    """
    approved = {one.scope.camera: one.baseline.limits.center for one in watched(baselines) if not one.scope.class_name}
    usual = {name: rate for name, rate in _usual_rates(connection, time).items() if name not in approved}
    compared = [
        CameraShortage(
            one.camera,
            event_shortage(_called(found, one.camera), (approved | usual)[one.camera], _inspected_h(one)),
            one.camera in approved,
        )
        for one in now
        if one.camera in approved | usual and _inspected_h(one) > 0
    ]
    return Shortages(len(compared), [one for one in compared if one.shortage.suspicious])


def _usual_rates(connection: Records, time: ChosenTime) -> dict[str, float]:
    """Return events an inspected hour of the week before, of cameras that were inspected for long enough."""
    before = week_before(time)
    hours = {one.camera: _inspected_h(one) for one in read_inspected_time(connection, before)}
    past = read_counts(connection, before)
    return {name: _called(past, name) / length for name, length in hours.items() if length >= FEWEST_HOURS}


def _inspected_h(of: CameraTime) -> float:
    return max(0.0, of.covered.due_s - of.missing_s) / HOUR_S


def _called(counts: Sequence[VerdictCounts], camera: str) -> int:
    return in_all(one for one in counts if one.camera == camera).called
