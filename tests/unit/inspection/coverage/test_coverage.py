# SPDX-License-Identifier: AGPL-3.0-or-later
"""The coverage ledger: gaps with their causes, minutes that add up."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_line.frames import CameraState, CoverageMinute, DropCause, NotInspected, StateChange
from vision_line.inspection.coverage.causes import CRASHED, OFF, Absence
from vision_line.inspection.coverage.ledger import CoverageLedger
from vision_line.inspection.coverage.minutes import CameraCounts
from vision_line.inspection.coverage.window import Need

MINUTE = 1_767_225_600  # a whole minute
GAP_S = 1.0


@dataclass(slots=True)
class Log:
    """What a database would hold: later rows replace earlier ones."""

    minutes: dict[tuple[str, int, int], CoverageMinute] = field(default_factory=dict)
    intervals: dict[str, NotInspected] = field(default_factory=dict)
    history: list[NotInspected] = field(default_factory=list)

    def write(self, rows: tuple[list[CoverageMinute], list[NotInspected]]) -> None:
        """Keep the rows."""
        self.minutes |= {(row.camera, row.minute_utc, row.clock): row for row in rows[0]}
        for row in rows[1]:
            if row.withdrawn:
                self.intervals.pop(row.interval_id, None)
            else:
                self.intervals[row.interval_id] = row
        self.history += rows[1]

    def causes(self) -> list[tuple[str, float, float | None]]:
        """Return cause, start and end of every interval in order."""
        rows = sorted(self.intervals.values(), key=lambda row: row.started_s)
        return [(row.cause, row.started_s, row.ended_s) for row in rows]


@dataclass(slots=True)
class Line:
    """One camera with a ledger; times are seconds after `MINUTE`, the same on both clocks unless `step_utc` is set."""

    ledger: CoverageLedger = field(default_factory=CoverageLedger)
    need: Need = field(default_factory=lambda: Need(GAP_S))
    log: Log = field(default_factory=Log)
    arrived: int = 0
    inspected: int = 0
    dropped: Counter[DropCause] = field(default_factory=Counter)
    step_utc: float = 0.0
    asleep_s: float = 0.0
    running: bool = True

    def __post_init__(self) -> None:
        self.ledger.add_camera("cam01", self.need, 0.0, self.utc(0.0))
        if self.running:
            self.state(0.0, CameraState.RUNNING)

    def utc(self, at_s: float) -> float:
        return MINUTE + at_s + self.step_utc

    def counts(self) -> dict[str, CameraCounts]:
        return {"cam01": CameraCounts(self.arrived, self.arrived, self.inspected, dict(self.dropped))}

    def state(self, at_s: float, state: CameraState, code: str | None = None, since_s: float | None = None) -> None:
        self.ledger.state(StateChange("cam01", state, at_s, self.utc(at_s), code, since_s=since_s))

    def inspect(self, arrived_s: float) -> None:
        self.arrived += 1
        self.inspected += 1
        self.ledger.inspected("cam01", arrived_s)

    def tick(self, at_s: float) -> None:
        self.log.write(self.ledger.tick(at_s, self.utc(at_s), self.counts(), self.asleep_s))

    def close(self, at_s: float) -> None:
        self.log.write(self.ledger.close(at_s, self.utc(at_s), self.counts(), self.asleep_s))


def _inspect_steadily(line: Line, start_s: float, end_s: float, period_s: float = 0.25) -> None:
    """Inspect every `period_s` and tick after each, from `start_s` to before `end_s`."""
    for number in range(round((end_s - start_s) / period_s)):
        at_s = start_s + number * period_s
        line.inspect(at_s)
        line.tick(at_s + 0.1)


def _idle(line: Line, start_s: float, end_s: float, *, arriving: bool = False) -> None:
    """Tick every 0.25 s; frames arrive and are dropped, or none come."""
    for number in range(round((end_s - start_s) * 4)):
        if arriving:
            line.arrived += 1
            line.dropped[DropCause.SUPERSEDED] += 1
        line.tick(start_s + (number + 1) * 0.25)


def test_steady_inspection_leaves_no_interval() -> None:
    """Inspections closer than the gap leave full minutes and no interval."""
    line = Line()
    _inspect_steadily(line, 0.0, 61.0)

    assert line.log.intervals == {}
    assert [(row.minute_utc, row.provisional) for row in line.log.minutes.values()] == [
        (MINUTE, False),
        (MINUTE + 60, True),
    ]
    assert line.log.minutes["cam01", MINUTE, 0].not_inspected_s == 0


def test_capacity_gap_opens_and_ends_with_one_id() -> None:
    """A gap with frames arriving is told when found and again when ended, between the two inspected arrivals."""
    line = Line()
    _inspect_steadily(line, 0.0, 5.25)
    _idle(line, 5.25, 9.0, arriving=True)

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
    _idle(line, 0.0, 3.0)

    assert line.log.causes() == [("camera:REFUSED", 0.0, None)]


def test_silent_camera_is_not_called_slow_device() -> None:
    """Before the camera is declared STALE, a gap without arriving frames is the camera's."""
    line = Line()
    _inspect_steadily(line, 0.0, 5.25)
    _idle(line, 5.25, 7.0)
    line.state(7.0, CameraState.STALE)
    _idle(line, 7.0, 9.0)

    assert line.log.causes() == [("camera:STALE", 5.0, None)]


