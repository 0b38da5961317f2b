# SPDX-License-Identifier: AGPL-3.0-or-later
"""Magnitudes of a tensor, counted in one pass, and the largest one that eight signed bits still resolve.

A threshold t gives the scale t / 127; magnitudes above it are clipped. Four ways to choose it:

max         t = the largest magnitude seen: nothing clips, the step is coarsest.
percentile  the smallest t below which a given share of the values lies.
mse         the t of least mean squared error E(t) = mean (x - q(x))^2, values spread evenly within a bin.
entropy     the t of least KL divergence between the clipped distribution and its 128-level form (S. Migacz, "8-bit
            inference with TensorRT", GTC 2017), values of the first bin left out, since zero costs nothing.

`max` is the default. The other three weigh a value by how often it occurs, and on an inspection line what is frequent
is background: on two YOLOv8n for board defects they clipped the rare activations that the defects are, and lost 1.5 to
20 points of mAP50-95 where `max` lost 0.3 and 5 (`entropy` lost nearly everything).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

#: Bins up to `Histogram.limit`; at least half of them lie below the largest magnitude seen.
BINS = 4096

#: Largest code of a symmetric signed byte.
LEVELS = 127

#: Candidates of `mse`: peak * 2^(-k / 16), six octaves.
_MSE_FACTORS = 2.0 ** (-np.arange(97) / 16)
_ENTROPY_STEP_BINS = 16

Values = NDArray[np.float64]
Counts = NDArray[np.int64]


class Histogram:
    """Counts of |x| in `BINS` equal bins of [0, limit); not for several threads at once.

    `limit` is the power of two above the largest magnitude seen. When a larger one comes, neighbouring bins are added
    together and the limit doubles: no value is counted twice or lost, and because all edges are multiples of a power
    of two the counts are those that the final limit would have given from the start.
    """

    __slots__ = ("counts", "limit", "peak")

    def __init__(self) -> None:
        self.counts: Counts = np.zeros(BINS, np.int64)
        self.limit = 0.0
        self.peak = 0.0

    def __len__(self) -> int:
        """Return the number of values counted."""
        return int(self.counts.sum())

    @property
    def bin_width(self) -> float:
        """Return the width of a bin in the tensor's units."""
        return self.limit / BINS

    def add(self, values: NDArray[np.float32]) -> None:
        """Count `values`, any shape.

        Raises:
            ValueError: one of them is infinite or not a number.
        """
        if not values.size:
            return
        magnitude = np.abs(values, dtype=np.float32).reshape(-1)
        peak = float(magnitude.max())
        if not math.isfinite(peak):
            raise ValueError("it holds values that are not finite")
        self._reach(peak)
        if self.limit == 0.0:
            self.counts[0] += magnitude.size
            return
        # the factor is a power of two, so the product is exact (unless it is subnormal, which is bin 0 anyway)
        index = (magnitude * np.float32(BINS / self.limit)).astype(np.int32)
        self.counts += np.bincount(index, minlength=BINS)

    def merged(self, other: Histogram) -> Histogram:
        """Return the histogram of both tensors' values together."""
        union, added = Histogram(), other.counts.copy()
        union.counts, union.limit, union.peak = self.counts.copy(), self.limit, self.peak
        union._reach(other.peak)
        for _ in range(_doublings(other.limit, union.limit)):
            added = _halved(added)
        union.counts += added
        return union

    def _reach(self, peak: float) -> None:
        if peak <= self.peak:
            return
        self.peak = peak
        limit = max(2.0 ** math.frexp(peak)[1], float(np.finfo(np.float32).tiny) * BINS)
        for _ in range(_doublings(self.limit, limit)):
            self.counts = _halved(self.counts)
        self.limit = limit


def _doublings(limit: float, wanted: float) -> int:
    """Return how often `limit` doubles up to `wanted`; an empty or all-zero histogram fits any limit."""
    return 0 if limit == 0.0 else round(math.log2(wanted / limit))


def _halved(counts: Counts) -> Counts:
    pairs = counts.reshape(-1, 2).sum(axis=1)
    return np.concatenate((pairs, np.zeros(len(pairs), np.int64)))


