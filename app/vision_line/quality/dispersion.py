# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether periods differ by more, or by less, than chance: when limits are Laney's, and when the classic ones.

Chance alone gives the standardised points the variance 1, whatever their means. Their short-term variance is half the
mean square of the steps between neighbours (J. von Neumann, Annals of Mathematical Statistics 12 (1941) 367). Where it
is further from 1 than three of its standard errors, the limits are Laney's: wider, or narrower. Sigma z itself would
not do as a test, because with few events in a period it lies below 1 by chance.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import sqrt

import numpy as np

from vision_line.quality.control_charts import ChartKind, ControlLimits, control_chart, fit_limits
from vision_line.quality.intervals import Floats

#: So many standard errors away from 1 is no chance.
TOO_FAR = 3.0


class Spread(StrEnum):
    """How periods differ."""

    CHANCE = "chance"
    MORE = "more than chance"
    LESS = "less than chance"


@dataclass(frozen=True, slots=True)
class Dispersion:
    """The short-term variance of standardised points, 1 by chance, and its standard error where only chance works."""

    ratio: float
    standard_error: float

    @property
    def spread(self) -> Spread:
        """What it says."""
        if abs(self.ratio - 1.0) <= TOO_FAR * self.standard_error:
            return Spread.CHANCE
        return Spread.MORE if self.ratio > 1.0 else Spread.LESS


def dispersion(z: Floats, excess: Floats) -> Dispersion:
    """Return the dispersion of standardised points (n,) of counts with these excess kurtoses (n,); n >= 2."""
    if len(z) < 2 or z.shape != excess.shape:
        raise ValueError("dispersion needs two periods or more, each with the excess kurtosis of its count")
    return Dispersion(float((np.diff(z) ** 2).mean()) / 2.0, sqrt((3.0 + float(excess.mean())) / len(z)))


def suggested_limits(
    kind: ChartKind,
    counts: Sequence[float] | Floats,
    areas: Sequence[float] | Floats,
    left_out: Collection[int] = (),
) -> ControlLimits:
    """Return the limits that periods of the past suggest, Laney's where they differ not by chance alone.

    Raises ValueError where no limits follow from the data, as `fit_limits` does.
    """
    kept = np.delete(np.arange(len(counts)), sorted(left_out))
    number, area = np.asarray(counts, np.float64)[kept], np.asarray(areas, np.float64)[kept]
    classic = fit_limits(kind, number.tolist(), area.tolist())
    z = control_chart(classic, number, area).z
    if len(z) < 2 or not np.diff(z).any():
        return classic
    spread = dispersion(z, excess_kurtosis(classic, area)).spread
    return classic if spread is Spread.CHANCE else fit_limits(kind, number, area, laney=True)


def excess_kurtosis(limits: ControlLimits, areas: Floats) -> Floats:
    """Return that of each period's count (n,) where only chance works: of Poisson counts, or of binomial ones."""
    if limits.kind is ChartKind.RATE:
        return 1.0 / (limits.center * areas)
    variance = limits.center * (1.0 - limits.center)
    return (1.0 - 6.0 * variance) / (variance * areas)


def spread_of(limits: ControlLimits) -> Spread:
    """Return how the periods differed that these limits are from."""
    if limits.sigma_z == 1.0:
        return Spread.CHANCE
    return Spread.MORE if limits.sigma_z > 1.0 else Spread.LESS
