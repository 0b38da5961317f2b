# SPDX-License-Identifier: AGPL-3.0-or-later
"""Exact intervals against published values and their own definition."""

from __future__ import annotations

from math import comb, exp, factorial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line_compression.evaluate.intervals import binomial_rate, clopper_pearson, garwood, poisson_rate


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


def test_rates_without_trials() -> None:
    """Where nothing could be counted the share is unknown, not 0."""
    unknown = binomial_rate(0, 0)
    assert (unknown.value, unknown.low, unknown.high) == (None, 0.0, 1.0)


def test_poisson_rate_per_image() -> None:
    """Count and limits are divided by the number of images."""
    rate = poisson_rate(10, 4)
    assert (rate.value, rate.low, rate.high) == pytest.approx((2.5, 4.7954 / 4, 18.3904 / 4), abs=1e-4)


@pytest.mark.parametrize(("hits", "trials"), [(-1, 5), (6, 5)])
def test_impossible_counts_are_refused(hits: int, trials: int) -> None:
    """More hits than trials are a programming error."""
    with pytest.raises(ValueError, match="expected 0 to 5 hits"):
        binomial_rate(hits, trials)
