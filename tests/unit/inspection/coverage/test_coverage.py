# SPDX-License-Identifier: AGPL-3.0-or-later
"""The coverage ledger: gaps with their causes and ends, also of results that come late."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.ledger_line import GAP_S, MINUTE, Line, idle, inspect_steadily

from vision_line.frames import CameraState, DropCause
from vision_line.inspection.coverage.window import Need


def test_steady_inspection_leaves_no_interval() -> None:
    """Inspections closer than the gap leave full minutes and no interval."""
    line = Line()
    inspect_steadily(line, 0.0, 61.0)

    assert line.log.intervals == {}
    assert [(row.minute_utc, row.provisional) for row in line.log.minutes.values()] == [
        (MINUTE, False),
        (MINUTE + 60, True),
    ]
    assert line.log.minutes["cam01", MINUTE, 0].not_inspected_s == 0


def test_capacity_gap_opens_and_ends_with_one_id() -> None:
    """A gap with frames arriving is told when found and again when ended, between the two inspected arrivals."""
    line = Line()
    inspect_steadily(line, 0.0, 5.25)
    idle(line, 5.25, 9.0, arriving=True)

    assert [(row.cause, row.started_s, row.ended_s) for row in line.ledger.open_intervals()] == [
        ("capacity", 5.0, None)
    ]

    line.inspect(9.0)
    line.tick(9.1)

    assert [(row.interval_id, row.ended_s) for row in line.log.history] == [
        (line.log.history[0].interval_id, None),
        (line.log.history[0].interval_id, 9.0),
    ]
    assert line.log.causes() == [("capacity", 5.0, 9.0)]
    assert line.ledger.open_intervals() == []


def test_short_gap_is_found_without_a_tick() -> None:
    """A gap that is over before a tick could find it is told all the same."""
    line = Line()
    line.inspect(0.5)
    line.inspect(1.75)
    line.tick(1.8)

    assert line.log.causes() == [("capacity", 0.5, 1.75)]


def test_gap_from_the_start() -> None:
    """A camera that never showed anything is not inspected from when it was added."""
    line = Line()
    line.state(0.1, CameraState.RECONNECTING, "REFUSED")
    idle(line, 0.0, 3.0)

    assert line.log.causes() == [("camera:REFUSED", 0.0, None)]


def test_silent_camera_is_not_called_slow_device() -> None:
    """Before the camera is declared STALE, a gap without arriving frames is the camera's."""
    line = Line()
    inspect_steadily(line, 0.0, 5.25)
    idle(line, 5.25, 7.0)
    line.state(7.0, CameraState.STALE)
    idle(line, 7.0, 9.0)

    assert line.log.causes() == [("camera:STALE", 5.0, None)]


@pytest.mark.parametrize("came", [DropCause.RATE_CAP, DropCause.SUPERSEDED, DropCause.STALE])
def test_a_camera_that_falls_silent_after_a_frame_without_an_inspection_is_silent_too(came: DropCause) -> None:
    """A camera sends more frames than are inspected, so its last one seldom was; the device is not to blame."""
    line = Line()
    inspect_steadily(line, 0.0, 5.25)
    line.arrived += 1
    line.dropped[came] += 1
    idle(line, 5.0, 7.0)
    line.state(7.0, CameraState.STALE)
    idle(line, 7.0, 9.0)

    assert line.log.causes() == [("camera:STALE", 5.0, None)]


def test_most_telling_state_is_the_cause() -> None:
    """Of the states in a gap the most telling one counts: an error code, however the retries go on."""
    line = Line()
    line.inspect(0.5)
    line.state(0.8, CameraState.RECONNECTING, "REFUSED")
    line.state(0.9, CameraState.CONNECTING)
    idle(line, 1.0, 3.0)
    line.state(3.0, CameraState.RECONNECTING)
    idle(line, 3.0, 4.0)

    assert line.log.causes() == [("camera:REFUSED", 0.5, None)]


