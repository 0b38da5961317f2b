# SPDX-License-Identifier: AGPL-3.0-or-later
"""A latency histogram: a quarter of a microsecond per value, quantiles within 2.5 %.

Buckets grow by 5 %, so the harmonic middle of a bucket is at most 2.44 % from any value in it:
(g - 1) / (g + 1) for g = 1.05. HdrHistogram's Python port was measured at 2.5 times the cost of `record` and has no
sliding window.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, log

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]  # (BUCKETS,)

GROWTH = 1.05
#: Quantiles of values inside LOWEST_MS..HIGHEST_MS are at most this far from the true sample, as a ratio.
RELATIVE_ERROR = 0.025
#: Values outside are counted in the first or the last bucket.
LOWEST_MS, HIGHEST_MS = 0.05, 600_000.0

_ROUNDING = 1e-9
_SCALE = 1.0 / log(GROWTH)
_OFFSET = -log(LOWEST_MS) * _SCALE
BUCKETS = ceil(log(HIGHEST_MS) * _SCALE + _OFFSET)
_EDGES_MS = LOWEST_MS * GROWTH ** np.arange(1, BUCKETS + 1)  # upper ends; the last bucket has none
_MIDDLE_MS = np.array([LOWEST_MS * GROWTH**i * 2 * GROWTH / (1 + GROWTH) for i in range(BUCKETS)])


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Latency quantiles in milliseconds of `count` values; each within `RELATIVE_ERROR` of a real sample."""

    p50: float
    p95: float
    p99: float
    count: int


def quantiles_of(counts: Counts) -> Quantiles | None:
    """Return the quantiles of bucket counts; None when they are all zero.

    The q-quantile is the smallest value that at least q of all values do not exceed (nearest rank).
    """
    cumulative = np.cumsum(counts)
    total = int(cumulative[-1])
    if total == 0:
        return None
    ranks = [max(1, ceil(q * total - 1e-9)) for q in (0.50, 0.95, 0.99)]
    p50, p95, p99 = _MIDDLE_MS[np.searchsorted(cumulative, ranks)].tolist()
    return Quantiles(p50, p95, p99, total)


def counts_up_to(every: Sequence[Counts], bounds_s: Sequence[float]) -> list[list[int]]:
    """Return of each histogram how many values are at most each of `bounds_s`, rising, in seconds; then how many are.

    A bucket that a bound cuts counts as above it, so no value is taken for faster than it was; 5 % at most are between.
    """
    below = np.searchsorted(_EDGES_MS, np.multiply(bounds_s, 1000.0 * (1.0 + _ROUNDING)), side="right")
    cumulative = np.zeros((len(every), BUCKETS + 1), np.int64)
    np.cumsum(np.reshape(every, (-1, BUCKETS)), axis=1, out=cumulative[:, 1:])
    found: list[list[int]] = cumulative[:, [*below, BUCKETS]].tolist()
    return found


def sum_of(counts: Counts) -> float:
    """Return the sum of all values in seconds, within `RELATIVE_ERROR`; it never falls as values are added."""
    return float(counts @ _MIDDLE_MS) / 1000.0


def merged(counts: Iterable[Counts]) -> Counts:
    """Return the sum of bucket counts, as if all values had been recorded in one histogram."""
    total = np.zeros(BUCKETS, np.int64)
    for part in counts:
        total += part
    return total


@dataclass(frozen=True, slots=True)
class _Epochs:
    """A consistent state for readers: counts of finished epochs, and the slots of the window."""

    retired: Counts
    slots: tuple[tuple[int, array[int]], ...]  # (epoch number, counts); the last one is being written


class LatencyHistogram:
    """Counts latencies of the whole run and of the last `window_s` seconds. One writing thread, any readers.

    Time is cut into epochs of a `SLOTS`-th of the window; each has counts of its own, and epochs that left the window
    are added to the retired counts. Readers take the published `_Epochs` in one step, so that a value is never
    seen twice or not at all while epochs change; they may miss a value that is being written at that moment.
    """

    SLOTS = 5

    def __init__(self, window_s: float = 10.0) -> None:
        self._epoch_s = window_s / self.SLOTS
        self._live = _empty()
        self._next_epoch_s = float("-inf")
        self._epochs = _Epochs(np.zeros(BUCKETS, np.int64), ())

    def record(self, latency_ms: float, now_s: float) -> None:
        """Count one latency; `now_s` is monotonic and does not go back."""
        if now_s >= self._next_epoch_s:
            self._start_epoch(now_s)
        index = int(log(latency_ms) * _SCALE + _OFFSET) if latency_ms > LOWEST_MS else 0
        self._live[index if index < BUCKETS else -1] += 1

    def window(self, now_s: float) -> Counts:
        """Return the counts of the last `window_s` seconds, give or take one epoch."""
        oldest = int(now_s // self._epoch_s) - self.SLOTS
        return merged(_view(slot) for epoch, slot in self._epochs.slots if epoch > oldest)

    def whole(self) -> Counts:
        """Return the counts of everything recorded."""
        epochs = self._epochs
        return merged([epochs.retired, *(_view(slot) for _, slot in epochs.slots)])

    def _start_epoch(self, now_s: float) -> None:
        epoch = int(now_s // self._epoch_s)
        old, live = self._epochs, _empty()
        fallen = [slot for number, slot in old.slots if number <= epoch - self.SLOTS]
        kept = tuple((number, slot) for number, slot in old.slots if number > epoch - self.SLOTS)
        retired = merged([old.retired, *map(_view, fallen)]) if fallen else old.retired
        self._epochs = _Epochs(retired, (*kept, (epoch, live)))
        self._live = live
        self._next_epoch_s = (epoch + 1) * self._epoch_s


def _empty() -> array[int]:
    return array("q", bytes(8 * BUCKETS))


def _view(slot: array[int]) -> Counts:
    return np.frombuffer(slot, np.int64)