@pytest.mark.parametrize("came", [DropCause.RATE_CAP, DropCause.SUPERSEDED, DropCause.STALE])
def test_a_camera_that_falls_silent_after_a_frame_without_an_inspection_is_silent_too(came: DropCause) -> None:
    """A camera sends more frames than are inspected, so its last one seldom was; the device is not to blame."""
    line = Line()
    _inspect_steadily(line, 0.0, 5.25)
    line.arrived += 1
    line.dropped[came] += 1
    _idle(line, 5.0, 7.0)
    line.state(7.0, CameraState.STALE)
    _idle(line, 7.0, 9.0)

    assert line.log.causes() == [("camera:STALE", 5.0, None)]


def test_most_telling_state_is_the_cause() -> None:
    """Of the states in a gap the most telling one counts: an error code, however the retries go on."""
    line = Line()
    line.inspect(0.5)
    line.state(0.8, CameraState.RECONNECTING, "REFUSED")
    line.state(0.9, CameraState.CONNECTING)
    _idle(line, 1.0, 3.0)
    line.state(3.0, CameraState.RECONNECTING)
    _idle(line, 3.0, 4.0)

    assert line.log.causes() == [("camera:REFUSED", 0.5, None)]


def test_changed_cause_splits_back_to_back() -> None:
    """A camera that comes back while the log is stuck ends one interval and begins another at that moment."""
    line = Line()
    line.inspect(0.5)
    line.state(1.0, CameraState.STALE)
    _idle(line, 1.0, 4.0)
    line.ledger.log_writable(False, 4.5)
    line.state(5.0, CameraState.RUNNING)
    _idle(line, 5.0, 7.0, arriving=True)
    line.ledger.log_writable(True, 7.0)
    line.inspect(7.25)
    line.tick(7.3)

    assert line.log.causes() == [("camera:STALE", 0.5, 5.0), ("log", 5.0, 7.25)]


def test_first_inspection_after_a_fault_may_take_a_moment() -> None:
    """After a fault, `capacity` is a cause of its own only when it lasts."""
    line = Line()
    line.inspect(0.5)
    line.state(1.0, CameraState.RECONNECTING, "TIMEOUT")
    _idle(line, 1.0, 5.0)
    line.state(5.0, CameraState.RUNNING)
    _idle(line, 5.0, 6.0, arriving=True)

    assert line.log.causes() == [("camera:TIMEOUT", 0.5, None)]

    _idle(line, 6.0, 8.0, arriving=True)

    assert line.log.causes() == [("camera:TIMEOUT", 0.5, 5.0), ("capacity", 5.0, None)]


def test_frozen_frames_are_no_inspections() -> None:
    """While a camera is FROZEN, results count for nothing."""
    line = Line()
    _inspect_steadily(line, 0.0, 2.25)
    line.state(2.25, CameraState.FROZEN)
    _inspect_steadily(line, 2.25, 6.0)
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
    _inspect_steadily(line, 0.0, 63.0)
    assert line.log.minutes["cam01", MINUTE, 0].not_inspected_s == 0
    line.state(63.0, CameraState.FROZEN, since_s=53.0)
    _idle(line, 63.0, 65.0, arriving=True)
    line.state(65.0, CameraState.RUNNING)
    line.inspect(65.0)
    line.tick(65.1)

    assert line.log.causes() == [("camera:FROZEN", 53.0, 65.0)]
    assert line.log.minutes["cam01", MINUTE, 0].not_inspected_s == pytest.approx(7.0)


