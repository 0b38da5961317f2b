# SPDX-License-Identifier: AGPL-3.0-or-later
"""The u chart of consecutive periods: points, limits, signals in words, and what it costs in false alarms. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from vision_line.desk.charts.called_points import called_points, signal_words
from vision_line.desk.charts.chart_periods import ChartPeriod
from vision_line.desk.inspected.opportunity import Floats
from vision_line.quality import (
    DEFAULT_TESTS,
    ChartKind,
    ControlLimits,
    NelsonSignal,
    beyond_limits_rate,
    control_chart,
    false_alarm_rate,
    suggested_limits,
)

HOUR_S = 3600.0
_WEEK_S = 168 * HOUR_S
#: Limits from fewer points are guesses.
FEWEST_PERIODS = 20
#: A period with less of it inspected, on all its cameras together, has no point: seconds.
LEAST_AREA_S = 60.0


@dataclass(frozen=True, slots=True)
class RateSeries:
    """Events and inspected seconds of periods in their order, each (n,); `left_out` has the numbers of excluded ones.

    One mostly begins where the one before ends.
    """

    periods: Sequence[ChartPeriod]
    events: Sequence[int]
    inspected_s: Sequence[float]
    left_out: frozenset[int] = frozenset()

    @property
    def kept(self) -> list[int]:
        """The numbers of the periods that have a point: enough of them was inspected, and nobody excluded them."""
        return [n for n in range(len(self.periods)) if n not in self.left_out and self.was_inspected(n)]

    def was_inspected(self, n: int) -> bool:
        """Whether a period was inspected for long enough to have a rate."""
        return self.inspected_s[n] >= LEAST_AREA_S

    def counts(self, of: Sequence[int]) -> Floats:
        """Return the events of these periods."""
        return np.array([self.events[n] for n in of], np.float64)

    def hours(self, of: Sequence[int]) -> Floats:
        """Return the inspected hours of these periods."""
        return np.array([self.inspected_s[n] for n in of], np.float64) / HOUR_S


@dataclass(frozen=True, slots=True)
class ChartPoint:
    """A period: events, inspected hours, events per inspected hour, and its limits."""

    name: str
    since_utc: float
    until_utc: float
    events: int
    inspected_h: float
    value: float
    lower: float
    upper: float
    tests: Sequence[int]  # that call it


@dataclass(frozen=True, slots=True)
class ChartSignal:
    """Points side by side that a test calls, from the first one's period to the last one's."""

    test: int
    words: str
    since_utc: float
    until_utc: float
    first: str
    last: str
    events: int


@dataclass(frozen=True, slots=True)
class WithoutPoint:
    """Periods side by side of which nothing, or less than a minute, was inspected."""

    since_utc: float
    until_utc: float
    periods: int
    events: int


@dataclass(frozen=True, slots=True)
class RateChart:
    """The chart; `refused` says why there is none. `false_alarms_a_week`: where nothing changes, at this inspection."""

    refused: str
    limits: ControlLimits | None = None
    false_alarms_a_week: float = 0.0
    points: Sequence[ChartPoint] = ()
    signals: Sequence[ChartSignal] = ()
    without: Sequence[WithoutPoint] = ()
    tests: Sequence[int] = field(default=DEFAULT_TESTS)


def fitted(series: RateSeries) -> ControlLimits | str:
    """Return the limits that these periods suggest, or why there are none."""
    kept = series.kept
    if len(kept) < FEWEST_PERIODS:
        return f"{len(kept)} periods have a point; limits need {FEWEST_PERIODS} or more"
    try:
        return suggested_limits(ChartKind.RATE, series.counts(kept), series.hours(kept))
    except ValueError:
        return "nothing was rejected or warned of, so there is no spread and there are no limits"


def rate_chart(series: RateSeries, limits: ControlLimits | str, tests: Collection[int] = DEFAULT_TESTS) -> RateChart:
    """Return the chart of `series` by given limits; text instead says why there are none."""
    kept, without = series.kept, _without(series)
    if isinstance(limits, str):
        return RateChart(limits, without=without)
    if not kept:
        return RateChart("nothing was inspected, so there is no point", without=without)
    areas = series.hours(kept)
    chart = control_chart(limits, series.counts(kept), areas)
    called = called_points(chart.z, tests)
    points = [
        ChartPoint(
            name=series.periods[n].name,
            since_utc=series.periods[n].since_utc,
            until_utc=series.periods[n].until_utc,
            events=series.events[n],
            inspected_h=float(areas[place]),
            value=float(chart.values[place]),
            lower=float(chart.lower[place]),
            upper=float(chart.upper[place]),
            tests=called.tests[place],
        )
        for place, n in enumerate(kept)
    ]
    signals = [_signal(points[signal.first : signal.last + 1], signal) for signal in called.signals]
    whole_s = sum(period.until_utc - period.since_utc for period in series.periods)
    weekly = false_alarms_a_week(limits, areas, whole_s / len(series.periods), tests)
    return RateChart(
        refused="",
        limits=limits,
        false_alarms_a_week=weekly,
        points=points,
        signals=signals,
        without=without,
        tests=sorted(tests),
    )


def false_alarms_a_week(limits: ControlLimits, areas_h: Floats, period_s: float, tests: Collection[int]) -> float:
    """Return how often these tests call in a week around the clock where nothing changes.

    Test 1 is reckoned by the Poisson distribution of the mean area (n,), unless the limits are Laney's.
    """
    expected = limits.center * float(areas_h.mean())
    first = beyond_limits_rate(expected) if limits.sigma_z == 1.0 else false_alarm_rate(1)
    per_point = sum(first if test == 1 else false_alarm_rate(test) for test in tests)
    return _WEEK_S / period_s * per_point


def _signal(points: Sequence[ChartPoint], signal: NelsonSignal) -> ChartSignal:
    return ChartSignal(
        test=signal.test,
        words=signal_words(signal),
        since_utc=points[0].since_utc,
        until_utc=points[-1].until_utc,
        first=points[0].name,
        last=points[-1].name,
        events=sum(point.events for point in points),
    )


def _without(series: RateSeries) -> list[WithoutPoint]:
    groups: list[list[int]] = []
    for n, period in enumerate(series.periods):
        if series.was_inspected(n):
            continue
        if groups and groups[-1][-1] == n - 1 and series.periods[n - 1].until_utc == period.since_utc:
            groups[-1].append(n)
        else:
            groups.append([n])
    return [
        WithoutPoint(
            series.periods[own[0]].since_utc,
            series.periods[own[-1]].until_utc,
            len(own),
            sum(series.events[n] for n in own),
        )
        for own in groups
    ]
