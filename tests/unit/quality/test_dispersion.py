# SPDX-License-Identifier: AGPL-3.0-or-later
"""When limits are Laney's: where periods differ by more or less than chance, and hardly ever by chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.quality.control_charts import ChartKind, ControlLimits, fit_limits
from vision_line.quality.dispersion import (
    Dispersion,
    Spread,
    dispersion,
    excess_kurtosis,
    spread_of,
    suggested_limits,
)


@pytest.mark.parametrize("mean", [0.3, 1.0, 4.0, 40.0])
def test_chance_alone_keeps_the_classic_limits(mean: float) -> None:
    """Also with few events in a period, where sigma z lies far below 1: of 2000 plants with 60 periods 1 in 50."""
    chance = np.random.default_rng(7)
    plants = chance.poisson(mean, (2000, 60))
    found = [spread_of(suggested_limits(ChartKind.RATE, counts, np.ones(60))) for counts in plants if counts.any()]
    assert sum(one is not Spread.CHANCE for one in found) <= len(found) / 50


def test_the_ratio_is_1_by_chance_and_its_standard_error_is_true() -> None:
    chance = np.random.default_rng(8)
    counts = chance.poisson(2.0, (4000, 100))
    found = [dispersion((row - 2.0) / 2.0**0.5, np.full(100, 1 / 2.0)) for row in counts]
    ratios = np.array([one.ratio for one in found])
    assert ratios.mean() == pytest.approx(1.0, abs=0.01)
    assert ratios.std() == pytest.approx(found[0].standard_error, rel=0.06)


def test_periods_that_differ_get_wider_limits() -> None:
    """Each hour has a rate of its own around 20: sigma z tells how much wider."""
    chance = np.random.default_rng(9)
    counts = chance.poisson(chance.gamma(4.0, 5.0, 200)).astype(np.float64)
    limits = suggested_limits(ChartKind.RATE, counts, np.ones(200))
    assert spread_of(limits) is Spread.MORE
    assert limits == fit_limits(ChartKind.RATE, counts, np.ones(200), laney=True)
    assert limits.sigma_z == pytest.approx((1 + 20 / 4) ** 0.5, rel=0.15)


def test_a_machine_that_makes_the_same_number_gets_narrower_ones() -> None:
    chance = np.random.default_rng(10)
    limits = suggested_limits(ChartKind.RATE, chance.binomial(22, 0.9, 120).tolist(), np.ones(120))
    assert spread_of(limits) is Spread.LESS
    assert limits.sigma_z < 0.6


def test_equal_periods_keep_the_classic_limits() -> None:
    """Sigma z would be 0, and every point beyond limits without a width."""
    assert suggested_limits(ChartKind.RATE, [5, 5, 5, 5], [1.0, 1.0, 1.0, 1.0]).sigma_z == 1.0
    assert suggested_limits(ChartKind.RATE, [5], [1.0]).sigma_z == 1.0


@given(
    counts=st.lists(st.integers(0, 50), min_size=3, max_size=40).filter(any),
    out=st.integers(0, 2),
)
def test_what_is_left_out_does_not_count(counts: list[int], out: int) -> None:
    """As if it had never been."""
    kept = [*counts[:out], *counts[out + 1 :]]
    if any(kept):
        areas = [1.0 + n % 3 for n in range(len(counts))]
        without = suggested_limits(ChartKind.RATE, kept, [*areas[:out], *areas[out + 1 :]])
        assert suggested_limits(ChartKind.RATE, counts, areas, [out]) == without
        assert without.sigma_z > 0


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="two periods"):
        dispersion(np.ones(1), np.ones(1))
    with pytest.raises(ValueError, match="without an event"):
        suggested_limits(ChartKind.RATE, [0, 0], [1.0, 1.0])
    assert Dispersion(1.0, 0.1).spread is Spread.CHANCE


@pytest.mark.parametrize(("share", "parts"), [(0.002, 200), (0.02, 200), (0.3, 40), (0.5, 3000)])
def test_shares_by_chance_alone_keep_the_classic_limits(share: float, parts: int) -> None:
    """Of 2000 lanes with 60 periods 1 in 50 at most, also where hardly any part is rejected."""
    chance = np.random.default_rng(11)
    areas = np.full(60, float(parts))
    lanes = [row for row in chance.binomial(parts, share, (2000, 60)) if row.any()]
    found = [spread_of(suggested_limits(ChartKind.SHARE, row, areas)) for row in lanes]
    assert sum(one is not Spread.CHANCE for one in found) <= len(found) / 50


@pytest.mark.parametrize(("share", "parts"), [(0.01, 100), (0.5, 4), (0.2, 50)])
def test_the_standard_error_of_shares_is_true(share: float, parts: int) -> None:
    """Binomial counts have other tails than Poisson counts: thinner ones than the normal distribution around a half."""
    chance = np.random.default_rng(12)
    limits = ControlLimits(ChartKind.SHARE, share)
    sigma = (share * (1 - share) * parts) ** 0.5
    excess = excess_kurtosis(limits, np.full(100, float(parts)))
    found = [dispersion((row - share * parts) / sigma, excess) for row in chance.binomial(parts, share, (4000, 100))]
    ratios = np.array([one.ratio for one in found])
    assert ratios.mean() == pytest.approx(1.0, abs=0.01)
    assert ratios.std() == pytest.approx(found[0].standard_error, rel=0.06)


def test_lots_that_differ_get_the_wider_limits_of_laneys_p_chart() -> None:
    """With many parts in a lot every difference between lots would be called."""
    chance = np.random.default_rng(13)
    parts = chance.integers(2000, 9000, 80)
    rejected = chance.binomial(parts, 0.03 * chance.gamma(20.0, 1 / 20.0, 80)).astype(np.float64)
    limits = suggested_limits(ChartKind.SHARE, rejected, parts.astype(np.float64))
    assert spread_of(limits) is Spread.MORE
    assert limits == fit_limits(ChartKind.SHARE, rejected, parts.astype(np.float64), laney=True)