def test_changed_cause_splits_back_to_back() -> None:
    """A camera that comes back while the log is stuck ends one interval and begins another at that moment."""
    line = Line()
    line.inspect(0.5)
    line.state(1.0, CameraState.STALE)
    idle(line, 1.0, 4.0)
    line.ledger.log_writable(False, 4.5)
    line.state(5.0, CameraState.RUNNING)
    idle(line, 5.0, 7.0, arriving=True)
    line.ledger.log_writable(True, 7.0)
    line.inspect(7.25)
    line.tick(7.3)

    assert line.log.causes() == [("camera:STALE", 0.5, 5.0), ("log", 5.0, 7.25)]


def test_first_inspection_after_a_fault_may_take_a_moment() -> None:
    """After a fault, `capacity` is a cause of its own only when it lasts."""
    line = Line()
    line.inspect(0.5)
    line.state(1.0, CameraState.RECONNECTING, "TIMEOUT")
    idle(line, 1.0, 5.0)
    line.state(5.0, CameraState.RUNNING)
    idle(line, 5.0, 6.0, arriving=True)

    assert line.log.causes() == [("camera:TIMEOUT", 0.5, None)]

    idle(line, 6.0, 8.0, arriving=True)

    assert line.log.causes() == [("camera:TIMEOUT", 0.5, 5.0), ("capacity", 5.0, None)]


def test_frozen_frames_are_no_inspections() -> None:
    """While a camera is FROZEN, results count for nothing."""
    line = Line()
    inspect_steadily(line, 0.0, 2.25)
    line.state(2.25, CameraState.FROZEN)
    inspect_steadily(line, 2.25, 6.0)
    line.state(6.0, CameraState.RUNNING)
    line.inspect(6.25)
    line.tick(6.3)

    assert line.log.causes() == [("camera:FROZEN", 2.0, 6.25)]


@settings(deadline=None, max_examples=60)
@given(
    before=st.lists(st.floats(0.1, 0.66), min_size=8, max_size=20),
    repeats=st.lists(st.floats(0.05, 0.66), min_size=1, max_size=60),
    lasts_s=st.floats(0.0, 10.0),
    needed=st.integers(1, 3),
)
def test_a_frozen_camera_has_inspected_no_more_than_a_silent_one(
    before: list[float], repeats: list[float], lasts_s: float, needed: int
) -> None:
    """Repeats of an image are no looks, and the looks before them are not forgotten for them."""
    times = [sum(before[:number]) for number in range(1, len(before) + 1)]
    shown = [times[-1] + sum(repeats[:number]) for number in range(1, len(repeats) + 1)]
    found_s = shown[-1] + 0.01
    again = [found_s + lasts_s + 3.0 + 0.5 * number for number in range(8)]
    spans = []
    for frozen in (True, False):
        line = Line(need=Need(GAP_S, needed, 2.0, repeats_s=60.0))
        for at_s in [*times, *(shown if frozen else [])]:
            line.inspect(at_s)
            line.tick(at_s)
        state = CameraState.FROZEN if frozen else CameraState.STALE
        line.state(found_s, state, since_s=times[-1] if frozen else None)
        line.tick(found_s)
        line.state(again[0], CameraState.RUNNING)
        for at_s in again:
            line.inspect(at_s)
            line.tick(at_s)
        rows = sorted(line.log.intervals.values(), key=lambda row: row.started_s)
        spans.append((rows[0].started_s, rows[-1].ended_s))

    assert spans[0] == spans[1]


def test_a_frame_was_not_inspected_since_it_stood_still() -> None:
    """FROZEN is declared late; the interval and the minute before tell of the whole stand-still all the same."""
    line = Line()
    inspect_steadily(line, 0.0, 63.0)
    assert line.log.minutes["cam01", MINUTE, 0].not_inspected_s == 0
    line.state(63.0, CameraState.FROZEN, since_s=53.0)
    idle(line, 63.0, 65.0, arriving=True)
    line.state(65.0, CameraState.RUNNING)
    line.inspect(65.0)
    line.tick(65.1)

    assert line.log.causes() == [("camera:FROZEN", 53.0, 65.0)]
    assert line.log.minutes["cam01", MINUTE, 0].not_inspected_s == pytest.approx(7.0)


