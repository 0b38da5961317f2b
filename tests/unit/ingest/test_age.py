# SPDX-License-Identifier: AGPL-3.0-or-later
"""The age of a frame, against simulated cameras whose true lateness is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vision_line.ingest.age import DRIFT, EDGE_DRIFT, MOST_FORGIVEN_S, FrameAge

#: The camera's clock tells other years than ours.
ZERO_S = 7_000.0


@dataclass
class Line:
    """A camera, a path that keeps the order, and a reader; times are seconds of our clock since the first capture."""

    fps: float = 25.0
    rate: float = 1.0  # seconds of the camera's clock in one of ours
    burst: int = 1
    jitter_s: Sequence[float] = (0.0,)  # on the way, by frame, over and over
    work_s: float = 0.002  # what the reader does with a frame
    stops_s: Sequence[tuple[float, float]] = ()  # (from, to): the reader does not run
    jumps: dict[int, float] = field(default_factory=dict)  # from this frame on the camera's clock is set so
    delay_s: float = 0.01
    report_s: float | None = None

    def pts(self, number: int) -> float:
        jumped = sum(step for at, step in self.jumps.items() if number >= at)
        return ZERO_S + number / self.fps * self.rate + jumped

    def run(self, frames: int) -> list[tuple[float, float]]:
        """Return each frame's true lateness and the estimate."""
        age, reported = FrameAge(), []
        ready_s = free_s = before_s = 0.0
        for number in range(frames):
            sent_s = number // self.burst * self.burst / self.fps
            ready_s = max(ready_s, sent_s + self.delay_s + self.jitter_s[number % len(self.jitter_s)])
            arrived_s = self._running(max(ready_s, free_s))
            pts_s = self.pts(number)
            estimate_s = age.saw(arrived_s, max(0.0, free_s - before_s), pts_s, self._reported(pts_s))
            reported.append((arrived_s - sent_s - self.delay_s, estimate_s))
            before_s, free_s = arrived_s, self._running(arrived_s + self.work_s)
        return reported

    def _running(self, at_s: float) -> float:
        for start_s, end_s in self.stops_s:
            if start_s <= at_s < end_s:
                return end_s
        return at_s

    def _reported(self, pts_s: float) -> float | None:
        """Return the UTC that a report every `report_s` gives, whose timestamps run at `rate`."""
        if self.report_s is None:
            return None
        since_s = pts_s - ZERO_S
        at_s = since_s // self.report_s * self.report_s
        return 1e9 + at_s / self.rate + (since_s - at_s)


jitters = st.lists(st.floats(0, 0.05), min_size=1, max_size=40)
paces = st.floats(2, 60)


@given(paces, jitters, st.floats(-DRIFT, DRIFT))
def test_a_punctual_camera_is_late_by_its_jitter_at_most(fps: float, jitter_s: list[float], drift: float) -> None:
    """Whatever its pace and its clock's error within what quartz has."""
    for _, estimate_s in Line(fps=fps, jitter_s=jitter_s, rate=1 + drift).run(400):
        assert estimate_s <= max(jitter_s) + 1e-3


@given(jitters, st.floats(0.2, 30.0), st.integers(20, 100), st.floats(-DRIFT, DRIFT))
def test_a_stop_is_known_to_within_the_jitter(jitter_s: list[float], stop_s: float, at: int, drift: float) -> None:
    """The first frame after it is as old as the stop was long, and the last of the queue is fresh again."""
    line = Line(jitter_s=jitter_s, rate=1 + drift, stops_s=[(at / 25, at / 25 + stop_s)])
    reported = line.run(at + int(stop_s * 30) + 50)
    bound_s = max(jitter_s) + 0.02 + EDGE_DRIFT * stop_s
    assert all(abs(true_s - estimate_s) <= bound_s for true_s, estimate_s in reported)
    assert max(estimate_s for _, estimate_s in reported) >= stop_s - bound_s - 0.04


@given(st.floats(1.05, 4.0), paces)
def test_a_reader_that_is_too_slow_falls_behind_and_it_shows(times: float, fps: float) -> None:
    """The queue's growth is known to within a period and a thousandth."""
    for true_s, estimate_s in Line(fps=fps, work_s=times / fps).run(300):
        assert abs(true_s - estimate_s) <= 1 / fps + 0.002 * true_s


@given(st.lists(st.floats(0, 0.015), min_size=1, max_size=40), st.floats(1 - 0.0015, 1 + 0.0015))
def test_a_nominal_frame_rate_in_the_timestamps_is_no_lateness(jitter_s: list[float], rate: float) -> None:
    """As long as we wait for the camera, its timestamps may run slower than our clock by 1500 ppm."""
    for _, estimate_s in Line(jitter_s=jitter_s, rate=rate).run(3000):
        assert estimate_s <= max(jitter_s) + 0.02


