# SPDX-License-Identifier: AGPL-3.0-or-later
"""Control charts against published examples, a reference package and their own definition."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.quality.baseline import Baseline
from vision_line.quality.control_charts import ChartKind, ControlLimits, control_chart, fit_limits, sigma_z

#: What the package `shewhart` says: shewhart_reference.py makes it.
REFERENCE: dict[str, Any] = json.loads(Path(__file__).with_name("shewhart_reference.json").read_text(encoding="utf-8"))

# Montgomery, Introduction to Statistical Quality Control, table 7.1: leaking cans of orange juice in samples of 50.
CANS = (12, 15, 8, 10, 4, 7, 16, 9, 14, 10, 5, 6, 17, 12, 22, 8, 10, 5, 13, 11, 20, 18, 24, 15, 9, 12, 7, 13, 9, 6)
# The same, table 7.4: purchase orders with errors, and how many were examined in each week.
ORDERS = (12, 8, 6, 9, 10, 12, 11, 16, 10, 6, 20, 15, 9, 8, 6, 8, 10, 7, 5, 8, 5, 8, 10, 6, 9)
EXAMINED = (
    100,
    80,
    80,
    100,
    110,
    110,
    100,
    100,
    90,
    90,
    110,
    120,
    120,
    120,
    110,
    80,
    80,
    80,
    90,
    100,
    100,
    100,
    100,
    90,
    90,
)
# The same, table 7.11: defects in dyed cloth, and inspected units of 50 square metres.
DEFECTS = (14, 12, 20, 11, 7, 10, 21, 16, 19, 23)
UNITS = (10.0, 8.0, 13.0, 10.0, 9.5, 10.0, 12.0, 10.5, 12.0, 12.5)

areas = st.lists(st.floats(0.1, 100.0), min_size=2, max_size=30)


def test_orange_juice_trial_limits() -> None:
    """Equal samples: published as 0.2313, 0.0524 and 0.4102, with samples 15 and 23 outside."""
    chart = control_chart(fit_limits(ChartKind.SHARE, CANS, [50] * 30), CANS, [50] * 30)

    assert (chart.limits.center, chart.lower[0], chart.upper[0]) == pytest.approx((0.2313, 0.0524, 0.4102), abs=5e-5)
    assert np.flatnonzero(chart.beyond).tolist() == [14, 22]


def test_orange_juice_without_the_two_that_were_explained() -> None:
    """Published as 0.2150, 0.0407 and 0.3893: a person finds the cause, and the limits are fitted anew."""
    limits = fit_limits(ChartKind.SHARE, CANS, [50] * 30, left_out={14, 22})
    chart = control_chart(limits, CANS, [50] * 30)

    assert (limits.center, chart.lower[0], chart.upper[0]) == pytest.approx((0.2150, 0.0407, 0.3893), abs=5e-5)
    assert np.flatnonzero(chart.beyond).tolist() == [14, 20, 22]


def test_purchase_orders() -> None:
    """Unequal samples: published as a mean of 0.096 and 3.08 standard deviations in week 11, which alone is outside."""
    limits = fit_limits(ChartKind.SHARE, ORDERS, EXAMINED)
    chart = control_chart(limits, ORDERS, EXAMINED)

    assert limits.center == pytest.approx(234 / 2450, abs=1e-12)
    assert chart.z[[0, 10]] == pytest.approx((0.83, 3.08), abs=5e-3)
    assert np.flatnonzero(chart.beyond).tolist() == [10]


def test_dyed_cloth() -> None:
    """A u chart: published as 1.42, with 0.29 and 2.55 for the first roll, and nothing outside."""
    limits = fit_limits(ChartKind.RATE, DEFECTS, UNITS)
    chart = control_chart(limits, DEFECTS, UNITS)

    assert limits.center == pytest.approx(153 / 107.5, abs=1e-12)
    assert (chart.lower[0], chart.upper[0]) == pytest.approx((0.29, 2.55), abs=6e-3)
    assert not chart.beyond.any()


@pytest.mark.parametrize("chart", REFERENCE["charts"], ids=lambda chart: f"{chart['kind']}, laney={chart['laney']}")
def test_equal_to_the_reference_package(chart: dict[str, Any]) -> None:
    """Centre line, sigma z and the limits of each period, to 1e-9."""
    limits = fit_limits(ChartKind(chart["kind"]), chart["counts"], chart["areas"], laney=chart["laney"])
    own = control_chart(limits, chart["counts"], chart["areas"])

    assert (limits.center, limits.sigma_z) == pytest.approx((chart["center"], chart["sigma_z"]), abs=1e-9)
    assert own.lower == pytest.approx(chart["lower"], abs=1e-9)
    assert own.upper == pytest.approx(chart["upper"], abs=1e-9)


@given(areas=areas, rate=st.floats(0.5, 50.0), seed=st.integers(0, 1000))
def test_a_point_is_beyond_where_it_passes_a_limit(areas: list[float], rate: float, seed: int) -> None:
    """Standardised or drawn with its limits, a point says the same."""
    counts = np.random.default_rng(seed).poisson(2 * rate * np.array(areas)).astype(np.float64)
    chart = control_chart(ControlLimits(ChartKind.RATE, rate), counts, areas)

    passed = (chart.values > chart.upper) | (chart.values < chart.lower)
    near = np.isclose(np.abs(chart.z), 3.0, atol=1e-9)
    assert (passed == chart.beyond)[~near].all()
    assert (chart.lower >= 0).all()


@given(areas=areas, rate=st.floats(0.5, 50.0))
def test_twice_the_inspected_time_narrows_the_limits(areas: list[float], rate: float) -> None:
    """By the root of two: what was not inspected says nothing."""
    limits = ControlLimits(ChartKind.RATE, rate)

    assert limits.sigma(2 * np.array(areas)) * 2**0.5 == pytest.approx(limits.sigma(np.array(areas)), rel=1e-12)


def test_sigma_z_of_chance_alone_is_one() -> None:
    """Laney's chart is the classic one where only chance differs; where periods differ, it widens."""
    rng = np.random.default_rng(3)
    hours, rates = rng.uniform(1, 8, 20_000), 10.0 * rng.gamma(25.0, 1 / 25.0, 20_000)

    same = fit_limits(ChartKind.RATE, rng.poisson(10.0 * hours).tolist(), hours.tolist(), laney=True)
    differing = fit_limits(ChartKind.RATE, rng.poisson(rates * hours).tolist(), hours.tolist(), laney=True)

    assert same.sigma_z == pytest.approx(1.0, abs=0.02)
    assert differing.sigma_z > 1.5