def test_file_at_its_end_is_due_no_inspection() -> None:
    """After ENDED nothing is missed, and its minutes stay clean."""
    line = Line()
    _inspect_steadily(line, 0.0, 2.0)
    line.state(2.1, CameraState.ENDED)
    _idle(line, 2.1, 10.1)
    line.close(11.0)

    assert line.log.intervals == {}


def test_late_gap_amends_the_minute_before() -> None:
    """A gap found after its first minute was written amends that minute's row."""
    line = Line()
    _inspect_steadily(line, 0.0, 59.5)
    first = 59.25
    _idle(line, 59.5, 63.5, arriving=True)
    line.inspect(63.75)
    line.tick(63.8)
    line.close(70.0)

    assert line.log.minutes["cam01", MINUTE, 0].not_inspected_s == pytest.approx(60 - first)
    total = sum(row.not_inspected_s for row in line.log.minutes.values())
    assert total == pytest.approx((63.75 - first) + (70.0 - 63.75))


def test_a_clock_set_back_counts_into_no_other_minute() -> None:
    """The minute that is shown again has a row of its own, by the new clock; durations stay true."""
    line = Line()
    _inspect_steadily(line, 0.0, 70.0)
    line.step_utc = -30.0
    _inspect_steadily(line, 70.0, 110.0)
    line.close(110.0)

    found = {(row.minute_utc - MINUTE, row.clock): row.inspected for row in line.log.minutes.values()}
    assert found == {(0, 0): 241, (60, 0): 40, (0, 1): 80, (60, 1): 79}
    assert line.log.intervals == {}
    (step,) = line.ledger.take_clock_steps()
    assert (step.clock, step.from_utc, step.to_utc) == (1, MINUTE + 70.1, MINUTE + 40.1)


def test_the_minute_under_way_is_reported_every_few_seconds() -> None:
    """What is known of it is never older than that, and the row is final when the minute is."""
    line = Line()
    _inspect_steadily(line, 0.0, 31.0)
    _idle(line, 31.0, 35.0, arriving=True)
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
    _inspect_steadily(line, 0.0, 30.0)
    line.step_utc = 3600.0
    _inspect_steadily(line, 30.0, 40.0)
    line.close(40.0)

    assert line.log.intervals == {}
    assert [row.minute_utc for row in line.log.minutes.values()] == [MINUTE, MINUTE + 3600]
    assert sum(row.inspected for row in line.log.minutes.values()) == line.inspected


def test_removed_and_added_again_within_a_minute() -> None:
    """A camera that is taken out and put back goes on in the same minute's row."""
    line = Line()
    _inspect_steadily(line, 0.0, 5.0)
    line.log.write(line.ledger.remove_camera("cam01", line.counts()["cam01"], 5.0, line.utc(5.0)))
    line.arrived = line.inspected = 0
    line.ledger.add_camera("cam01", line.need, 10.0, line.utc(10.0))
    line.state(10.0, CameraState.RUNNING)
    _inspect_steadily(line, 10.0, 15.0)
    line.close(15.0)

    assert line.log.minutes["cam01", MINUTE, 0].inspected == 40
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
    _idle(line, 1.0, 3.0)
    line.state(3.0, CameraState.RUNNING)
    _idle(line, 3.0, 6.0, arriving=True)
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
    _idle(line, 1.0, 4.0, arriving=True)
    line.inspect(4.0)
    line.state(5.0, CameraState.FROZEN, since_s=2.0)
    _idle(line, 5.0, 7.0, arriving=True)

    assert line.log.causes() == [("capacity", 0.5, 4.0), ("camera:FROZEN", 4.0, None)]


def test_start_is_distinguished_from_the_cameras() -> None:
    """Until the camera runs it is the camera's, then the device's until that is ready, then nobody's."""
    line = Line(ledger=CoverageLedger(device_ready=False), running=False)
    _idle(line, 0.0, 0.5)
    line.state(0.5, CameraState.RUNNING)
    _idle(line, 0.5, 4.0, arriving=True)
    line.ledger.device_is_ready(4.1)
    line.inspect(4.25)
    _inspect_steadily(line, 4.5, 8.0)

    assert line.log.causes() == [("camera:CONNECTING", 0.0, 0.5), ("device:STARTING", 0.5, 4.25)]