def test_a_queue_that_grows_slowly_is_not_taken_for_drift() -> None:
    """Half a percent too slow: in ten minutes three seconds, of which the decay hides a fiftieth."""
    reported = Line(work_s=0.0402).run(15_000)
    true_s, estimate_s = reported[-1]
    assert true_s == pytest.approx(3.0, abs=0.1)
    assert estimate_s >= 0.95 * true_s


@given(
    jitters,
    st.integers(20, 200),
    st.one_of(st.floats(1.5, 1e6), st.floats(-1e6, -0.6), st.just(-(2**32) / 90_000)),
    st.booleans(),
)
@example(jitter_s=[0.0], at=50, jump_s=13.0, stopped=True)  # set while the program is stopped
@example(jitter_s=[0.0], at=50, jump_s=-47_721.9, stopped=True)
def test_a_jump_of_the_cameras_clock_neither_invents_nor_hides_a_backlog(
    jitter_s: list[float], at: int, jump_s: float, stopped: bool
) -> None:
    """Set forwards or backwards, or wrapped around, with no queue, in the midst of one and as it begins."""
    stops_s = [(2.0, 12.0)] if stopped else []
    reported = Line(jitter_s=jitter_s, stops_s=stops_s, jumps={at: jump_s}).run(400)
    bound_s = 2 * max(jitter_s) + 0.08
    for number, (true_s, estimate_s) in enumerate(reported):
        assert estimate_s <= true_s + bound_s
        if not 50 <= at <= number or jump_s < 0 or jump_s > 12:  # less is like frames that the camera left out
            assert estimate_s >= true_s - bound_s


@pytest.mark.parametrize("jump_s", [-47_721.9, 3600.0])
def test_a_pause_in_which_the_clock_is_set_counts_as_late(jump_s: float) -> None:
    """It looks like a stop of ours that the clock hides, until a new connection; a hiccup of the path does not."""
    age = FrameAge()
    for n in range(50):
        age.saw(n / 25, 0.002, n / 25)
    assert age.saw(2.5, 0.002, jump_s + 2.0) <= 0.01
    assert age.saw(7.5, 0.002, 0.0) == pytest.approx(5.0, abs=0.1)


@given(st.lists(st.floats(0, 0.01), min_size=1, max_size=40), st.floats(0.955, 0.998))
@example(jitter_s=[0.0, 0.009994849377280866], rate=0.9609375)  # a span's last frame is a late one, the first is not
def test_a_clock_that_is_too_slow_is_found_out(jitter_s: list[float], rate: float) -> None:
    """Up to five percent: some late hundreds of milliseconds at first, less than the usual limit, and nothing more."""
    reported = Line(jitter_s=jitter_s, rate=rate).run(1500)
    assert max(estimate_s for _, estimate_s in reported) <= 9 * (1 - rate) + 0.05
    assert reported[-1][1] <= reported[400][1] + 0.02


@given(st.floats(0.1, 5.0), st.integers(150, 400))
def test_a_delay_that_comes_once_and_stays_is_no_slow_clock(delay_s: float, at: int) -> None:
    """A longer path from one frame on: half a minute later it still counts as late."""
    age = FrameAge()
    for n in range(at + 750):
        age.saw(n / 25 + (delay_s if n >= at else 0.0), 0.003, n / 25)
    assert age.behind_s >= delay_s - 0.15


@given(st.integers(2, 12), st.integers(40, 120))
def test_a_sender_of_bursts_is_behind_by_the_burst_at_most(burst: int, at: int) -> None:
    """The first frame of a burst is the oldest; a real stop shows all the same."""
    line = Line(burst=burst)
    assert max(estimate_s for _, estimate_s in line.run(200)) <= (burst - 1) / 25 + 0.01 * burst
    stopped = Line(burst=burst, stops_s=[(at / 25, at / 25 + 3.0)])
    assert max(estimate_s for _, estimate_s in stopped.run(at + 100)) >= 3.0 - (burst + 1) / 25


@pytest.mark.parametrize("report_s", [2.0, 5.0])
def test_sender_reports_correct_the_timestamps_rate(report_s: float) -> None:
    """Timestamps that run 4000 ppm slow are no queue, once reports have told so."""
    reported = Line(rate=1 - 0.004, report_s=report_s).run(15_000)
    assert max(estimate_s for _, estimate_s in reported) <= 0.1
    assert reported[-1][1] <= 0.01


def test_a_report_that_sets_the_cameras_utc_changes_nothing() -> None:
    """Reports that begin late, and a time server that sets the camera back by years, are no lateness."""
    age = FrameAge()
    for number in range(200):
        utc = None if number < 50 else 1e9 + number / 25 - (3e7 if number >= 120 else 0.0)
        assert age.saw(number / 25, 0.002, number / 25, utc) <= 1e-3