@pytest.mark.parametrize(
    ("kind", "counts", "areas", "message"),
    [
        (ChartKind.RATE, [1, 2], [1.0, 0.0], "period 1 has nothing inspected"),
        (ChartKind.RATE, [0, 0], [1.0, 2.0], "no limits"),
        (ChartKind.SHARE, [3, 4], [3, 4], "no limits"),
        (ChartKind.SHARE, [5, 1], [4, 4], "above the number of parts"),
        (ChartKind.RATE, [-1, 1], [4, 4], "below 0"),
        (ChartKind.RATE, [1], [4, 4], "a count and an area"),
        (ChartKind.RATE, [], [], "a count and an area"),
    ],
)
def test_what_gives_no_chart(kind: ChartKind, counts: list[float], areas: list[float], message: str) -> None:
    """A chart that nothing supports would look like one that does."""
    with pytest.raises(ValueError, match=message):
        fit_limits(kind, counts, areas)


def test_nothing_is_left_to_fit() -> None:
    """Who leaves out every period has no baseline."""
    with pytest.raises(ValueError, match="a count and an area"):
        fit_limits(ChartKind.RATE, [3, 4], [1.0, 1.0], left_out={0, 1})


def test_sigma_z_needs_spread() -> None:
    """Limits of width 0 would call every point."""
    with pytest.raises(ValueError, match="all periods are equal"):
        fit_limits(ChartKind.RATE, [4, 4, 4], [1.0, 1.0, 1.0], laney=True)
    with pytest.raises(ValueError, match="two periods"):
        sigma_z(np.array([0.3]))


def test_a_year_of_shifts_is_drawn_at_once() -> None:
    """All points in one call; the limits stay those of the baseline, whatever comes."""
    hours = np.tile([7.5, 8.0, 3.0], 365)
    baseline = Baseline(ControlLimits(ChartKind.RATE, 12.0), 90, 0.0, 86_400.0 * 30, "M. Weber", 86_400.0 * 31)
    chart = control_chart(baseline.limits, np.full(len(hours), 40.0), hours)

    assert chart.values.shape == (1095,)
    assert chart.limits is baseline.limits
    assert chart.beyond[:3].tolist() == [True, True, False]


def test_a_baseline_has_an_age() -> None:
    """It counts from the end of what it was fitted on, not from the signature."""
    assert Baseline(ControlLimits(ChartKind.RATE, 12.0), 90, 0.0, 1000.0, "M. Weber", 5000.0).age_s(9000.0) == 8000.0


@pytest.mark.parametrize(("by", "last", "approved"), [(" ", 10.0, 20.0), ("A", 10.0, 5.0), ("A", -1.0, 20.0)])
def test_a_baseline_is_approved_by_someone_after_its_time(by: str, last: float, approved: float) -> None:
    """Limits that nobody answers for are no baseline."""
    with pytest.raises(ValueError, match="baseline"):
        Baseline(ControlLimits(ChartKind.RATE, 12.0), 90, 0.0, last, by, approved)
