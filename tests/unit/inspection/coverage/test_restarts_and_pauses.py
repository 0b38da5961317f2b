# SPDX-License-Identifier: AGPL-3.0-or-later
"""The coverage ledger over the ends of programs, pauses of the process and sleeps of the machine."""

from __future__ import annotations

import pytest
from tests.fakes.ledger_line import GAP_S, MINUTE, Line, idle, inspect_steadily

from vision_line.frames import CameraState, StateChange
from vision_line.inspection.coverage.causes import CRASHED, OFF, Absence
from vision_line.inspection.coverage.ledger import CoverageLedger
from vision_line.inspection.coverage.window import Need


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
    inspect_steadily(line, 0.0, 5.0)
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
    inspect_steadily(line, 0.0, 4.8)
    line.ledger.paused(5.0, 25.0)
    line.inspect(result_s)
    line.tick(25.0)
    inspect_steadily(line, 25.2, 30.0)

    assert [cause for cause, _, _ in line.log.causes()] == ["paused"]


def test_a_pause_within_a_gap_is_a_part_of_its_own() -> None:
    """What was the matter before the pause is so after it, and a camera in trouble keeps its cause."""
    line = Line()
    line.ledger.add_camera("cam02", Need(GAP_S), 0.0, line.utc(0.0))
    line.ledger.state(StateChange("cam02", CameraState.RECONNECTING, 0.1, line.utc(0.1), "REFUSED"))
    line.inspect(0.25)
    idle(line, 0.0, 5.0, arriving=True)
    line.ledger.paused(5.0, 25.0)
    idle(line, 25.0, 26.0, arriving=True)

    reported = [(row.camera, row.cause, row.started_s, row.ended_s) for row in line.log.intervals.values()]
    assert [row[1:] for row in reported if row[0] == "cam01"] == [
        ("capacity", 0.25, 5.0),
        ("paused", 5.0, 25.0),
        ("capacity", 25.0, None),
    ]
    assert [row[1:] for row in reported if row[0] == "cam02"] == [("camera:REFUSED", 0.0, None)]


def test_pauses_with_nothing_inspected_between_them_are_one_interval() -> None:
    """What the device lacked meanwhile shows only when it lasts as long as a part stays."""
    line = Line()
    inspect_steadily(line, 0.0, 5.0)
    for at_s in (5.0, 9.0, 13.0):
        line.ledger.paused(at_s, at_s + 3.0)
        idle(line, at_s + 3.0, at_s + 4.0, arriving=True)
    idle(line, 17.0, 22.0, arriving=True)

    assert [cause for cause, _, _ in line.log.causes()] == ["paused", "capacity"]
    assert line.log.causes()[0][1] == 4.75
    assert 16.0 < line.log.causes()[1][1] < 18.0


def test_a_sleep_of_the_machine_is_reported_though_the_monotonic_clock_stood_still() -> None:
    """Two hours asleep: an interval of two hours, no step of the clock, and minutes go on by the wall clock."""
    line = Line()
    inspect_steadily(line, 0.0, 30.0)
    line.step_utc = 7200.0
    line.asleep_s = 7200.0
    line.tick(30.1)
    inspect_steadily(line, 30.25, 40.0)
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
    inspect_steadily(line, 0.0, 10.0)
    idle(line, 10.0, 610.0)
    line.step_utc = line.asleep_s = 3600.0
    line.tick(610.1)
    inspect_steadily(line, 610.4, 640.0)
    line.close(640.0)

    (before, asleep, *_) = sorted(line.log.intervals.values(), key=lambda row: row.started_s)
    assert before.ended_s is not None
    assert before.ended_s - before.started_s == pytest.approx(600.0, abs=1.0)
    assert asleep.cause == "paused"
