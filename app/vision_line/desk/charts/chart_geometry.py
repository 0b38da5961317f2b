# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where a control chart is drawn, on the desk and in the report: x from the left, y from the top."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Protocol

import numpy as np

from vision_line.desk.inspected.coverage_bar import axis
from vision_line.desk.local_time import ChosenTime, plant_clock
from vision_line.quality import ControlLimits

WIDTH, HEIGHT = 720.0, 180.0
LEFT = 44.0
_TOP, _BOTTOM = 10.0, 22.0
#: Limits of the few periods with a small area may stick out, or the points would lie on the axis.
_SHOWN_LIMITS = 90
_MOST_MARKS = 10
_DAY_S = 86_400.0
#: Drawn smaller where there are more points than this.
_MANY = 150


class DrawnPeriod(Protocol):
    """A time that something is drawn of."""

    @property
    def since_utc(self) -> float:
        """When it begins."""

    @property
    def until_utc(self) -> float:
        """When it ends."""


class DrawnPoint(DrawnPeriod, Protocol):
    """A point with its limits."""

    @property
    def value(self) -> float:
        """What it is."""

    @property
    def lower(self) -> float:
        """Its lower limit."""

    @property
    def upper(self) -> float:
        """Its upper limit."""


class DrawnChart(Protocol):
    """What is drawn: a chart of rates or of shares."""

    @property
    def limits(self) -> ControlLimits | None:
        """What its limits are made of."""

    @property
    def points(self) -> Sequence[DrawnPoint]:
        """Its points, in their order."""

    @property
    def without(self) -> Sequence[DrawnPeriod]:
        """Times without a point because nothing was inspected."""


@dataclass(frozen=True, slots=True)
class PlacedPoint:
    """A point, in the middle of its period."""

    point: DrawnPoint
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class PlacedGap:
    """Periods without a point, from `x0` to `x1`."""

    without: DrawnPeriod
    x0: float
    x1: float


@dataclass(frozen=True, slots=True)
class ChartGeometry:
    """A whole chart; `highest` is the value at the top; `bands` are paths of the limits."""

    width: float
    height: float
    left: float
    y_center: float
    y_zero: float
    y_top: float
    highest: float
    radius: float
    points: Sequence[PlacedPoint]
    gaps: Sequence[PlacedGap]
    bands: Sequence[str]

    @property
    def lines(self) -> list[str]:
        """The points of lines through points that follow each other."""
        return [" ".join(f"{one.x:.1f},{one.y:.1f}" for one in group) for group in _side_by_side(self.points)]


def x_of(utc: float, time: ChosenTime) -> float:
    """Return where a moment is, on the edge where it lies outside of `time`."""
    within = min(max(utc, time.since_utc), time.until_utc)
    return LEFT + (WIDTH - LEFT) * (within - time.since_utc) / time.length_s


def chart_geometry(chart: DrawnChart, time: ChosenTime) -> ChartGeometry:
    """Return where everything of a chart that has points is drawn."""
    if chart.limits is None:
        raise ValueError("a chart without limits has no points")
    shown = float(np.percentile([one.upper for one in chart.points], _SHOWN_LIMITS))
    highest = 1.05 * max(shown, chart.limits.center, *(one.value for one in chart.points))
    zero = HEIGHT - _BOTTOM

    def y(value: float) -> float:
        return max(_TOP / 2, zero - (zero - _TOP) * value / highest)

    def x(utc: float) -> float:
        return x_of(utc, time)

    def band(points: Sequence[PlacedPoint]) -> str:
        """Return the outline of the limits: the upper ones from left to right, the lower ones back."""
        there = (
            f"L{x(one.point.since_utc):.1f} {y(one.point.upper):.1f}H{x(one.point.until_utc):.1f}" for one in points
        )
        back = (f"V{y(one.point.lower):.1f}H{x(one.point.since_utc):.1f}" for one in reversed(points))
        return f"M{''.join(there)[1:]}{''.join(back)}Z"

    points = [PlacedPoint(one, x((one.since_utc + one.until_utc) / 2), y(one.value)) for one in chart.points]
    return ChartGeometry(
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        y_center=y(chart.limits.center),
        y_zero=zero,
        y_top=_TOP,
        highest=highest,
        radius=3.5 if len(points) <= _MANY else 1.8,
        points=points,
        gaps=[PlacedGap(one, x(one.since_utc), x(one.until_utc)) for one in chart.without],
        bands=[band(group) for group in _side_by_side(points)],
    )


def chart_marks(time: ChosenTime) -> list[tuple[float, float]]:
    """Return the marks of the time axis: place in percent, and moment; of more than three days, midnights."""
    if time.length_s <= 3 * _DAY_S:
        return axis(time)
    first, last = (plant_clock().local(utc).date() for utc in (time.since_utc, time.until_utc))
    step = -(-(last - first).days // _MOST_MARKS)
    days = (first + timedelta(days=step * n) for n in range((last - first).days // step + 1))
    moments = (plant_clock().whole_day(day).since_utc for day in days)
    return [(100.0 * (utc - time.since_utc) / time.length_s, utc) for utc in moments if time.since_utc <= utc]


def _side_by_side(points: Sequence[PlacedPoint]) -> list[list[PlacedPoint]]:
    """Return the points in groups within which no period is missing."""
    groups: list[list[PlacedPoint]] = [[*points[:1]]]
    for before, after in pairwise(points):
        if before.point.until_utc != after.point.since_utc:
            groups.append([])
        groups[-1].append(after)
    return groups