@pytest.mark.parametrize("way", ["none", "constant", "pairs", "reordered", "sometimes none"])
def test_clocks_that_show_little(way: str) -> None:
    """No times, one time for all, two frames with one, the order of decoding: late by eight periods at most."""
    ways: dict[str, Callable[[int], float | None]] = {
        "none": lambda n: None,
        "constant": lambda n: 5.0,
        "pairs": lambda n: n // 2 * 2 / 25,
        "reordered": lambda n: (n + (0, 2, -1, -1)[n % 4]) / 25,
        "sometimes none": lambda n: None if n % 5 == 0 else n / 25,
    }
    age = FrameAge()
    reported = [age.saw(n / 25, 0.004, ways[way](n)) for n in range(500)]
    assert max(reported) <= 8 / 25 + 0.01
    assert max(reported[50:]) <= 3 / 25 + 0.01


def test_without_a_clock_our_own_slowness_still_shows() -> None:
    """A camera whose clock stops telling the time: a reader that needs twice a period falls behind by one for each."""
    age = FrameAge()
    for n in range(50):
        age.saw(n / 25, 0.004, n / 25)
    for n in range(100):
        age.saw(2.0 + n * 0.08, 0.08, None)
    assert age.behind_s == pytest.approx(100 / 25, abs=0.5)


def test_a_backlog_before_the_first_frame_shows_as_it_is_read() -> None:
    """Frames that come quicker than they were taken say that those before them were late, and none is invented."""
    age = FrameAge()
    backlog = [age.saw(n * 0.001, 0.0005, n / 25) for n in range(50)]
    live = [age.saw(0.05 + n / 25, 0.002, 2.0 + n / 25) for n in range(50)]
    stopped = age.saw(7.0, 0.002, 4.0)
    assert max(backlog + live) <= 0.001
    assert stopped == pytest.approx(4.95, abs=0.05)


@given(
    st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5), st.one_of(st.none(), st.floats(allow_nan=True))), max_size=60)
)
def test_whatever_comes_lateness_is_a_length_of_time(steps: list[tuple[float, float, float | None]]) -> None:
    """Never negative, never more than what has passed."""
    age, at_s = FrameAge(), 0.0
    for elapsed_s, busy_s, pts_s in steps:
        at_s += elapsed_s
        assert 0.0 <= age.saw(at_s, busy_s, pts_s) <= at_s + 1e-9


def test_times_of_the_line_are_plausible() -> None:
    """The simulated line itself: frames come in order and are never early."""
    reported = Line(jitter_s=[0.03, 0.0], stops_s=[(1.0, 2.0)]).run(100)
    assert all(true_s >= -1e-9 for true_s, _ in reported)
    assert all(later - earlier >= -1 / 25 - 1e-9 for (earlier, _), (later, _) in pairwise(reported))


def test_a_link_that_is_a_little_too_slow_is_no_slow_clock() -> None:
    """Packets trickle in without a pause: one percent too slow is three seconds in five minutes."""
    age, period_s = FrameAge(), 1.01 / 25
    for n in range(7500):
        age.saw(n * period_s, 0.002, n / 25, began_s=(n - 1) * period_s + 0.003)
    assert age.behind_s == pytest.approx(3.0, rel=0.05)


@settings(max_examples=20)
@given(st.floats(0.004, 0.05), st.one_of(st.none(), st.integers(400, 3000)))
def test_where_reports_show_the_rate_what_grows_is_lateness(share: float, set_at: int | None) -> None:
    """A link that is so much too slow, whose packets are waited for; the camera's UTC may be set in between."""
    age = FrameAge()
    for n in range(4000):
        pts_s, utc_s = n / 25, 1e9 if set_at is None or n < set_at else 1.1e9
        age.saw(pts_s * (1 + share), 0.001, pts_s, utc_s + pts_s, pts_s * (1 + share))
    true_s = 4000 / 25 * share
    assert age.behind_s == pytest.approx(true_s, abs=0.01 + 160 * 1.05 * (EDGE_DRIFT + DRIFT))


@settings(max_examples=20)
@given(st.floats(0.004, 0.05), st.integers(100, 4000))
def test_without_reports_no_more_than_seconds_are_forgiven(share: float, frames: int) -> None:
    """A slow clock and a link that is a little too slow look the same, for so long."""
    age = FrameAge()
    for n in range(frames):
        age.saw(n / 25 * (1 + share), 0.001, n / 25)
    took_s = frames / 25 * (1 + share)
    assert age.behind_s >= frames / 25 * share - MOST_FORGIVEN_S - took_s * (EDGE_DRIFT + DRIFT) - 0.01
