# SPDX-License-Identifier: AGPL-3.0-or-later
"""First-pass yield over time: of each period or lot, good by inspected parts with exact limits. Pure.

A part of which a reject was found later is not good, and one that was not inspected is in neither number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vision_line.desk.charts.chart_periods import ChartPeriod
from vision_line.desk.part_charts.part_chart import PartSeries, PartSums
from vision_line.quality import clopper_pearson


@dataclass(frozen=True, slots=True)
class YieldFigure:
    """The yield of some parts with its exact 95 % limits; None where none was inspected."""

    sums: PartSums

    @property
    def value(self) -> float | None:
        """The yield."""
        return self.sums.good / self.sums.inspected if self.sums.inspected else None

    @property
    def limits(self) -> tuple[float, float]:
        """Its limits."""
        return clopper_pearson(self.sums.good, self.sums.inspected)


@dataclass(frozen=True, slots=True)
class YieldPoint:
    """The yield of a period or lot with its exact 95 % limits, and how many parts were not inspected."""

    name: str
    since_utc: float
    until_utc: float
    good: int
    inspected: int
    not_inspected: int
    value: float
    lower: float
    upper: float


def yield_points(series: PartSeries) -> Sequence[YieldPoint]:
    """Return the yield of each period of which a part was inspected."""
    return [_point(period, sums) for period, sums in zip(series.periods, series.sums, strict=True) if sums.inspected]


def _point(period: ChartPeriod, sums: PartSums) -> YieldPoint:
    lower, upper = clopper_pearson(sums.good, sums.inspected)
    return YieldPoint(
        name=period.name,
        since_utc=period.since_utc,
        until_utc=period.until_utc,
        good=sums.good,
        inspected=sums.inspected,
        not_inspected=sums.not_inspected,
        value=sums.good / sums.inspected,
        lower=lower,
        upper=upper,
    )
