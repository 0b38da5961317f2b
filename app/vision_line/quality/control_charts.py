# SPDX-License-Identifier: AGPL-3.0-or-later
"""Control charts of counts: u charts over inspected hours, p charts over parts, and Laney's u' and p'.

u and p charts: D. C. Montgomery, Introduction to Statistical Quality Control, 8th edition, sections 7.2 and 7.3. Their
limits assume that only chance differs between periods. Where the periods themselves differ, Laney widens them by
sigma z, the short-term spread of the standardised points: D. B. Laney, Quality Engineering 14 (2002) 531.

The area of opportunity of a period is its inspected time or its inspected parts, never the time on the wall: a camera
that was blind for half a shift has half the area.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import pi, sqrt

import numpy as np
from numpy.typing import NDArray

from vision_line.quality.intervals import Floats

#: Mean range of two standard normal values, in standard deviations: 1.128.
RANGE_OF_TWO = 2.0 / sqrt(pi)
#: How many standard deviations the limits are away.
WIDTH = 3.0


class ChartKind(StrEnum):
    """What a point is."""

    RATE = "u"  # events per inspected hour: Poisson
    SHARE = "p"  # share of the inspected parts that were rejected: binomial


@dataclass(frozen=True, slots=True)
class ControlLimits:
    """What the limits of every period are made of: the centre line and, for Laney's charts, sigma z."""

    kind: ChartKind
    center: float  # events per hour, or a share
    sigma_z: float = 1.0  # 1: the classic chart

    def sigma(self, areas: Floats) -> Floats:
        """Return the standard deviation of a point for each area (n,)."""
        variance = self.center * (1.0 - self.center) if self.kind is ChartKind.SHARE else self.center
        return self.sigma_z * np.sqrt(variance / areas)


@dataclass(frozen=True, slots=True)
class ControlChart:
    """The points of consecutive periods with their limits; each array is (n,)."""

    limits: ControlLimits
    values: Floats  # events per hour, or shares
    lower: Floats
    upper: Floats
    z: Floats  # distance from the centre line in standard deviations of the point

    @property
    def beyond(self) -> NDArray[np.bool_]:
        """Which points lie outside of their limits."""
        return np.abs(self.z) > WIDTH


def fit_limits(
    kind: ChartKind,
    counts: Sequence[float] | Floats,
    areas: Sequence[float] | Floats,
    *,
    laney: bool = False,
    left_out: Collection[int] = (),
) -> ControlLimits:
    """Return the limits that periods of the past suggest (phase I), for a person to approve.

    `areas` are inspected hours or inspected parts, above 0. `left_out`: indices of periods with a cause that was found
    and removed. Raises ValueError where no limits follow from the data.
    """
    every, size = _checked(kind, counts, areas)
    dropped = np.array(sorted(left_out), np.intp)
    number, area = _checked(kind, np.delete(every, dropped), np.delete(size, dropped))
    classic = ControlLimits(kind, float(number.sum() / area.sum()))
    _check_center(classic)
    return ControlLimits(kind, classic.center, sigma_z(control_chart(classic, number, area).z)) if laney else classic


def control_chart(
    limits: ControlLimits, counts: Sequence[float] | Floats, areas: Sequence[float] | Floats
) -> ControlChart:
    """Return the chart of these periods under limits that are given, such as an approved baseline's (phase II)."""
    number, area = _checked(limits.kind, counts, areas)
    _check_center(limits)
    values, sigma = number / area, limits.sigma(area)
    most = 1.0 if limits.kind is ChartKind.SHARE else np.inf
    return ControlChart(
        limits,
        values,
        np.maximum(0.0, limits.center - WIDTH * sigma),
        np.minimum(most, limits.center + WIDTH * sigma),
        (values - limits.center) / sigma,
    )


def sigma_z(z: Floats) -> float:
    """Return Laney's sigma z: the mean range of neighbouring standardised points, as a standard deviation."""
    if len(z) < 2:
        raise ValueError("sigma z needs two periods or more")
    spread = float(np.abs(np.diff(z)).mean()) / RANGE_OF_TWO
    if spread == 0.0:
        raise ValueError("all periods are equal: sigma z is 0 and gives no limits; the classic chart has some")
    return spread


def _checked(
    kind: ChartKind, counts: Sequence[float] | Floats, areas: Sequence[float] | Floats
) -> tuple[Floats, Floats]:
    number, area = np.asarray(counts, np.float64), np.asarray(areas, np.float64)
    if number.shape != area.shape or number.ndim != 1 or not number.size:
        raise ValueError(f"expected a count and an area for each period, got {number.shape} and {area.shape}")
    if not (area > 0).all():
        raise ValueError(f"period {int(np.argmin(area > 0))} has nothing inspected, and so no point: leave it out")
    if (number < 0).any() or (kind is ChartKind.SHARE and (number > area).any()):
        raise ValueError("a count is below 0, or above the number of parts")
    return number, area


def _check_center(limits: ControlLimits) -> None:
    if limits.center <= 0.0 or (limits.kind is ChartKind.SHARE and limits.center >= 1.0):
        raise ValueError("without an event, or with nothing but events, there is no spread and there are no limits")
