# SPDX-License-Identifier: AGPL-3.0-or-later
"""Counts as an evaluation publishes them."""

from __future__ import annotations

import pytest

from vision_line_compression.evaluate.rates import binomial_rate, poisson_rate


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
