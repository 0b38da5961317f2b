# SPDX-License-Identifier: AGPL-3.0-or-later
"""When a clip shows its frames: rising, none decoded after it is shown, in the camera's order."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from vision_line.records.clips.clip_clock import CLOCK_HZ, ClipClock

#: By how many places a frame is sent before the one that is shown first; seconds from frame to frame.
ARRIVALS = st.lists(st.floats(0.0, 2.0), min_size=1, max_size=60)


@given(ARRIVALS, st.lists(st.none() | st.floats(-1e6, 1e6), max_size=60))
def test_times_rise_as_frames_arrive(waits: list[float], times: list[float | None]) -> None:
    """Also where two arrive at once, and whatever the camera's clock says."""
    clock, at_s, stamps = ClipClock(reorders=False), 1000.0, []
    for number, wait_s in enumerate(waits):
        at_s += wait_s
        stamps.append(clock.stamp(at_s, times[number] if number < len(times) else None))
    assert all(pts == dts for pts, dts in stamps)
    assert stamps[0] == (0, 0)
    assert all(after > before for (before, _), (after, _) in pairwise(stamps))
    elapsed = round((at_s - 1000.0 - waits[0]) * CLOCK_HZ)
    assert elapsed <= stamps[-1][0] <= elapsed + len(stamps)


@given(st.integers(1, 80), st.integers(0, 15))
def test_reordered_frames_keep_their_order(count: int, depth: int) -> None:
    """Each is decoded at the latest when it is shown, and shown at its own time."""
    shown = sorted(range(count), key=lambda n: n + (depth if n % (depth + 1) else 0) * (n > 0))
    clock = ClipClock(reorders=True)
    stamps = {n: clock.stamp(5.0 + at * 0.04, 77.0 + n * 0.04) for at, n in enumerate(shown)}

    decoded = [stamps[n][1] for n in shown]
    assert decoded == sorted(set(decoded))
    assert all(pts >= dts >= 0 for pts, dts in stamps.values())
    assert [stamps[n][0] - stamps[0][0] for n in range(count)] == [round(n * 0.04 * CLOCK_HZ) for n in range(count)]


def test_a_clock_that_is_set_does_not_tear_the_clip_apart() -> None:
    """It goes on where it was."""
    clock = ClipClock(reorders=True)
    times = [10.0, 10.08, 10.04, 5000.0, 5000.04, 3.0, 3.04]
    pts = [clock.stamp(0.0, pts_s)[0] / CLOCK_HZ for pts_s in times]
    assert max(pts) < 0.5
