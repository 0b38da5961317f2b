# SPDX-License-Identifier: AGPL-3.0-or-later
"""Scales and labels of plots."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line_compression.charts import Scale, nice_range, nice_step, spread


def test_linear_scale() -> None:
    """Values map onto pixels; those outside onto the edge."""
    scale = Scale(0.0, 10.0, 100.0, 0.0)

    assert [scale(value) for value in (0, 5, 10, 20)] == [100, 50, 0, 0]
    assert scale.ticks() == [0, 2, 4, 6, 8, 10]


def test_logarithmic_scale() -> None:
    """Each decade has the same width; crowded ticks are decades only."""
    scale = Scale(0.01, 10.0, 0.0, 90.0, logarithmic=True)

    assert [scale(value) for value in (0.01, 0.1, 10)] == pytest.approx([0, 30, 90])
    assert scale.ticks() == pytest.approx([0.01, 0.1, 1, 10])
    assert Scale(0.1, 1.0, 0, 1, logarithmic=True).ticks() == pytest.approx([0.1, 0.2, 0.5, 1.0])


@pytest.mark.parametrize(("least", "step"), [(0.9, 1.0), (1.0, 1.0), (1.1, 2.0), (2.2, 2.5), (0.03, 0.05), (60, 100)])
def test_nice_steps(least: float, step: float) -> None:
    """Steps are round numbers."""
    assert nice_step(least) == pytest.approx(step)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5))
def test_nice_range_holds_all_values(values: list[float]) -> None:
    """Nothing is cut off, and no range is empty."""
    low, high = nice_range(values)

    assert low <= min(values) <= max(values) <= high
    assert low < high


@given(st.lists(st.floats(0, 100), max_size=6))
def test_labels_keep_apart(wanted: list[float]) -> None:
    """Labels never overlap and keep their order and limits."""
    placed = sorted(spread(wanted, 15, 0, 100))

    assert all(second - first >= 15 - 1e-6 for first, second in pairwise(placed))
    assert all(-1e-6 <= position <= 100 + 1e-6 for position in placed)
