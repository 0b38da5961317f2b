# SPDX-License-Identifier: AGPL-3.0-or-later
"""The p chart of consecutive periods or lots: rejected by inspected parts, limits, signals, false alarms. Pure.

A part that was not inspected is in neither number. It stands beside: a period of which no part was inspected has no
point.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from vision_line.desk.charts.called_points import called_points, signal_words
from vision_line.desk.charts.chart_periods import ChartPeriod
from vision_line.desk.charts.rate_chart import FEWEST_PERIODS
from vision_line.desk.inspected.opportunity import Floats
from vision_line.quality import (
    DEFAULT_TESTS,
    ChartKind,
    ControlLimits,
    NelsonSignal,
    beyond_share_limits_rate,
    control_chart,
    false_alarm_rate,
    suggested_limits,
)

_WEEK_S = 604_800.0


@dataclass(frozen=True, slots=True)
class PartSums:
    """The parts of a period. `good`: let through, and no reject is known of them."""

    inspected: int = 0
    rejected: int = 0
    not_inspected: int = 0
    good: int = 0

    @property
    def parts(self) -> int:
        """All of them."""
        return self.inspected + self.not_inspected

    @property
    def missed_share(self) -> float | None:
        """Which share was not inspected; None: no part passed."""
        return self.not_inspected / self.parts if self.parts else None

    def __add__(self, other: PartSums) -> PartSums:
        """Return both together."""
        return PartSums(
            self.inspected + other.inspected,
            self.rejected + other.rejected,
            self.not_inspected + other.not_inspected,
            self.good + other.good,
        )


@dataclass(frozen=True, slots=True)
class PartSeries:
    """The parts of consecutive periods or lots, each (n,); `left_out` has the numbers of excluded ones."""

    periods: Sequence[ChartPeriod]
    sums: Sequence[PartSums]
    left_out: frozenset[int] = frozenset()

    @property
    def kept(self) -> list[int]:
        """The numbers of those that have a point: a part was inspected, and nobody excluded them."""
        return [n for n, sums in enumerate(self.sums) if n not in self.left_out and sums.inspected]

    @property
    def total(self) -> PartSums:
        """All parts."""
        return sum(self.sums, PartSums())

    @property
    def kept_total(self) -> PartSums:
        """The parts of those that nobody excluded."""
        return sum((sums for n, sums in enumerate(self.sums) if n not in self.left_out), PartSums())

    def rejected(self, of: Sequence[int]) -> Floats:
        """Return the rejected parts of these periods."""
        return np.array([self.sums[n].rejected for n in of], np.float64)

    def inspected(self, of: Sequence[int]) -> Floats:
        """Return the inspected parts of these periods."""
        return np.array([self.sums[n].inspected for n in of], np.float64)


@dataclass(frozen=True, slots=True)
class PartPoint:
    """A period or lot: its parts, the share of rejected by inspected ones, and its limits."""

    name: str
    since_utc: float
    until_utc: float
    inspected: int
    rejected: int
    not_inspected: int
    value: float
    lower: float
    upper: float
    tests: Sequence[int]  # that call it


@dataclass(frozen=True, slots=True)
class PartSignal:
    """Points side by side that a test calls, from the first one's period to the last one's."""

    test: int
    words: str
    since_utc: float
    until_utc: float
    first: str
    last: str
    rejected: int
    inspected: int


@dataclass(frozen=True, slots=True)
class UninspectedPeriod:
    """A period or lot in which parts passed, and none of them was inspected."""

    name: str
    since_utc: float
    until_utc: float
    not_inspected: int


@dataclass(frozen=True, slots=True)
class PartChart:
    """The chart; `refused` says why there is none. `false_alarms_a_week`: where nothing changes, at this inspection."""

    refused: str
    limits: ControlLimits | None = None
    false_alarms_a_week: float = 0.0
    points: Sequence[PartPoint] = ()
    signals: Sequence[PartSignal] = ()
    without: Sequence[UninspectedPeriod] = ()
    tests: Sequence[int] = field(default=DEFAULT_TESTS)


def fitted_share(series: PartSeries) -> ControlLimits | str:
    """Return the limits that these periods suggest, or why there are none."""
    kept = series.kept
    if len(kept) < FEWEST_PERIODS:
        return f"{len(kept)} points; limits need {FEWEST_PERIODS} or more"
    try:
        return suggested_limits(ChartKind.SHARE, series.rejected(kept), series.inspected(kept))
    except ValueError:
        return "no part was rejected, or every one, so there is no spread and there are no limits"


def part_chart(series: PartSeries, limits: ControlLimits | str, tests: Collection[int] = DEFAULT_TESTS) -> PartChart:
    """Return the chart of `series` by given limits; text instead says why there are none."""
    kept, without = series.kept, _without(series)
    if isinstance(limits, str):
        return PartChart(limits, without=without)
    if not kept:
        return PartChart("no part was inspected, so there is no point", without=without)
    areas = series.inspected(kept)
    chart = control_chart(limits, series.rejected(kept), areas)
    called = called_points(chart.z, tests)
    points = [
        PartPoint(
            name=series.periods[n].name,
            since_utc=series.periods[n].since_utc,
            until_utc=series.periods[n].until_utc,
            inspected=series.sums[n].inspected,
            rejected=series.sums[n].rejected,
            not_inspected=series.sums[n].not_inspected,
            value=float(chart.values[place]),
            lower=float(chart.lower[place]),
            upper=float(chart.upper[place]),
            tests=called.tests[place],
        )
        for place, n in enumerate(kept)
    ]
    whole_s = series.periods[-1].until_utc - series.periods[0].since_utc
    return PartChart(
        refused="",
        limits=limits,
        false_alarms_a_week=_WEEK_S / whole_s * len(kept) * false_alarms_a_point(limits, areas, tests),
        points=points,
        signals=[_signal(points[signal.first : signal.last + 1], signal) for signal in called.signals],
        without=without,
        tests=sorted(tests),
    )


def false_alarms_a_point(limits: ControlLimits, areas: Floats, tests: Collection[int]) -> float:
    """Return how often these tests call, per point, where nothing changes.

    Test 1 is reckoned by the binomial distribution of the mean area (n,), unless the limits are Laney's.
    """
    parts = max(1, round(float(areas.mean())))
    first = beyond_share_limits_rate(limits.center, parts) if limits.sigma_z == 1.0 else false_alarm_rate(1)
    return sum(first if test == 1 else false_alarm_rate(test) for test in tests)


def _signal(points: Sequence[PartPoint], signal: NelsonSignal) -> PartSignal:
    return PartSignal(
        test=signal.test,
        words=signal_words(signal),
        since_utc=points[0].since_utc,
        until_utc=points[-1].until_utc,
        first=points[0].name,
        last=points[-1].name,
        rejected=sum(point.rejected for point in points),
        inspected=sum(point.inspected for point in points),
    )


def _without(series: PartSeries) -> list[UninspectedPeriod]:
    return [
        UninspectedPeriod(period.name, period.since_utc, period.until_utc, sums.not_inspected)
        for period, sums in zip(series.periods, series.sums, strict=True)
        if sums.not_inspected and not sums.inspected
    ]
