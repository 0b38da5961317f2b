# SPDX-License-Identifier: AGPL-3.0-or-later
"""Magnitudes of a tensor, counted in one pass whose result does not depend on the order of the images."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

#: Bins up to `Histogram.limit`; at least half of them lie below the largest magnitude seen.
BINS = 4096

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