def test_the_building_of_an_engine_has_a_cause_of_its_own() -> None:
    """Its minutes are the GPU's, and neither the camera's nor the program's."""
    line = Line(ledger=CoverageLedger(device_ready=False), running=False)
    _idle(line, 0.0, 0.5)
    line.state(0.5, CameraState.RUNNING)
    _idle(line, 0.5, 3.0, arriving=True)
    line.ledger.device_builds(True, 3.1)
    _idle(line, 3.2, 6.0, arriving=True)
    line.ledger.device_builds(False, 6.1)
    _idle(line, 6.2, 7.0, arriving=True)
    line.ledger.device_is_ready(7.1)
    line.ledger.device_builds(True, 7.2)  # for one more input shape: the others go on
    line.inspect(7.25)
    _inspect_steadily(line, 7.5, 11.0)

    assert line.log.causes()[-3:] == [
        ("device:STARTING", 0.5, 3.1),
        ("device:BUILDING", 3.1, 6.1),
        ("device:STARTING", 6.1, 7.25),
    ]


def test_a_camera_that_never_came_is_blamed_though_the_device_starts() -> None:
    """While the device starts, a camera in trouble is told as such; then a slow device is told as such."""
    line = Line(ledger=CoverageLedger(device_ready=False), running=False)
    line.state(0.2, CameraState.RECONNECTING, "REFUSED")
    _idle(line, 0.0, 2.0)
    line.ledger.device_is_ready(2.1)
    line.state(3.0, CameraState.RUNNING)
    _idle(line, 3.0, 6.0, arriving=True)

    assert line.log.causes() == [("camera:REFUSED", 0.0, 3.0), ("capacity", 3.0, None)]


def test_a_gap_that_is_found_when_the_device_is_ready() -> None:
    """A start that lasts just longer than a gap is the device's, though no tick found it."""
    line = Line(ledger=CoverageLedger(device_ready=False), running=False)
    line.state(0.25, CameraState.RUNNING)
    line.ledger.device_is_ready(1.25)
    line.inspect(1.5)
    line.tick(1.6)

    assert line.log.causes() == [("camera:CONNECTING", 0.0, 0.25), ("device:STARTING", 0.25, 1.5)]


def test_a_file_that_waits_for_the_device_blames_the_device() -> None:
    """Its first frame arrived before the device was ready, the next one waited for room."""
    line = Line(ledger=CoverageLedger(device_ready=False), running=False)
    line.state(0.5, CameraState.RUNNING)
    _idle(line, 0.5, 4.0)
    line.ledger.device_is_ready(4.1)
    line.inspect(0.25)
    line.inspect(4.25)
    line.tick(4.5)

    assert line.log.causes() == [("device:STARTING", 0.25, 4.25)]


def test_a_drain_is_nobodys_fault() -> None:
    """What is not inspected while the program ends is `stopped`; a gap from before keeps its cause."""
    line = Line()
    _inspect_steadily(line, 0.0, 2.25)
    line.ledger.stop(2.5)
    line.close(6.0)
    assert line.log.causes() == [("stopped", 2.0, 6.0)]

    line = Line()
    line.inspect(0.5)
    _idle(line, 0.5, 1.75, arriving=True)
    line.ledger.stop(1.8)
    line.close(6.0)
    assert line.log.causes() == [("capacity", 0.5, 6.0)]


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


def test_what_other_runs_left_is_reported_up_to_this_start() -> None:
    """The interval goes on with this run's own causes up to the first inspection: no hole, and nothing twice."""
    line = Line(ledger=CoverageLedger(device_ready=False), running=False)
    line.ledger.add_camera("cam02", Need(GAP_S), 5.0, line.utc(5.0), absence=Absence(-600.0, CRASHED))
    line.ledger.state(StateChange("cam02", CameraState.RUNNING, 6.0, line.utc(6.0)))
    line.ledger.device_is_ready(8.0)
    line.ledger.inspected("cam02", 8.5)
    line.tick(9.0)

    reported = [row for row in line.log.intervals.values() if row.camera == "cam02"]
    assert [(row.cause, row.started_s, row.ended_s) for row in reported] == [
        ("crashed", -600.0, 5.0),
        ("camera:CONNECTING", 5.0, 6.0),
        ("device:STARTING", 6.0, 8.5),
    ]
    assert [row.started_utc for row in reported] == [line.utc(-600.0), line.utc(5.0), line.utc(6.0)]


