# SPDX-License-Identifier: AGPL-3.0-or-later
"""The minutes of the coverage ledger: what is counted into which, and that all adds up, whatever happens."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.ledger_line import GAP_S, MINUTE, Line, idle, inspect_steadily

from vision_line.frames import CameraState, DropCause


def test_late_gap_amends_the_minute_before() -> None:
    """A gap found after its first minute was written amends that minute's row."""
    line = Line()
    inspect_steadily(line, 0.0, 59.5)
    first = 59.25
    idle(line, 59.5, 63.5, arriving=True)
    line.inspect(63.75)
    line.tick(63.8)
    line.close(70.0)

    assert line.log.minutes["cam01", MINUTE, 0].not_inspected_s == pytest.approx(60 - first)
    total = sum(row.not_inspected_s for row in line.log.minutes.values())
    assert total == pytest.approx((63.75 - first) + (70.0 - 63.75))


def test_a_clock_set_back_counts_into_no_other_minute() -> None:
    """The minute that is shown again has a row of its own, by the new clock; durations stay true."""
    line = Line()
    inspect_steadily(line, 0.0, 70.0)
    line.step_utc = -30.0
    inspect_steadily(line, 70.0, 110.0)
    line.close(110.0)

    found = {(row.minute_utc - MINUTE, row.clock): row.inspected for row in line.log.minutes.values()}
    assert found == {(0, 0): 241, (60, 0): 40, (0, 1): 80, (60, 1): 79}
    assert line.log.intervals == {}
    (step,) = line.ledger.take_clock_steps()
    assert (step.clock, step.from_utc, step.to_utc) == (1, MINUTE + 70.1, MINUTE + 40.1)


def test_the_minute_under_way_is_reported_every_few_seconds() -> None:
    """What is known of it is never older than that, and the row is final when the minute is."""
    line = Line()
    inspect_steadily(line, 0.0, 31.0)
    idle(line, 31.0, 35.0, arriving=True)
    row = line.log.minutes["cam01", MINUTE, 0]

    assert row.provisional
    assert row.inspected == 124
    assert row.arrived >= 124 + 2 * 4
    assert row.not_inspected_s >= 2

    line.close(36.0)
    row = line.log.minutes["cam01", MINUTE, 0]
    assert not row.provisional
    assert (row.inspected, row.arrived) == (line.inspected, line.arrived)


def test_clock_set_forward_makes_no_gap() -> None:
    """When the wall clock jumps an hour ahead, no interval and no time not inspected appear."""
    line = Line()
    inspect_steadily(line, 0.0, 30.0)
    line.step_utc = 3600.0
    inspect_steadily(line, 30.0, 40.0)
    line.close(40.0)

    assert line.log.intervals == {}
    assert [row.minute_utc for row in line.log.minutes.values()] == [MINUTE, MINUTE + 3600]
    assert sum(row.inspected for row in line.log.minutes.values()) == line.inspected


def test_removed_and_added_again_within_a_minute() -> None:
    """A camera that is taken out and put back goes on in the same minute's row."""
    line = Line()
    inspect_steadily(line, 0.0, 5.0)
    line.log.write(line.ledger.remove_camera("cam01", line.counts()["cam01"], 5.0, line.utc(5.0)))
    line.arrived = line.inspected = 0
    line.ledger.add_camera("cam01", line.need, 10.0, line.utc(10.0))
    line.state(10.0, CameraState.RUNNING)
    inspect_steadily(line, 10.0, 15.0)
    line.close(15.0)

    assert line.log.minutes["cam01", MINUTE, 0].inspected == 40
    assert line.log.intervals == {}


Step = tuple[str, float]


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "inspect",
                "late",
                "drop",
                "tick",
                "tick",
                "running",
                "stale",
                "reconnecting",
                "code",
                "frozen",
                "log",
                "nolog",
            ]
        ),
        st.floats(0.01, 7.0),
    ),
    min_size=1,
    max_size=120,
)


_STATES = {
    "running": (CameraState.RUNNING, None),
    "stale": (CameraState.STALE, None),
    "reconnecting": (CameraState.RECONNECTING, None),
    "code": (CameraState.RECONNECTING, "TIMEOUT"),
    "frozen": (CameraState.FROZEN, None),
}


def _play(line: Line, steps: Sequence[Step]) -> float:
    """Do each step after its pause; return when it was over."""
    now_s = 0.0
    for action, pause_s in steps:
        now_s += pause_s
        if action == "inspect":
            line.inspect(now_s - 0.01)
        elif action == "late":
            line.inspect(max(0.0, now_s - 3.0))
        elif action == "drop":
            line.arrived += 2
            line.dropped[DropCause.STALE] += 1  # the other one waits
        elif action == "tick":
            line.tick(now_s)
        elif action in ("log", "nolog"):
            line.ledger.log_writable(action == "log", now_s)
        else:
            line.state(now_s, *_STATES[action])
    return now_s + 1