def test_file_at_its_end_is_due_no_inspection() -> None:
    """After ENDED nothing is missed, and its minutes stay clean."""
    line = Line()
    inspect_steadily(line, 0.0, 2.0)
    line.state(2.1, CameraState.ENDED)
    idle(line, 2.1, 10.1)
    line.close(11.0)

    assert line.log.intervals == {}


def test_results_that_come_late_leave_no_interval() -> None:
    """Frames 0.5 s apart whose results take 2 s: what was told meanwhile is withdrawn, and the minute is clean."""
    line = Line()
    for number in range(1, 160):
        at_s = number * 0.5
        line.tick(at_s)
        if at_s >= 2.0:
            line.inspect(at_s - 2.0)
    line.close(79.5)

    assert any(row.withdrawn for row in line.log.history)
    assert [start for _, start, _ in line.log.causes()] == [77.5]  # what was under way when it all ended
    assert line.log.minutes["cam01", MINUTE, 0].not_inspected_s == 0


def test_frames_that_may_wait_long_are_waited_for() -> None:
    """With frames that may wait 2 s for a place on the device no interval is told before."""
    line = Line()
    line.ledger.add_camera("cam01", Need(GAP_S, waits_s=2.0), 0.0, line.utc(0.0))
    for number in range(1, 160):
        line.tick(number * 0.5)
        if number > 4:
            line.inspect(number * 0.5 - 2.0)

    assert line.log.history == []


def test_a_late_result_ends_an_interval_where_it_belongs() -> None:
    """A frame from before the cause changed ends the first interval, and the second was none."""
    line = Line()
    line.inspect(0.5)
    line.state(1.0, CameraState.STALE)
    idle(line, 1.0, 3.0)
    line.state(3.0, CameraState.RUNNING)
    idle(line, 3.0, 6.0, arriving=True)
    assert line.log.causes() == [("camera:STALE", 0.5, 3.0), ("capacity", 3.0, None)]
    line.inspect(2.75)
    line.inspect(3.5)
    line.inspect(4.25)
    line.inspect(5.0)
    line.tick(6.0)

    assert line.log.causes() == [("camera:STALE", 0.5, 2.75)]


def test_frozen_does_not_reach_back_into_an_interval_that_is_over() -> None:
    """A stand-still that began inside an interval that was ended by an inspection is told from there on."""
    line = Line()
    line.inspect(0.5)
    idle(line, 1.0, 4.0, arriving=True)
    line.inspect(4.0)
    line.state(5.0, CameraState.FROZEN, since_s=2.0)
    idle(line, 5.0, 7.0, arriving=True)

    assert line.log.causes() == [("capacity", 0.5, 4.0), ("camera:FROZEN", 4.0, None)]


def test_a_camera_that_is_away_for_weeks_takes_no_memory_for_each_attempt() -> None:
    """Its error code changes with every one; the gap ends with the first inspection, and begins where it began."""
    line = Line()
    line.inspect(0.5)
    line.tick(0.6)

    def away(from_s: int, to_s: int) -> None:
        for at_s in range(from_s, to_s):
            line.state(at_s, CameraState.RECONNECTING, "REFUSED" if at_s % 2 else "TIMEOUT")
            line.ledger.tick(at_s, line.utc(at_s), line.counts())

    away(1, 2000)
    tracemalloc.start()
    away(2000, 4000)
    grown_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    line.state(4000.0, CameraState.RUNNING)
    line.inspect(4000.5)
    line.tick(4000.6)

    assert grown_bytes < 300_000
    assert line.ledger.open_intervals() == []
    assert [(row.ended_s, row.withdrawn) for row in line.log.history] == [(4000.5, False)]