def test_a_restart_is_reported_however_quick_it_is() -> None:
    """Even where the next run inspects again within the time that a gap may last."""
    line = Line(running=False)
    line.ledger.add_camera("cam02", Need(GAP_S, 3, 2.0), 5.0, line.utc(5.0), absence=Absence(4.7, OFF))
    line.ledger.state(StateChange("cam02", CameraState.RUNNING, 5.1, line.utc(5.1)))
    for number in range(8):
        line.ledger.inspected("cam02", 5.2 + number / 4)
        line.tick(5.3 + number / 4)

    reported = [row for row in line.log.intervals.values() if row.camera == "cam02"]
    assert [(row.cause, row.started_s, row.ended_s) for row in reported] == [
        ("off", 4.7, 5.0),
        ("camera:CONNECTING", 5.0, 5.2),
    ]


def test_a_clock_set_back_between_runs_makes_no_interval_that_ends_before_it_begins() -> None:
    """The last sign of life lies in the future: there is nothing to tell of the time between."""
    line = Line(running=False)
    line.ledger.add_camera("cam02", Need(GAP_S), 5.0, line.utc(5.0), absence=Absence(600.0, OFF))
    line.tick(5.1)

    assert [row for row in line.log.intervals.values() if row.camera == "cam02"] == []


def test_a_program_that_was_stopped_says_so() -> None:
    """Twenty seconds without a processor are `paused` up to the next inspection."""
    line = Line()
    _inspect_steadily(line, 0.0, 5.0)
    line.ledger.paused(5.0, 25.0)
    line.inspect(4.9)  # its result had been under way
    line.tick(25.0)
    line.state(25.1, CameraState.STALE)
    line.state(25.2, CameraState.RUNNING)
    line.inspect(25.5)
    line.tick(25.6)

    assert [cause for cause, _, _ in line.log.causes()] == ["paused", "camera:STALE"]
    assert line.log.causes()[0][1:] == (4.9, 25.1)


@pytest.mark.parametrize("result_s", [4.9, 5.1, 24.5])
def test_what_was_captured_before_a_pause_and_inspected_after_it_does_not_hide_it(result_s: float) -> None:
    """The beginning of a pause is known to a beat only, and frames wait in the network meanwhile."""
    line = Line()
    _inspect_steadily(line, 0.0, 4.8)
    line.ledger.paused(5.0, 25.0)
    line.inspect(result_s)
    line.tick(25.0)
    _inspect_steadily(line, 25.2, 30.0)

    assert [cause for cause, _, _ in line.log.causes()] == ["paused"]


def test_a_pause_within_a_gap_is_a_part_of_its_own() -> None:
    """What was the matter before the pause is so after it, and a camera in trouble keeps its cause."""
    line = Line()
    line.ledger.add_camera("cam02", Need(GAP_S), 0.0, line.utc(0.0))
    line.ledger.state(StateChange("cam02", CameraState.RECONNECTING, 0.1, line.utc(0.1), "REFUSED"))
    line.inspect(0.25)
    _idle(line, 0.0, 5.0, arriving=True)
    line.ledger.paused(5.0, 25.0)
    _idle(line, 25.0, 26.0, arriving=True)

    reported = [(row.camera, row.cause, row.started_s, row.ended_s) for row in line.log.intervals.values()]
    assert [row[1:] for row in reported if row[0] == "cam01"] == [
        ("capacity", 0.25, 5.0),
        ("paused", 5.0, 25.0),
        ("capacity", 25.0, None),
    ]
    assert [row[1:] for row in reported if row[0] == "cam02"] == [("camera:REFUSED", 0.0, None)]


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


def test_pauses_with_nothing_inspected_between_them_are_one_interval() -> None:
    """What the device lacked meanwhile shows only when it lasts as long as a part stays."""
    line = Line()
    _inspect_steadily(line, 0.0, 5.0)
    for at_s in (5.0, 9.0, 13.0):
        line.ledger.paused(at_s, at_s + 3.0)
        _idle(line, at_s + 3.0, at_s + 4.0, arriving=True)
    _idle(line, 17.0, 22.0, arriving=True)

    assert [cause for cause, _, _ in line.log.causes()] == ["paused", "capacity"]
    assert line.log.causes()[0][1] == 4.75
    assert 16.0 < line.log.causes()[1][1] < 18.0