def _play_one(line: Line, action: str, now_s: float) -> None:
    if action in _STATES:
        line.state(now_s, *_STATES[action])
    elif action == "tick":
        line.tick(now_s)
    elif action == "inspect":
        line.inspect(now_s)


def _gap_lengths_s(intervals: Sequence[tuple[float, float]]) -> list[float]:
    """Join intervals that lie end to end and return how long each gap is."""
    gaps: list[tuple[float, float]] = []
    for start, end in intervals:
        if gaps and start == gaps[-1][1]:
            gaps[-1] = (gaps[-1][0], end)
        else:
            gaps.append((start, end))
    return [end - start for start, end in gaps]


@settings(deadline=None, max_examples=200)
@given(steps=_STEPS)
def test_everything_adds_up(steps: list[Step]) -> None:
    """Whatever happens: intervals do not overlap, minutes hold exactly their time, and every frame is in one row."""
    line = Line()
    line.close(_play(line, steps))
    intervals = [(start, end) for _, start, end in line.log.causes() if end is not None]
    rows = list(line.log.minutes.values())

    assert len(intervals) == len(line.log.intervals)
    assert all(start < end for start, end in intervals)
    assert all(end <= start for (_, end), (start, _) in pairwise(intervals))
    assert all(length_s > GAP_S for length_s in _gap_lengths_s(intervals))
    for row in rows:
        low = row.minute_utc - MINUTE
        overlap = sum(max(0.0, min(end, low + 60) - max(start, low)) for start, end in intervals)
        assert row.not_inspected_s == pytest.approx(overlap, abs=1e-4)
    assert sum(row.arrived for row in rows) == line.arrived
    assert sum(row.inspected for row in rows) == line.inspected
    assert sum(sum(row.dropped.values()) for row in rows) == sum(line.dropped.values())
    assert all(row.arrived >= row.inspected + sum(row.dropped.values()) for row in rows)


@settings(deadline=None, max_examples=100)
@given(steps=_STEPS, jumps=st.lists(st.tuples(st.integers(0, 119), st.floats(-7200, 7200)), max_size=4))
def test_clock_steps_move_labels_not_durations(steps: list[Step], jumps: list[tuple[int, float]]) -> None:
    """With a wall clock that jumps, the seconds not inspected and the counts still add up."""
    line = Line()
    at = dict(jumps)
    now_s = 0.0
    for number, step in enumerate(steps):
        line.step_utc += at.get(number, 0.0)
        now_s += step[1]
        _play_one(line, step[0], now_s)
    line.close(now_s + 1)
    rows = list(line.log.minutes.values())
    total_s = sum(end - start for _, start, end in line.log.causes() if end is not None)

    assert sum(row.not_inspected_s for row in rows) == pytest.approx(total_s, abs=1e-4)
    assert sum(row.arrived for row in rows) == line.arrived


@settings(deadline=None, max_examples=200)
@given(steps=_STEPS, jumps=st.lists(st.tuples(st.integers(0, 119), st.integers(-7200, 7200)), max_size=4))
def test_a_clock_that_jumps_moves_no_minute_into_another(steps: list[Step], jumps: list[tuple[int, int]]) -> None:
    """Each row holds the seconds and no others that its minute had by its own clock; nothing ends before it begins."""
    line = Line()
    at = dict(jumps)
    now_s = 0.0
    clocks = {0: (0.0, 0.0)}  # since when, and how far it is from the first one
    for number, step in enumerate(steps):
        line.step_utc += at.get(number, 0)
        now_s += step[1]
        _play_one(line, step[0], now_s)
        clocks |= {found.clock: (found.at_s, line.step_utc) for found in line.ledger.take_clock_steps()}
    end_s = now_s + 1
    line.close(end_s)
    clocks |= {found.clock: (found.at_s, line.step_utc) for found in line.ledger.take_clock_steps()}

    intervals = list(line.log.intervals.values())
    assert all(row.ended_utc is not None and row.ended_utc >= row.started_utc for row in intervals)
    spans = [(start, end) for _, start, end in line.log.causes() if end is not None]
    for row in line.log.minutes.values():
        since_s, offset_s = clocks[row.clock]
        until_s, _ = clocks.get(row.clock + 1, (end_s, 0.0))
        low = row.minute_utc - MINUTE - offset_s
        low, high = max(low, since_s), min(low + 60, until_s)
        assert row.not_inspected_s == pytest.approx(
            sum(max(0.0, min(end, high) - max(start, low)) for start, end in spans), abs=1e-3
        )
