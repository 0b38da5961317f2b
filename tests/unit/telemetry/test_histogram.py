# SPDX-License-Identifier: AGPL-3.0-or-later
"""The latency histogram against plain sorting."""

from __future__ import annotations

import threading
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.telemetry.latency_histogram import (
    BUCKETS,
    HIGHEST_MS,
    LOWEST_MS,
    RELATIVE_ERROR,
    LatencyHistogram,
    merged,
    quantiles_of,
)

latencies = st.floats(LOWEST_MS, HIGHEST_MS * 0.9)


def nearest_rank(values: list[float], q: float) -> float:
    return sorted(values)[ceil(q * len(values) - 1e-9) - 1]


@given(st.lists(latencies, min_size=1, max_size=300))
def test_quantiles_are_within_the_stated_error(values: list[float]) -> None:
    """Each quantile is within 2.5 % of the sample that nearest rank picks."""
    histogram = LatencyHistogram()
    for value in values:
        histogram.record(value, 1.0)
    found = quantiles_of(histogram.whole())

    assert found is not None
    assert found.count == len(values)
    for q, quantile in ((0.50, found.p50), (0.95, found.p95), (0.99, found.p99)):
        assert quantile == pytest.approx(nearest_rank(values, q), rel=RELATIVE_ERROR)


@given(st.lists(st.tuples(latencies, st.floats(0, 3)), max_size=80))
def test_no_value_is_lost_or_seen_twice(steps: list[tuple[float, float]]) -> None:
    """However time passes, the whole run counts every value once, and the window no more than the run."""
    histogram, now_s = LatencyHistogram(window_s=5.0), 0.0
    recent = 0
    for value, step_s in steps:
        now_s += step_s
        histogram.record(value, now_s)

    elapsed_s = 0.0
    for _, step_s in reversed(steps):
        recent += elapsed_s < 4.0  # an epoch less than the window: all of these must be in it
        elapsed_s += step_s
    window = int(histogram.window(now_s).sum())
    assert int(histogram.whole().sum()) == len(steps)
    assert recent <= window <= len(steps)


def test_window_forgets_and_the_run_does_not() -> None:
    """A camera that died has no latency after the window, and keeps its latency over the run."""
    histogram = LatencyHistogram(window_s=10.0)
    histogram.record(50.0, 100.0)

    assert quantiles_of(histogram.window(105.0)) is not None
    assert quantiles_of(histogram.window(113.0)) is None
    assert quantiles_of(histogram.whole()) is not None


@pytest.mark.parametrize("value", [-5.0, 0.0, LOWEST_MS / 2, HIGHEST_MS * 100])
def test_values_out_of_range_are_counted_at_the_ends(value: float) -> None:
    """Impossible latencies are counted, in the first or the last bucket."""
    histogram = LatencyHistogram()
    histogram.record(value, 0.0)
    counts = histogram.whole()

    assert counts[0] + counts[BUCKETS - 1] == 1


def test_merged_is_as_if_recorded_in_one() -> None:
    """The quantiles of merged histograms are those of all values."""
    one, two, both = LatencyHistogram(), LatencyHistogram(), LatencyHistogram()
    for number in range(1, 200):
        (one if number % 3 else two).record(float(number), 1.0)
        both.record(float(number), 1.0)

    assert quantiles_of(merged([one.whole(), two.whole()])) == quantiles_of(both.whole())


def test_readers_never_see_counts_go_back() -> None:
    """While a thread writes and epochs change, the whole run only ever grows."""
    histogram = LatencyHistogram(window_s=0.5)
    written = 20_000

    def write() -> None:
        for number in range(written):
            histogram.record(10.0, number / 1000)

    writer = threading.Thread(target=write)
    writer.start()
    seen = [0]
    while writer.is_alive():
        seen.append(int(histogram.whole().sum()))
    writer.join()

    assert seen == sorted(seen)
    assert int(histogram.whole().sum()) == written
