# SPDX-License-Identifier: AGPL-3.0-or-later
"""A recording's own time: jumps are bridged, true distances are kept, and a rate takes its even share."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vision_line.ingest.file_timeline import DEFAULT_PERIOD_S, GAP_PERIODS, MAX_GAP_S, FileTimeline, RateCap

ROUNDING_S = 0.0011  # containers round times to milliseconds
TIMES = st.lists(st.none() | st.floats(-1e9, 1e9), max_size=50)


def places(times: list[float | None], period_s: float = DEFAULT_PERIOD_S) -> list[float]:
    timeline = FileTimeline(period_s)
    return [timeline.place(time_s) for time_s in times]


@given(TIMES)
def test_places_begin_at_zero_and_never_jump(times: list[float | None]) -> None:
    """Whatever the times are: no step back, and none longer than frames can be apart."""
    found = places(times)
    assert found[:1] in ([], [0.0])
    longest_s = MAX_GAP_S
    for before_s, at_s in pairwise(found):
        step_s = at_s - before_s
        assert -1e-6 <= step_s <= longest_s * 1.000001 + ROUNDING_S
        longest_s = max(longest_s, GAP_PERIODS * step_s)


@given(st.lists(st.floats(0.0, MAX_GAP_S), max_size=50), st.floats(-1e5, 1e5))
@example([5.47, 1.0, MAX_GAP_S], 0.0)  # the last distance is a hair more than MAX_GAP_S once it was summed up
@example([6.001, 0.001, MAX_GAP_S], 0.0)
def test_true_distances_are_kept(steps_s: list[float], start_s: float) -> None:
    """Also those of a variable frame rate."""
    times = [start_s + sum(steps_s[:index]) for index in range(len(steps_s) + 1)]
    assert places(list(times)) == pytest.approx([time_s - start_s for time_s in times], abs=1e-4)


@given(
    st.integers(1, 60),
    st.floats(-1e6, 1e6).filter(lambda jump_s: not -1e-6 <= jump_s + 0.04 <= MAX_GAP_S + ROUNDING_S),
)
def test_a_jump_is_one_period(frames: int, jump_s: float) -> None:
    """An hour ahead, and back: the second part goes on where the first ended."""
    first = [index * 0.04 for index in range(frames + 1)]
    second = [first[-1] + 0.04 + jump_s + index * 0.04 for index in range(frames)]
    found = places([*first, *second])
    assert found == pytest.approx([index * 0.04 for index in range(len(found))], abs=1e-4)


def test_a_counter_that_wraps_around_is_bridged() -> None:
    """MPEG-TS counts 33 bits at 90 kHz."""
    ticks = [((1 << 33) - 3600 * 5 + 3600 * index) % (1 << 33) for index in range(10)]
    assert places([tick / 90_000 for tick in ticks]) == pytest.approx([index * 0.04 for index in range(10)], abs=1e-6)


def test_a_time_lapse_keeps_its_minutes() -> None:
    """Frames that are a minute apart by the container's word, or by the frame before."""
    assert places([0.0, 60.0, 120.0, 170.0], period_s=60.0) == [0.0, 60.0, 120.0, 170.0]


def test_missing_times_are_filled() -> None:
    """Each counts as one period, and the next known one goes on from there."""
    assert places([0.0, 0.04, None, None, 0.16]) == pytest.approx([0.0, 0.04, 0.08, 0.12, 0.16])
    assert places([None, None, None], period_s=0.5) == [0.0, 0.5, 1.0]


@given(st.floats(0.5, 60.0), st.floats(0.5, 60.0))
def test_a_rate_takes_its_even_share(fps: float, cap_fps: float) -> None:
    """As many as asked for, or all, and as far apart as asked for, to one frame."""
    cap = RateCap(cap_fps)
    kept = [index / fps for index in range(300) if cap.lets_through(index / fps)]
    share = min(1.0, cap_fps / fps)
    assert abs(len(kept) - 300 * share) <= 300 * share * 0.05 + 2 or len(kept) >= 300 * share / 2
    assert all(after_s - before_s >= 1 / cap_fps - 1 / fps - 0.002 for before_s, after_s in pairwise(kept))


@pytest.mark.parametrize(
    ("fps", "cap_fps", "kept"), [(25, 5, 20), (25, 25, 100), (25, 50, 100), (30, 10, 33), (25, 10, 40)]
)
def test_usual_rates(fps: int, cap_fps: int, kept: int) -> None:
    """Every n-th, though containers round times to milliseconds."""
    cap = RateCap(cap_fps)
    times = [round(index / fps, 3) for index in range(100)]
    assert sum(cap.lets_through(time_s) for time_s in times) == pytest.approx(kept, abs=1)


def test_no_cap_lets_all_through() -> None:
    """Also such that stand still."""
    cap = RateCap(None)
    assert all(cap.lets_through(time_s) for time_s in (0.0, 0.0, 1.0, 0.5))


def test_a_recording_that_begins_anew_is_let_through_at_once() -> None:
    """A loop."""
    cap = RateCap(1.0)
    assert [cap.lets_through(time_s) for time_s in (0.0, 0.5, 1.0, 0.0, 0.5)] == [True, False, True, True, False]