class Method(StrEnum):
    """How activation ranges are chosen. Stable: written in recipes and reports."""

    MAX = "max"
    PERCENTILE = "percentile"
    MSE = "mse"
    ENTROPY = "entropy"


def choose_threshold(histogram: Histogram, method: Method, percentile: float = 99.99) -> float:
    """Return the threshold, at most the largest magnitude seen; 0.0 for a tensor that was zero throughout."""
    if histogram.peak == 0.0:
        return 0.0
    if method is Method.PERCENTILE:
        return percentile_threshold(histogram, percentile)
    return _SEARCHES[method](histogram)


def percentile_threshold(histogram: Histogram, percentile: float) -> float:
    """Return the upper edge of the first bin up to which `percentile` % of all values lie."""
    cumulated = np.cumsum(histogram.counts)
    first = int(np.searchsorted(cumulated, cumulated[-1] * (percentile / 100.0)))
    return min((min(first, BINS - 1) + 1) * histogram.bin_width, histogram.peak)


def mean_squared_error(histogram: Histogram, threshold: float) -> float:
    """Return E(threshold) in squared units of the tensor.

    With u = x / scale and n(u) = min(round(u), 127), the error integrated from 0 to u is
    F(u) = n / 12 + (u - n)^3 / 3 (in scale^3), so that a bin [a, b) costs (F(b) - F(a)) / (b - a) a value.
    """
    scale = threshold / LEVELS
    edges = np.arange(BINS + 1) * (histogram.bin_width / scale)
    nearest = np.minimum(np.rint(edges), LEVELS)
    integral = nearest / 12 + (edges - nearest) ** 3 / 3
    share = np.diff(integral) / (histogram.bin_width / scale)
    return float((histogram.counts * share).sum() / max(len(histogram), 1) * scale**2)


def signal_to_noise_db(histogram: Histogram, threshold: float) -> float:
    """Return 10 log10(mean x^2 / E(threshold)); infinite for a tensor that was zero throughout."""
    if histogram.peak == 0.0:
        return float("inf")
    centres = (np.arange(BINS) + 0.5) * histogram.bin_width
    power = (histogram.counts * centres**2).sum() / len(histogram)
    return float(10 * np.log10(power / mean_squared_error(histogram, threshold)))


def _mse_threshold(histogram: Histogram) -> float:
    candidates = histogram.peak * _MSE_FACTORS
    errors = [mean_squared_error(histogram, float(candidate)) for candidate in candidates]
    return float(candidates[int(np.argmin(errors))])


def _entropy_threshold(histogram: Histogram) -> float:
    counts = histogram.counts.astype(np.float64)
    counts[0] = counts[1]
    occupied = int(np.ceil(histogram.peak / histogram.bin_width))
    ends = range(LEVELS + 1, occupied + 1, _ENTROPY_STEP_BINS)
    divergences = [_divergence(counts, end) for end in ends]
    best = ends[int(np.argmin(divergences))]
    return min(best * histogram.bin_width, histogram.peak)


def _divergence(counts: Values, end: int) -> float:
    """Return KL(clipped || quantized) for the bins [0, end), everything beyond folded into the last."""
    kept = counts[:end]
    clipped = kept.copy()
    clipped[-1] += counts[end:].sum()
    starts = np.arange(LEVELS + 1) * end // (LEVELS + 1)
    occupied = kept > 0
    totals = np.add.reduceat(kept, starts)
    members = np.maximum(np.add.reduceat(occupied.astype(np.float64), starts), 1.0)
    quantized = np.repeat(totals / members, np.diff(starts, append=end)) * occupied
    p = clipped / max(clipped.sum(), 1.0)
    q = np.maximum(quantized / max(quantized.sum(), 1.0), 1e-9)
    some = p > 0
    return float((p[some] * np.log(p[some] / q[some])).sum())


_SEARCHES: dict[Method, Callable[[Histogram], float]] = {
    Method.MAX: attrgetter("peak"),
    Method.MSE: _mse_threshold,
    Method.ENTROPY: _entropy_threshold,
}
