# SPDX-License-Identifier: AGPL-3.0-or-later
"""Exact intervals against published values and their own definition."""

from __future__ import annotations

from math import comb, exp, factorial

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import beta, binom, chi2, poisson

from vision_line.quality.intervals import (
    binomial_at_most,
    clopper_pearson,
    garwood,
    poisson_at_least,
    poisson_at_most,
)


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [
        (0, 10, 0.0, 0.30850),  # 1 - 0.025 ** (1 / 10)
        (10, 10, 0.69150, 1.0),
        (5, 10, 0.18709, 0.81291),  # the usual table of 95 % limits
        (1, 20, 0.00127, 0.24873),
        (0, 2195, 0.0, 0.001679),
    ],
)
def test_clopper_pearson_known_values(hits: int, trials: int, low: float, high: float) -> None:
    """The limits are those of published tables."""
    assert clopper_pearson(hits, trials) == pytest.approx((low, high), abs=1e-5)


@given(trials=st.integers(1, 60), data=st.data())
def test_clopper_pearson_definition(trials: int, data: st.DataObject) -> None:
    """At each limit, what was seen or worse has a probability of 2.5 %."""
    hits = data.draw(st.integers(0, trials))

    low, high = clopper_pearson(hits, trials)

    def chance(share: float, outcomes: range) -> float:
        return sum(comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in outcomes)

    assert low <= hits / trials <= high
    assert hits == 0 or chance(low, range(hits, trials + 1)) == pytest.approx(0.025, abs=1e-9)
    assert hits == trials or chance(high, range(hits + 1)) == pytest.approx(0.025, abs=1e-9)


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(0, 0.0, 3.6889), (1, 0.0253, 5.5716), (10, 4.7954, 18.3904), (100, 81.3639, 121.6268)],
)
def test_garwood_known_values(count: int, low: float, high: float) -> None:
    """The limits are those of published tables."""
    assert garwood(count) == pytest.approx((low, high), abs=2e-4)


def test_garwood_definition() -> None:
    """At each limit, what was seen or worse has a probability of 2.5 %."""
    low, high = garwood(7)

    def at_most(mean: float, most: int) -> float:
        return sum(exp(-mean) * mean**k / factorial(k) for k in range(most + 1))

    assert 1 - at_most(low, 6) == pytest.approx(0.025, abs=1e-9)
    assert at_most(high, 7) == pytest.approx(0.025, abs=1e-9)


def test_large_counts() -> None:
    """Counts of a whole night do not overflow."""
    low, high = clopper_pearson(40_000, 100_000)
    assert (low, high) == pytest.approx((0.39696, 0.40304), abs=1e-5)
    assert garwood(20_000) == pytest.approx((19_723.8, 20_279.1), abs=1)


@pytest.mark.parametrize("trials", [1, 7, 60, 623, 5_000, 100_000])
@pytest.mark.parametrize("share", [0.0, 0.002, 0.3, 1.0])
def test_shares_equal_scipy(trials: int, share: float) -> None:
    """The limits are quantiles of the beta distribution; with large counts too."""
    hits = round(share * trials)
    low = beta.ppf(0.025, hits, trials - hits + 1) if hits else 0.0
    high = beta.ppf(0.975, hits + 1, trials - hits) if hits < trials else 1.0

    assert clopper_pearson(hits, trials) == pytest.approx((low, high), abs=1e-9)


@pytest.mark.parametrize("count", [0, 1, 3, 12, 400, 20_000])
def test_means_equal_scipy(count: int) -> None:
    """The limits are half the quantiles of the chi-squared distribution."""
    low = chi2.ppf(0.025, 2 * count) / 2 if count else 0.0
    high = chi2.ppf(0.975, 2 * count + 2) / 2

    assert garwood(count) == pytest.approx((low, high), rel=1e-9)


@pytest.mark.parametrize("mean", [0.0, 0.1, 6.6, 12.0, 900.0])
@pytest.mark.parametrize("count", [0, 1, 9, 850])
def test_tails_equal_scipy(count: int, mean: float) -> None:
    """Both tails hold the count itself."""
    assert poisson_at_most(count, mean) == pytest.approx(poisson.cdf(count, mean), abs=1e-9)
    assert poisson_at_least(count, mean) == pytest.approx(poisson.sf(count - 1, mean), abs=1e-9)


@given(trials=st.integers(0, 5000), count=st.integers(-2, 5002), share=st.floats(0.0, 1.0))
@example(trials=3_000_000, count=5, share=1e-6)
@example(trials=3_000_000, count=0, share=0.01)
def test_binomial_tails_equal_scipy(trials: int, count: int, share: float) -> None:
    """Also of millions of parts of which hardly any hits: it takes as long as `count` is."""
    assert binomial_at_most(count, trials, share) == pytest.approx(binom.cdf(count, trials, share), abs=1e-9)


@pytest.mark.parametrize(("hits", "trials"), [(-1, 5), (6, 5)])
def test_impossible_counts_have_no_limits(hits: int, trials: int) -> None:
    """More hits than trials are a programming error, and so is a count below zero."""
    with pytest.raises(ValueError, match="expected 0 to 5 hits"):
        clopper_pearson(hits, trials)
    with pytest.raises(ValueError, match="expected a count"):
        garwood(-1)
