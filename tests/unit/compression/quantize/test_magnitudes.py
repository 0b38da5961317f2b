# SPDX-License-Identifier: AGPL-3.0-or-later
"""The histogram of magnitudes: one pass, exact, and the same whatever the order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from vision_line_compression.quantize.thresholds import BINS, Histogram

VALUES = arrays(np.float32, st.integers(0, 40), elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False))


def counted(*batches: NDArray[np.float32]) -> Histogram:
    histogram = Histogram()
    for batch in batches:
        histogram.add(batch)
    return histogram


@given(st.lists(VALUES, min_size=1, max_size=5), st.randoms())
def test_the_order_of_the_images_does_not_matter(batches: list[NDArray[np.float32]], random: object) -> None:
    """Counts after a shuffle, and in one batch, are the same."""
    shuffled = list(batches)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other, whole = counted(*batches), counted(*shuffled), counted(np.concatenate(batches))

    assert np.array_equal(one.counts, other.counts)
    assert np.array_equal(one.counts, whole.counts)
    assert one.limit == other.limit == whole.limit


@given(VALUES, VALUES)
def test_merging_equals_counting_together(one: NDArray[np.float32], other: NDArray[np.float32]) -> None:
    """Two tensors with one scale are judged as one."""
    merged, together = counted(one).merged(counted(other)), counted(one, other)

    assert np.array_equal(merged.counts, together.counts)
    assert (merged.peak, merged.limit) == (together.peak, together.limit)


@given(VALUES)
def test_no_value_is_lost_and_the_bins_are_fine(values: NDArray[np.float32]) -> None:
    """Every value is counted once, and at least half of the bins lie below the peak."""
    histogram = counted(values)

    assert len(histogram) == values.size
    assert histogram.peak == (np.abs(values).max() if values.size else 0.0)
    assert histogram.limit == 0.0 or histogram.peak < histogram.limit
    assert histogram.peak < 1e-30 or histogram.peak >= histogram.limit / 2
    assert len(histogram.counts) == BINS


@pytest.mark.parametrize("fault", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(fault: float) -> None:
    """A network that overflows has no range."""
    with pytest.raises(ValueError, match="not finite"):
        counted(np.array([1.0, fault], np.float32))
