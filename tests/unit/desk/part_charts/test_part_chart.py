# SPDX-License-Identifier: AGPL-3.0-or-later
"""The p chart of parts: published examples and a reference package, and that nothing but inspected parts counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.desk.charts.chart_periods import ChartPeriod
from vision_line.desk.part_charts.part_chart import (
    PartSeries,
    PartSums,
    false_alarms_a_point,
    fitted_share,
    part_chart,
)
from vision_line.desk.part_charts.yield_points import YieldFigure, yield_points
from vision_line.quality import ChartKind, ControlLimits, Spread, clopper_pearson, control_chart, fit_limits, spread_of

_QUALITY = Path(__file__).parents[2] / "quality"
#: What the package `shewhart` says of invented parts: tests/unit/quality/shewhart_reference.py makes it.
REFERENCE: dict[str, Any] = json.loads((_QUALITY / "shewhart_reference.json").read_text(encoding="utf-8"))
P_CHARTS = [chart for chart in REFERENCE["charts"] if chart["kind"] == "p"]
# Montgomery, Introduction to Statistical Quality Control, table 7.1: leaking cans of orange juice in samples of 50.
CANS = (12, 15, 8, 10, 4, 7, 16, 9, 14, 10, 5, 6, 17, 12, 22, 8, 10, 5, 13, 11, 20, 18, 24, 15, 9, 12, 7, 13, 9, 6)

HOURS = st.lists(
    st.tuples(st.integers(0, 300), st.floats(0, 1), st.integers(0, 40)).map(
        lambda said: PartSums(said[0], round(said[0] * said[1]), said[2], said[0] - round(said[0] * said[1]))
    ),
    min_size=1,
    max_size=40,
)


def series_of(sums: list[PartSums], left_out: frozenset[int] = frozenset()) -> PartSeries:
    """Return these hours, one after the other."""
    periods = [ChartPeriod(3600.0 * n, 3600.0 * (n + 1), f"hour {n}") for n in range(len(sums))]
    return PartSeries(periods, sums, left_out)


def hours(rejected: list[int], inspected: list[int]) -> PartSeries:
    """Return hours in which these parts of those were rejected."""
    return series_of([PartSums(n, k, 3, n - k) for k, n in zip(rejected, inspected, strict=True)])


def test_orange_juice_as_published() -> None:
    """Montgomery, example 7.1: 0.2313 with 0.0524 and 0.4102, and samples 15 and 23 beyond."""
    limits = fit_limits(ChartKind.SHARE, CANS, [50] * 30)
    chart = part_chart(hours(list(CANS), [50] * 30), limits, tests=(1,))
    first = chart.points[0]
    assert (limits.center, first.lower, first.upper) == pytest.approx((0.2313, 0.0524, 0.4102), abs=5e-5)
    assert [point.name for point in chart.points if point.tests] == ["hour 14", "hour 22"]
    assert [(signal.rejected, signal.inspected) for signal in chart.signals] == [(22, 50), (24, 50)]
    assert "above the mean" in chart.signals[0].words


@pytest.mark.parametrize("reference", P_CHARTS, ids=lambda chart: f"laney={chart['laney']}")
def test_equal_to_the_reference_package(reference: dict[str, Any]) -> None:
    """Centre line and the limits of each hour, to 1e-9, with parts beside that were not inspected."""
    counts, areas = reference["counts"], reference["areas"]
    limits = fit_limits(ChartKind.SHARE, counts, areas, laney=reference["laney"])
    chart = part_chart(hours(counts, [int(area) for area in areas]), limits)
    assert (limits.center, limits.sigma_z) == pytest.approx((reference["center"], reference["sigma_z"]), abs=1e-9)
    assert [point.lower for point in chart.points] == pytest.approx(reference["lower"], abs=1e-9)
    assert [point.upper for point in chart.points] == pytest.approx(reference["upper"], abs=1e-9)


def test_laneys_limits_come_where_hours_differ_by_more_than_chance() -> None:
    """The published cans do: the samples of some half hours had a new batch, or an operator without experience."""
    limits = fitted_share(hours(list(CANS), [50] * 30))
    assert isinstance(limits, ControlLimits)
    assert spread_of(limits) is Spread.MORE
    assert limits == fit_limits(ChartKind.SHARE, CANS, [50] * 30, laney=True)


@given(sums=HOURS, missed=st.lists(st.integers(0, 1000), min_size=40, max_size=40))
def test_parts_that_were_not_inspected_change_no_point_and_no_yield(sums: list[PartSums], missed: list[int]) -> None:
    """However many there are: only what stands beside says so."""
    limits = ControlLimits(ChartKind.SHARE, 0.1)
    more = [PartSums(one.inspected, one.rejected, number, one.good) for one, number in zip(sums, missed, strict=False)]
    here, there = series_of(sums), series_of(more)
    shown, other = part_chart(here, limits), part_chart(there, limits)
    assert [(one.value, one.lower, one.upper, one.tests) for one in shown.points] == [
        (one.value, one.lower, one.upper, one.tests) for one in other.points
    ]
    assert [(one.value, one.lower) for one in yield_points(here)] == [
        (one.value, one.lower) for one in yield_points(there)
    ]
    assert there.total.not_inspected == sum(one.not_inspected for one in more)
    without = {gap.name for gap in other.without}
    assert without == {f"hour {n}" for n, one in enumerate(more) if one.not_inspected and not one.inspected}


@given(sums=HOURS)
def test_points_are_shares_of_inspected_parts_and_add_up_to_all(sums: list[PartSums]) -> None:
    chart = part_chart(series_of(sums), ControlLimits(ChartKind.SHARE, 0.2))
    assert sum(point.inspected for point in chart.points) == sum(one.inspected for one in sums)
    for point in chart.points:
        assert point.value == point.rejected / point.inspected
        assert 0.0 <= point.lower <= 0.2 <= point.upper <= 1.0


@given(sums=HOURS)
def test_yields_have_exact_limits(sums: list[PartSums]) -> None:
    points = yield_points(series_of(sums))
    assert len(points) == sum(one.inspected > 0 for one in sums)
    for point in points:
        assert (point.lower, point.upper) == clopper_pearson(point.good, point.inspected)
        assert point.lower <= point.value <= point.upper


def test_a_part_that_was_found_defective_later_is_inspected_and_not_good() -> None:
    """It was let through, so the p chart has it among the inspected ones alone."""
    (point,) = yield_points(series_of([PartSums(inspected=10, rejected=2, good=7)]))
    assert (point.good, point.value) == (7, 0.7)
    assert YieldFigure(PartSums()).value is None


def test_an_hour_without_a_part_is_no_hour_without_inspection() -> None:
    """Nobody has to look for what stood still."""
    chart = part_chart(
        series_of([PartSums(10, 1, 0, 9), PartSums(), PartSums(not_inspected=4)]), ControlLimits(ChartKind.SHARE, 0.1)
    )
    assert [gap.name for gap in chart.without] == ["hour 2"]
    assert len(chart.points) == 1


def test_what_is_left_out_is_in_no_limit() -> None:
    sums = [PartSums(100, 3 + n % 3, 0, 90) for n in range(24)]
    series = series_of([*sums, PartSums(100, 90, 0, 10)], left_out=frozenset({24}))
    assert fitted_share(series) == fitted_share(series_of(sums))
    assert series.kept_total.inspected == 2400
    assert series.total.inspected == 2500


@pytest.mark.parametrize(
    ("sums", "said"),
    [
        ([PartSums(10, 1, 0, 9)] * 19, "limits need 20 or more"),
        ([PartSums(10, 0, 0, 10)] * 20, "no part was rejected"),
        ([PartSums(10, 10, 0, 0)] * 20, "no part was rejected, or every one"),
        ([PartSums(not_inspected=9)] * 20, "0 points"),
    ],
)
def test_few_points_and_no_rejects_give_no_limits(sums: list[PartSums], said: str) -> None:
    limits = fitted_share(series_of(sums))
    assert isinstance(limits, str)
    assert said in limits
    assert part_chart(series_of(sums), limits).refused == limits


def test_without_an_inspected_part_approved_limits_show_no_point() -> None:
    chart = part_chart(series_of([PartSums(not_inspected=2)]), ControlLimits(ChartKind.SHARE, 0.1))
    assert "no part was inspected" in chart.refused
    assert len(chart.without) == 1


def test_false_alarms_are_as_many_as_simulated_lanes_have() -> None:
    """Test 1 by the binomial distribution: with 2 expected rejects it calls more often than 0.27 %."""
    limits, areas = ControlLimits(ChartKind.SHARE, 0.02), np.full(200_000, 100.0)
    found = control_chart(limits, np.random.default_rng(4).binomial(100, 0.02, 200_000).astype(np.float64), areas)
    promised = false_alarms_a_point(limits, areas, (1,))
    assert promised > 0.004
    assert found.beyond.mean() == pytest.approx(promised, abs=4 * (promised / 200_000) ** 0.5)
    assert false_alarms_a_point(ControlLimits(ChartKind.SHARE, 0.02, 2.0), areas, (1,)) == pytest.approx(
        0.0027, abs=1e-4
    )
