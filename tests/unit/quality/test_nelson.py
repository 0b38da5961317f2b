# SPDX-License-Identifier: AGPL-3.0-or-later
"""Nelson's tests against a reference package, their wording, and the false alarms that are promised."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, poisson

from vision_line.quality.control_charts import ChartKind, ControlLimits, control_chart
from vision_line.quality.false_alarms import (
    beyond_limits_rate,
    beyond_share_limits_rate,
    expected_false_alarms,
    false_alarm_rate,
)
from vision_line.quality.intervals import Floats
from vision_line.quality.nelson import DEFAULT_TESTS, NELSON_TESTS, NelsonSignal, nelson_signals

REFERENCE: dict[str, Any] = json.loads(Path(__file__).with_name("shewhart_reference.json").read_text(encoding="utf-8"))
POINTS = 1_000_000
#: Of tests 5 and 6 the reference flags the points beyond alone, of the others the whole pattern.
FLAGGED_BEYOND = {5: 2.0, 6: 1.0}


@pytest.fixture(scope="module")
def in_control() -> Floats:
    """Return a million points of a process in control."""
    return np.random.default_rng(20261128).normal(size=POINTS)


@pytest.mark.parametrize("test", NELSON_TESTS)
def test_equal_to_the_reference_package(test: int) -> None:
    """The same points are flagged, in data where each test signals."""
    z = np.array(REFERENCE["z"])
    flagged = {
        point
        for signal in nelson_signals(z, (test,))
        for point in range(signal.first, signal.last + 1)
        if test not in FLAGGED_BEYOND or z[point] * signal.side > FLAGGED_BEYOND[test]
    }

    assert REFERENCE["flagged"][str(test)]
    assert sorted(flagged) == REFERENCE["flagged"][str(test)]


@pytest.mark.parametrize(
    ("test", "z"),
    [
        (1, [3.1]),
        (2, [0.1] * 9),
        (3, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        (4, [0.5, -0.5] * 7),
        (5, [2.1, 0.0, 2.1]),
        (6, [1.1, 1.1, 0.0, 1.1, 1.1]),
        (7, [0.9, -0.9, 0.5] * 5),
        (8, [1.1, -1.1] * 4),
    ],
)
def test_the_smallest_pattern(test: int, z: list[float]) -> None:
    """As many points as the words say: one signal over all of them, and none with a point less."""
    assert len(z) == NELSON_TESTS[test].points
    side = 0 if test in (4, 7, 8) else 1
    assert nelson_signals(np.array(z), (test,)) == [NelsonSignal(0, len(z) - 1, test, side)]
    assert nelson_signals(-np.array(z), (test,)) == [NelsonSignal(0, len(z) - 1, test, -side)]
    assert nelson_signals(np.array(z[1:]), (test,)) == []


@pytest.mark.parametrize(
    ("test", "z"),
    [
        (1, [3.0]),
        (2, [0.1] * 4 + [0.0] + [0.1] * 4),  # on the line is on neither side
        (3, [0.0, 0.1, 0.2, 0.2, 0.3, 0.4]),
        (4, [0.5, -0.5] * 6 + [-0.5, 0.5]),
        (5, [2.1, 0.0, -2.1]),
        (6, [1.1, 1.1, 0.0, 1.1, -1.1]),
        (7, [0.9] * 14 + [1.0]),
        (8, [1.1] * 7 + [1.0]),
    ],
)
def test_what_only_just_is_none(test: int, z: list[float]) -> None:
    """On a limit is not beyond it, and sides are not mixed."""
    assert nelson_signals(np.array(z), (test,)) == []


def test_a_pattern_that_goes_on_is_one_signal() -> None:
    """Twelve points on one side are one finding, not four."""
    assert nelson_signals(np.array([-0.5, *[0.5] * 12, -0.5]), (2,)) == [NelsonSignal(1, 12, 2, 1)]


@given(z=st.lists(st.floats(-4, 4), max_size=60), tests=st.sets(st.sampled_from(sorted(NELSON_TESTS))))
def test_signals_lie_within_the_points(z: list[float], tests: set[int]) -> None:
    """In order, each as long as its test or longer; both sides are alike."""
    signals = nelson_signals(np.array(z), tests)
    mirrored = [replace(signal, side=-signal.side) for signal in nelson_signals(-np.array(z), tests)]

    assert signals == sorted(signals) == sorted(mirrored)
    assert all(0 <= signal.first <= signal.last < len(z) for signal in signals)
    assert all(signal.last - signal.first + 1 >= NELSON_TESTS[signal.test].points for signal in signals)


def test_false_alarms_of_the_limits(in_control: Floats) -> None:
    """0.27 % of a million points in control lie beyond 3 sigma, within four standard errors."""
    beyond = np.count_nonzero(np.abs(in_control) > 3.0)
    flagged = sum(signal.last - signal.first + 1 for signal in nelson_signals(in_control, (1,)))

    assert flagged == beyond
    assert flagged / POINTS == pytest.approx(0.0027, abs=4 * (0.0027 / POINTS) ** 0.5)


@pytest.mark.parametrize("test", NELSON_TESTS)
def test_false_alarms_of_each_test(in_control: Floats, test: int) -> None:
    """A million points in control signal as often as is promised, within five standard errors."""
    signals = len(nelson_signals(in_control, (test,)))
    promised = false_alarm_rate(test) * POINTS

    assert signals == pytest.approx(promised, abs=5 * promised**0.5)


def test_false_alarms_of_a_plant() -> None:
    """All tests on 96 hourly charts cry 35 times a day; the default on 16 cameras by shift 2.4 times a week."""
    assert expected_false_alarms(96, 168, NELSON_TESTS) == pytest.approx(7 * 35.4, abs=0.5)
    assert expected_false_alarms(16, 21, DEFAULT_TESTS) == pytest.approx(2.36, abs=0.01)


@pytest.mark.parametrize("expected", [0.3, 2.0, 9.0, 25.0, 400.0])
def test_false_alarms_of_counts(expected: float) -> None:
    """Equal to the Poisson distribution, which with few events passes the limit more often than 0.27 %."""
    distance = 3 * expected**0.5
    counts = np.arange(2000)
    outside = (counts > expected + distance) | (counts < expected - distance)

    assert beyond_limits_rate(expected) == pytest.approx(poisson.pmf(counts[outside], expected).sum(), abs=1e-9)


@pytest.mark.parametrize(("share", "parts"), [(0.01, 1), (0.02, 150), (0.001, 7000), (0.5, 40), (0.97, 90)])
def test_how_often_a_p_chart_calls_on_nothing(share: float, parts: int) -> None:
    """Exactly, as the binomial distribution has it: of 100 parts with 1 % rejected seven times what 0.27 % promises."""
    chart = control_chart(ControlLimits(ChartKind.SHARE, share), list(range(parts + 1)), [parts] * (parts + 1))
    expected = binom.pmf(np.flatnonzero(chart.beyond), parts, share).sum()
    assert beyond_share_limits_rate(share, parts) == pytest.approx(expected, abs=1e-9)
