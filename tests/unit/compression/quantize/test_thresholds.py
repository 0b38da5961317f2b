# SPDX-License-Identifier: AGPL-3.0-or-later
"""The four ways to choose a range, against values whose answer is known or can be computed directly."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vision_line_compression.quantize.thresholds import (
    Histogram,
    Method,
    choose_threshold,
    mean_squared_error,
    percentile_threshold,
    signal_to_noise_db,
)


def counted(values: NDArray[np.float32]) -> Histogram:
    histogram = Histogram()
    histogram.add(values)
    return histogram


def normal(size: int = 200_000) -> NDArray[np.float32]:
    return np.random.default_rng(5).normal(0, 1, size).astype(np.float32)


@pytest.mark.parametrize("threshold", [0.3, 1.0, 2.5, 4.0])
def test_the_error_is_that_of_quantizing_the_values(threshold: float) -> None:
    """The histogram's E(t) is within 1 % of the mean squared error of the values, clipped at both ends alike."""
    values = normal()
    scale = threshold / 127
    direct = np.mean((values - np.clip(np.rint(values / scale), -127, 127) * scale) ** 2)

    assert mean_squared_error(counted(values), threshold) == pytest.approx(direct, rel=0.01)


def test_max_is_the_largest_magnitude() -> None:
    """Negative values count by their magnitude."""
    assert choose_threshold(counted(np.array([-3.0, 1.0], np.float32)), Method.MAX) == 3.0


def test_percentile_leaves_out_the_tail() -> None:
    """99 % of 0..999 are 989 or less."""
    histogram = counted(np.arange(1000, dtype=np.float32))

    assert percentile_threshold(histogram, 99.0) == pytest.approx(989, abs=2 * histogram.bin_width)
    assert percentile_threshold(histogram, 100.0) == histogram.peak


def test_mse_finds_the_optimum_of_a_normal_distribution() -> None:
    """The best uniform quantizer of 255 levels clips near 3.9 standard deviations."""
    assert choose_threshold(counted(normal(1_000_000)), Method.MSE) == pytest.approx(3.9, abs=0.25)


@pytest.mark.parametrize("method", [Method.MSE, Method.PERCENTILE, Method.ENTROPY])
def test_one_outlier_does_not_take_the_range(method: Method) -> None:
    """A lone value of 20 standard deviations is clipped by all methods but max."""
    values = np.append(normal(), np.float32(20.0))

    assert choose_threshold(counted(values), method, 99.99) < 12.0


@pytest.mark.parametrize("method", list(Method))
def test_an_even_distribution_keeps_its_range(method: Method) -> None:
    """Nothing can be clipped without loss, so no method clips more than a few percent."""
    values = np.linspace(-2, 2, 100_000, dtype=np.float32)

    assert 1.85 <= choose_threshold(counted(values), method) <= 2.0


@pytest.mark.parametrize("method", list(Method))
def test_a_dead_tensor_has_no_range(method: Method) -> None:
    """Zeros alone give 0, which the placement takes as a sign to stay float."""
    assert choose_threshold(counted(np.zeros(100, np.float32)), method) == 0.0


def test_noise_is_least_at_the_threshold_of_mse() -> None:
    """The SQNR there is above that at half and at twice the threshold, and near 40 dB for a normal distribution."""
    histogram = counted(normal())
    best = choose_threshold(histogram, Method.MSE)

    found = signal_to_noise_db(histogram, best)

    assert found > signal_to_noise_db(histogram, best / 2)
    assert found > signal_to_noise_db(histogram, best * 2)
    assert found == pytest.approx(40.3, abs=1.0)
