# SPDX-License-Identifier: AGPL-3.0-or-later
"""What counts as healthy and as ready, and what is said where it is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.builders import make_frame, make_inspection
from tests.fakes.challenge_plans import target

from vision_line.challenges.due import TargetState, unknown_states
from vision_line.frames import CameraState, NotInspected, StateChange
from vision_line.ingest.mailbox import MailboxCounts
from vision_line.ports import DeviceDescription, LogStatus
from vision_line.telemetry.camera_metrics import CameraCounters
from vision_line.telemetry.liveness import Heartbeats, why_not_healthy, why_not_ready
from vision_line.telemetry.metrics import ModelFacts, RunFacts, RunMetrics
from vision_line.telemetry.process import ProcessUsage
from vision_line.telemetry.reading import Reading

FULL = LogStatus(writable=False, reason="disk full: 3 MB free, 200 MB must stay free")
NOW_S = 1010.0


def make_reading(log: LogStatus | None = None, **states: CameraState) -> Reading:
    """Return a reading of cameras in these states; each was inspected, and has no open interval."""
    facts = RunFacts("1", DeviceDescription("cpu", "", "int8", (), 1, 1), ModelFacts("m", "", "int8", ()), 1000.0, 5e8)
    run = RunMetrics(facts, lambda: ProcessUsage(1.0, 1.0, 1.0))
    for name, state in states.items():
        run.add_camera(name, CameraCounters(MailboxCounts))
        run.state(StateChange(name, state, 1000.0, 5e8))
        run.inspected(make_inspection(make_frame(name, at_s=1001.0)), 1001.1)
    return Reading(run.totals(NOW_S), log or LogStatus())


def beats(loop_s: float = NOW_S, scheduler_s: float | None = NOW_S, *, is_ending: bool = False) -> Heartbeats:
    return Heartbeats(loop_s, scheduler_s, is_ending)


def test_a_run_that_inspects_is_healthy_and_ready() -> None:
    """A dead camera beside it changes neither: nobody restarts a box for a pulled plug."""
    reading = make_reading(a=CameraState.RUNNING, b=CameraState.RECONNECTING)

    assert why_not_healthy(beats(), LogStatus(), NOW_S) == why_not_ready(beats(), reading, NOW_S) == []
    assert reading.troubles == {"b": "camera:RECONNECTING"}


@pytest.mark.parametrize(
    ("hanging", "log", "words"),
    [
        (beats(loop_s=NOW_S - 7), None, "the event loop has not moved for 7 s"),
        (beats(scheduler_s=NOW_S - 8), None, "the scheduler's thread has not moved for 8 s"),
        (beats(), FULL, "records cannot be written: disk full: 3 MB free, 200 MB must stay free"),
    ],
)
def test_what_hangs_is_named(hanging: Heartbeats, log: LogStatus | None, words: str) -> None:
    """Neither healthy nor ready."""
    reading = make_reading(log, a=CameraState.RUNNING)

    assert why_not_healthy(hanging, reading.log, NOW_S) == why_not_ready(hanging, reading, NOW_S) == [words]


def test_several_reasons_are_all_said() -> None:
    """An operator sees the whole picture at once."""
    found = why_not_healthy(beats(NOW_S - 9, NOW_S - 9), FULL, NOW_S)

    assert [words.split()[0:2] for words in found] == [["the", "event"], ["the", "scheduler's"], ["records", "cannot"]]


def test_a_start_and_an_end_are_healthy_and_not_ready() -> None:
    """There is no scheduler yet, or it is to stop moving."""
    reading = make_reading(a=CameraState.RUNNING)
    starting, ending = beats(scheduler_s=None), beats(scheduler_s=NOW_S - 20, is_ending=True)

    assert why_not_healthy(starting, LogStatus(), NOW_S) == why_not_healthy(ending, LogStatus(), NOW_S) == []
    assert why_not_ready(starting, reading, NOW_S) == ["the device is not open yet"]
    assert why_not_ready(ending, reading, NOW_S) == ["the run is ending"]


def test_without_a_single_inspected_camera_nothing_is_ready() -> None:
    """Nothing is inspected then, whoever is to blame; a removed camera is not missed."""
    reading = make_reading(a=CameraState.STALE, b=CameraState.RECONNECTING, c=CameraState.REMOVED)

    assert why_not_ready(beats(), reading, NOW_S) == ["no camera is inspected"]
    assert why_not_healthy(beats(), LogStatus(), NOW_S) == []
    assert list(reading.troubles) == ["a", "b"]
    assert why_not_ready(beats(), make_reading(a=CameraState.ENDED), NOW_S) == []


def test_an_open_interval_says_its_cause() -> None:
    """The ledger knows better than the state why a camera is not inspected."""
    reading = make_reading(a=CameraState.RUNNING)
    open_now = Reading(reading.totals, reading.log, [NotInspected("1", "a", "capacity:decoding", 1005.0, 5e8)])

    assert open_now.troubles == {"a": "capacity:decoding"}
    assert why_not_ready(beats(), open_now, NOW_S) == ["no camera is inspected"]


def test_a_challenge_that_stops_acceptance_is_not_ready_and_healthy_all_the_same() -> None:
    """One that only alarms changes nothing, nor does one of a camera that is not there."""
    reading = make_reading(a=CameraState.RUNNING)
    (stopping,), (alarming,) = (unknown_states([target("a", on_fail=then)], "no file") for then in ("stop", "alarm"))
    (elsewhere,) = unknown_states([target("b", on_fail="stop")], "no file")

    def reasons(*challenges: TargetState) -> list[str]:
        return why_not_ready(beats(), replace(reading, challenges=challenges), NOW_S)

    assert reasons(stopping) == ["challenge of a is overdue: no file"]
    assert reasons(alarming) == reasons(elsewhere) == []
    assert why_not_healthy(beats(), LogStatus(), NOW_S) == []