def test_a_sleep_of_the_machine_is_reported_though_the_monotonic_clock_stood_still() -> None:
    """Two hours asleep: an interval of two hours, no step of the clock, and minutes go on by the wall clock."""
    line = Line()
    _inspect_steadily(line, 0.0, 30.0)
    line.step_utc = 7200.0
    line.asleep_s = 7200.0
    line.tick(30.1)
    _inspect_steadily(line, 30.25, 40.0)
    line.close(40.0)

    (row,) = line.log.intervals.values()
    assert row.cause == "paused"
    assert row.ended_utc is not None
    assert row.ended_utc - row.started_utc == pytest.approx(7200, abs=0.5)
    assert line.ledger.take_clock_steps() == []
    assert [(row.minute_utc - MINUTE, row.clock) for row in line.log.minutes.values()] == [(0, 0), (7200, 0)]


def test_a_sleep_withdraws_no_downtime_before_it() -> None:
    """Nothing was inspected for ten minutes, then the machine slept; at once when it wakes a frame is inspected."""
    line = Line()
    _inspect_steadily(line, 0.0, 10.0)
    _idle(line, 10.0, 610.0)
    line.step_utc = line.asleep_s = 3600.0
    line.tick(610.1)
    _inspect_steadily(line, 610.4, 640.0)
    line.close(640.0)

    (before, asleep, *_) = sorted(line.log.intervals.values(), key=lambda row: row.started_s)
    assert before.ended_s is not None
    assert before.ended_s - before.started_s == pytest.approx(600.0, abs=1.0)
    assert asleep.cause == "paused"


def _play_one(line: Line, action: str, now_s: float) -> None:
    if action in _STATES:
        line.state(now_s, *_STATES[action])
    elif action == "tick":
        line.tick(now_s)
    elif action == "inspect":
        line.inspect(now_s)


def test_a_file_that_waits_through_a_full_disk_blames_the_log() -> None:
    """Two of its frames waited in front of the device; they arrived before the log was stuck, the next one after."""
    line = Line()
    _inspect_steadily(line, 0.0, 5.25)
    line.ledger.log_writable(False, 5.3)
    line.arrived += 2
    _idle(line, 5.25, 9.0)
    line.ledger.log_writable(True, 9.0)
    for arrived_s in (5.1, 5.2, 9.1):
        line.ledger.inspected("cam01", arrived_s)
    line.inspected += 3
    line.arrived += 1
    line.tick(9.3)

    assert line.log.causes() == [("log", 5.2, 9.1)]


def test_a_file_that_waits_with_two_frames_at_the_start_blames_the_device() -> None:
    """While the engine is compiled its first frames wait: the device starts, it does not lack capacity."""
    line = Line(ledger=CoverageLedger(device_ready=False), running=False)
    line.state(0.1, CameraState.RUNNING)
    line.arrived = 2
    _idle(line, 0.2, 4.0)
    line.ledger.device_is_ready(4.1)
    for arrived_s in (0.15, 0.19, 4.15):
        line.ledger.inspected("cam01", arrived_s)
    line.arrived, line.inspected = 3, 3
    line.tick(4.5)

    assert line.log.causes() == [("device:STARTING", 0.19, 4.15)]


def test_a_file_that_waits_for_one_thing_after_the_other_blames_each() -> None:
    """The device starts, and when it is ready the disk is full: what is told of the wait is told of each part of it."""
    line = Line(ledger=CoverageLedger(device_ready=False), running=False)
    line.state(0.1, CameraState.RUNNING)
    line.arrived = 2
    _idle(line, 0.2, 4.0)
    line.ledger.device_is_ready(4.1)
    line.ledger.log_writable(False, 4.2)
    _idle(line, 4.2, 9.0)
    line.ledger.log_writable(True, 9.0)
    for arrived_s in (0.15, 0.19, 9.1):
        line.ledger.inspected("cam01", arrived_s)
    line.arrived, line.inspected = 3, 3
    line.tick(9.3)

    assert line.log.causes() == [("device:STARTING", 0.19, 4.2), ("log", 4.2, 9.1)]


def test_a_file_at_the_devices_own_pace_lacks_no_inspection() -> None:
    """It waits for the device however slow that is; what stands in the way is told all the same."""
    line = Line(need=Need(GAP_S, every_frame=True))
    for at_s in (0.5, 3.5, 6.5):
        _idle(line, at_s, at_s + 2.0, arriving=True)
        line.inspect(at_s + 2.5)
    assert line.log.causes() == []

    line.ledger.log_writable(False, 9.5)
    _idle(line, 9.5, 12.0)
    assert line.log.causes() == [("log", 9.0, None)]
