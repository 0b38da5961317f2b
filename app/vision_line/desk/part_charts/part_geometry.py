# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where what stands beside a p chart is drawn: what was not inspected, and yields with their limits. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vision_line.desk.charts.chart_geometry import LEFT, WIDTH, ChartGeometry, chart_geometry, x_of
from vision_line.desk.local_time import ChosenTime
from vision_line.desk.part_charts.part_chart import PartChart, PartSeries, PartSums
from vision_line.desk.part_charts.yield_points import YieldPoint

MISSED_HEIGHT, YIELD_HEIGHT = 52.0, 140.0
_TOP, _BOTTOM = 10.0, 22.0
#: The strip ends at this share at the least, or a single part of thousands would fill it.
_LEAST_SHOWN = 0.01
#: Bars and points are not narrower than this.
_NARROWEST = 1.0
_MANY = 150


@dataclass(frozen=True, slots=True)
class MissedBar:
    """The parts of a period that were not inspected."""

    name: str
    sums: PartSums
    x: float
    width: float
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class MissedStrip:
    """Of each period the share that was not inspected; `highest` is that at the top."""

    width: float
    height: float
    left: float
    y_zero: float
    highest: float
    bars: Sequence[MissedBar]


@dataclass(frozen=True, slots=True)
class PlacedYield:
    """A yield in the middle of its period, with its limits from `y_high` at the top to `y_low`."""

    point: YieldPoint
    x: float
    y: float
    y_low: float
    y_high: float


@dataclass(frozen=True, slots=True)
class YieldGeometry:
    """Yields from `lowest` at the bottom to 100 % at the top."""

    width: float
    height: float
    left: float
    y_zero: float
    y_top: float
    lowest: float
    radius: float
    points: Sequence[PlacedYield]


@dataclass(frozen=True, slots=True)
class LaneDrawing:
    """All that is drawn of a lane; None: there is nothing to draw."""

    chart: ChartGeometry | None
    missed: MissedStrip | None
    yields: YieldGeometry | None


def lane_drawing(series: PartSeries, chart: PartChart, yields: Sequence[YieldPoint], time: ChosenTime) -> LaneDrawing:
    """Return where everything of a lane is drawn."""
    return LaneDrawing(
        chart_geometry(chart, time) if chart.points else None,
        missed_strip(series, time) if series.total.parts else None,
        yield_geometry(yields, time) if yields else None,
    )


def missed_strip(series: PartSeries, time: ChosenTime) -> MissedStrip:
    """Return the strip of a lane of which parts passed."""
    shares = [sums.missed_share or 0.0 for sums in series.sums]
    highest = max(_LEAST_SHOWN, *shares)
    zero = MISSED_HEIGHT - 4.0
    bars = []
    for period, sums, share in zip(series.periods, series.sums, shares, strict=True):
        if share:
            x0, x1 = x_of(period.since_utc, time), x_of(period.until_utc, time)
            height = max(_NARROWEST, (zero - _TOP) * share / highest)
            bars.append(MissedBar(period.name, sums, x0, max(_NARROWEST, x1 - x0), zero - height, height))
    return MissedStrip(WIDTH, MISSED_HEIGHT, LEFT, zero, highest, bars)


def yield_geometry(yields: Sequence[YieldPoint], time: ChosenTime) -> YieldGeometry:
    """Return where yields are drawn, of which there are some."""
    lowest = min(0.999, *(one.lower for one in yields))
    zero = YIELD_HEIGHT - _BOTTOM

    def y(share: float) -> float:
        return zero - (zero - _TOP) * (share - lowest) / (1.0 - lowest)

    points = [
        PlacedYield(one, x_of((one.since_utc + one.until_utc) / 2, time), y(one.value), y(one.lower), y(one.upper))
        for one in yields
    ]
    radius = 3.5 if len(points) <= _MANY else 1.8
    return YieldGeometry(
        width=WIDTH,
        height=YIELD_HEIGHT,
        left=LEFT,
        y_zero=zero,
        y_top=_TOP,
        lowest=lowest,
        radius=radius,
        points=points,
    )
