# SPDX-License-Identifier: AGPL-3.0-or-later
"""Counting a run, and the snapshots and the summary made of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import make_detections, make_frame, make_inspection

from vision_line.errors import RunError
from vision_line.frames import (
    CameraState,
    DefectEvent,
    DropCause,
    EventPhase,
    Inspection,
    NotInspected,
    StateChange,
    Verdict,
)
from vision_line.ingest.mailbox import MailboxCounts
from vision_line.ports import DeviceDescription, LogStatus, OverlayStatus
from vision_line.telemetry.camera_metrics import CameraCounters, SlidingRates
from vision_line.telemetry.covered import Covered
from vision_line.telemetry.metrics import LATEST_EVENTS, ModelFacts, RunFacts, RunMetrics
from vision_line.telemetry.process import ProcessUsage, read_usage, resident_mb
from vision_line.telemetry.snapshot import ConfigStatus
from vision_line.telemetry.summary import Summary, build_summary, parting_words, write_summary

LOG = LogStatus(True, "", 3, 80.0, 10, 0, 0)


def counters(arrived: int = 0, decoded: int = 0, dropped: dict[DropCause, int] | None = None) -> CameraCounters:
    """Return counters of a mailbox that has counted so."""
    return CameraCounters(lambda: MailboxCounts(arrived, decoded, dropped=dropped or {}))


def make_run(max_batch: int = 4) -> RunMetrics:
    device = DeviceDescription("cpu", "a processor", "int8", ((192, 320),), 2, max_batch)
    model = ModelFacts("pcb", "ab" * 32, "int8", ((192, 320),))
    usage = ProcessUsage(cpu_seconds=12.5, rss_mb=300.0, max_rss_mb=350.0)
    return RunMetrics(RunFacts("0.1.0", device, model, 1000.0, 5e8), lambda: usage)


def inspection(camera: str, sequence: int, arrived_s: float, defects: int = 0) -> Inspection:
    found = make_detections(*[(0.0, 0.0, 0.0, 0.0)] * defects)
    return make_inspection(make_frame(camera, sequence, at_s=arrived_s, at_utc=5e8), found)


def event(number: int, phase: EventPhase) -> DefectEvent:
    box = (0.0, 0.0, 1.0, 1.0)
    return DefectEvent(f"e{number}", phase, "a", 0, "spur", Verdict.WARN, 0.5, 0.6, box, 1, 3, 1.0, 1.0, 2.0, 2.0)


def test_snapshot_shows_rates_latency_and_age() -> None:
    """Rates come from the counters' growth, latency and age from the inspected frames."""
    run, counts = make_run(), [MailboxCounts()]
    run.add_camera("a", CameraCounters(lambda: counts[-1]))
    run.state(StateChange("a", CameraState.RUNNING, 1000.0, 5e8))
    run.snapshot(1000.0, 5e8, LOG)
    counts.append(MailboxCounts(50, 50, dropped={DropCause.SUPERSEDED: 30}))
    for sequence in range(20):
        run.inspected(inspection("a", sequence, 1001.9, 2), 1001.95)
    run.batch(3)
    snapshot = run.snapshot(1002.0, 5e8 + 2, LOG)
    camera = snapshot.cameras[0]

    assert (camera.fps_in, camera.fps_inspected) == (25.0, 10.0)
    assert camera.dropped_fps == {DropCause.SUPERSEDED: 15.0}
    assert camera.latency_ms is not None
    assert camera.latency_ms.p50 == pytest.approx(50.0, rel=0.025)
    assert camera.last_frame_age_s == pytest.approx(0.1)
    assert (camera.detections, camera.sequence) == (40, 19)
    assert snapshot.inspecting == snapshot.expected == 1
    assert snapshot.totals.fps_dropped == 15.0
    assert snapshot.totals.batch_occupancy == 0.75


def test_open_interval_is_reported() -> None:
    """A camera with an open interval is not being inspected, and an alarm says for how long."""
    run = make_run()
    run.add_camera("a", counters())
    run.state(StateChange("a", CameraState.RUNNING, 1000.0, 5e8))
    run.inspected(inspection("a", 0, 1000.0), 1000.1)
    snapshot = run.snapshot(1009.0, 5e8, LOG, [NotInspected("i1", "a", "capacity", 1001.0, 5e8)])

    assert snapshot.inspecting == 0
    assert snapshot.cameras[0].is_troubled
    assert snapshot.alarms == ("not inspected for 8 s (capacity): a",)


def test_a_device_that_starts_is_no_alarm() -> None:
    """Nothing is inspected yet, and nobody needs to come."""
    run = make_run()
    run.add_camera("a", counters())
    run.state(StateChange("a", CameraState.RUNNING, 1000.0, 5e8))
    snapshot = run.snapshot(1009.0, 5e8, LOG, [NotInspected("i1", "a", "device:STARTING", 1001.0, 5e8)])

    assert (snapshot.inspecting, snapshot.cameras[0].is_troubled, snapshot.alarms) == (0, False, ())


def test_a_file_that_ended_by_an_error_is_an_alarm() -> None:
    """A file at its end is out of the count; one that was not read to its end is missing in it."""
    run = make_run()
    for name in ("a", "b"):
        run.add_camera(name, counters())
    run.state(StateChange("a", CameraState.ENDED, 1000.0, 5e8))
    run.state(StateChange("b", CameraState.ENDED, 1000.0, 5e8, "CORRUPT", "it was cut off"))
    snapshot = run.snapshot(1001.0, 5e8, LOG)

    assert [camera.is_troubled for camera in snapshot.cameras] == [False, True]
    assert snapshot.alarms == ("ENDED CORRUPT: b (it was cut off)",)
    assert (snapshot.inspecting, snapshot.expected) == (0, 1)


def test_many_cameras_with_one_trouble_are_one_alarm() -> None:
    """A failed switch is one sentence, with the first names and the number of the others."""
    run = make_run()
    for number in range(20):
        run.add_camera(f"c{number}", counters())
        run.state(StateChange(f"c{number}", CameraState.RECONNECTING, 1000.0, 5e8, "TIMEOUT"))
    alarms = run.snapshot(1001.0, 5e8, LOG).alarms

    assert alarms == ("RECONNECTING TIMEOUT: c0, c1, c2, c3, c4, c5 + 14 more",)


def test_latest_events_are_the_newest_and_counted_once() -> None:
    """Phases of one defect replace each other; the list is bounded; the count is of defects."""
    run = make_run()
    run.add_camera("a", counters())
    for number in range(LATEST_EVENTS + 5):
        run.event(event(number, EventPhase.NEW))
        run.event(event(number, EventPhase.UPDATE))
        run.event(event(number, EventPhase.END))
    snapshot = run.snapshot(1001.0, 5e8, LOG)

    assert len(snapshot.latest_events) == LATEST_EVENTS
    assert snapshot.latest_events[0].event_id == f"e{LATEST_EVENTS + 4}"
    assert {latest.phase for latest in snapshot.latest_events} == {EventPhase.END}
    assert snapshot.totals.events == LATEST_EVENTS + 5


def test_altered_camera_goes_on_counting() -> None:
    """When a camera gets a new mailbox, what the old one counted stays."""
    run = make_run()
    run.add_camera("a", counters(10, 9, {DropCause.CORRUPT: 1}))
    run.add_camera("a", counters(5, 5, {DropCause.CORRUPT: 2}))
    totals = run.totals(1001.0).cameras[0]

    assert (totals.arrived, totals.decoded, totals.dropped) == (15, 14, {DropCause.CORRUPT: 3})


def test_reconnections_are_counted_once_each() -> None:
    """Repeated notices of one outage are one reconnection, and a camera that never showed a frame has none."""
    run = make_run()
    run.add_camera("a", counters())
    run.add_camera("b", counters())
    for state in ("RECONNECTING", "RUNNING", "RECONNECTING", "RECONNECTING", "RUNNING", "RECONNECTING"):
        run.state(StateChange("a", CameraState(state), 1.0, 1.0))
    run.state(StateChange("b", CameraState.RECONNECTING, 1.0, 1.0))

    assert [camera.reconnects for camera in run.totals(1001.0).cameras] == [1, 0]


def test_removed_camera_leaves_the_screen_and_stays_in_the_summary() -> None:
    """A camera taken out of the file is not shown; its counts remain."""
    run = make_run()
    run.add_camera("a", counters(7, 7))
    run.state(StateChange("a", CameraState.REMOVED, 1.0, 1.0))

    assert run.snapshot(1001.0, 5e8, LOG).cameras == ()
    assert run.totals(1001.0).cameras[0].arrived == 7


@given(st.lists(st.tuples(st.floats(0.01, 2.0), st.integers(0, 50)), min_size=1, max_size=60))
def test_rates_stay_within_what_happened(steps: list[tuple[float, int]]) -> None:
    """A sliding rate is never negative, nor above the fastest step."""
    rates, now_s, count = SlidingRates(window_s=5.0), 0.0, 0
    rates.sample(0.0, {"n": 0})
    fastest = max(grown / step_s for step_s, grown in steps)
    for step_s, grown in steps:
        now_s += step_s
        count += grown
        assert 0.0 <= rates.sample(now_s, {"n": count})["n"] <= fastest * (1 + 1e-9) + 1e-9


def test_rate_of_a_dead_camera_falls_to_zero() -> None:
    """A window after the last frame the rate is 0."""
    rates = SlidingRates(window_s=5.0)
    for tick in range(200):
        found = rates.sample(tick / 4, {"n": min(tick, 100)})

    assert found["n"] == 0.0


def test_usage_of_this_process() -> None:
    """The real readings are there and make sense together."""
    usage = read_usage()

    assert usage.cpu_seconds > 0
    assert 0 < usage.rss_mb <= usage.max_rss_mb * 1.05


def test_parsing_of_procfs() -> None:
    """Memory lines are read; what is missing is 0."""
    assert resident_mb("VmHWM:\t  4096 kB\nVmRSS:\t  2048 kB\n") == (2.0, 4.0)
    assert resident_mb("") == (0.0, 0.0)


def test_engines_that_cannot_be_proven_are_an_alarm_until_a_proof_holds() -> None:
    run = make_run()
    run.engines_are_unproven("the engines do not end their proof")
    assert run.snapshot(1001.0, 5e8, LOG).alarms == ("the engines do not end their proof",)
    run.engines_are_unproven("")
    assert run.snapshot(1002.0, 5e8, LOG).alarms == ()


def test_a_configuration_that_is_not_in_force_is_said() -> None:
    """A refusal is an alarm, for a camera may be missing that nothing else counts; a restart that waits is a notice."""
    run, status = make_run(), [ConfigStatus("it is not used: line 7", "changes of [model] need a restart")]
    run.watch_config(lambda: status[0])
    snapshot = run.snapshot(1001.0, 5e8, LOG)
    assert (snapshot.alarms, snapshot.notices) == (("it is not used: line 7",), ("changes of [model] need a restart",))

    status[0] = ConfigStatus()
    snapshot = run.snapshot(1002.0, 5e8, LOG)
    assert (snapshot.alarms, snapshot.notices) == ((), ())


def test_cameras_that_nobody_verifies_are_reported() -> None:
    """For as long as they are there."""
    run = make_run()
    run.add_camera("a", CameraCounters(MailboxCounts, is_unverified=True))
    run.add_camera("b", counters())
    reported = "identity not verified (tls_verify = false): a"
    assert run.snapshot(1001.0, 5e8, LOG).notices == (reported,)
    run.add_camera("a", counters())
    assert run.snapshot(1002.0, 5e8, LOG).notices == ()


def test_reminders_stay() -> None:
    """What was accepted at the start is shown for as long as the line runs, before all else that is good to know."""
    run = make_run()
    run.remind(["the CPU inspects, though there is an NVIDIA GPU"])
    run.add_camera("a", CameraCounters(MailboxCounts, is_unverified=True))
    for now_s in (1001.0, 9000.0):
        first, second = run.snapshot(now_s, 5e8, LOG).notices
        assert first == "the CPU inspects, though there is an NVIDIA GPU"
        assert second.startswith("identity not verified")


def test_a_process_beside_the_run_that_does_not_run_is_an_alarm() -> None:
    """As long as it says so."""
    run = make_run()
    troubles = ["the process of the lanes does not run (exit code 2)"]
    run.watch_companions(lambda: troubles)
    assert run.snapshot(1001.0, 5e8, LOG).alarms == tuple(troubles)
    troubles.clear()
    assert run.snapshot(1002.0, 5e8, LOG).alarms == ()


def test_connections_that_hang_are_reported_and_summed() -> None:
    """Those that hang now are a notice; all that were given up are in the summary, over a camera's restart too."""
    run = make_run()
    run.add_camera("a", CameraCounters(MailboxCounts, lambda: (4, 2)))
    run.add_camera("b", counters())
    run.state(StateChange("a", CameraState.RECONNECTING, 1000.0, 5e8))
    snapshot = run.snapshot(1001.0, 5e8, LOG)
    assert snapshot.notices == ("connections hang and were given up: a 2",)
    assert [camera.hanging for camera in snapshot.cameras] == [2, 0]

    run.add_camera("a", CameraCounters(MailboxCounts, lambda: (1, 0)))
    assert run.snapshot(1002.0, 5e8, LOG).notices == ()
    summary = build_summary(run.totals(1003.0))
    assert [camera.connections_abandoned for camera in summary.cameras] == [5, 0]
    assert summary.totals.connections_abandoned == 5


def test_frames_without_a_place_in_the_overlay_are_reported_and_summed() -> None:
    """An overlay that is whole is no notice; one that leaves frames out, or cannot be written, is."""
    run = make_run()
    assert build_summary(run.totals(1001.0)).totals.overlay_dropped is None
    overlay = [OverlayStatus(90, 0)]
    run.watch_overlay(lambda: overlay[0])
    assert run.snapshot(1001.0, 5e8, LOG).notices == ()

    overlay[0] = OverlayStatus(90, 10, "overlay of cam01: disk full")
    assert run.snapshot(1002.0, 5e8, LOG).notices == (
        "overlay: 10 of 100 frames are missing from the videos",
        "overlay of cam01: disk full",
    )
    totals = build_summary(run.totals(1003.0)).totals
    assert (totals.overlay_written, totals.overlay_dropped) == (90, 10)


def test_a_batch_counts_with_the_room_that_it_had() -> None:
    """A device makes room for more cameras while it works."""
    run = make_run(max_batch=4)
    run.batch(3)
    run.facts = replace(run.facts, device=replace(run.facts.device, max_batch=8))
    run.batch(6)
    assert run.totals(1010.0).batch_places == 12
    assert run.totals(1010.0).batch_occupancy == 0.75


def a_summary() -> Summary:
    run = make_run()
    run.add_camera("a", counters(100, 99, {DropCause.SUPERSEDED: 60, DropCause.CORRUPT: 1}))
    run.add_camera("b", counters())
    run.state(StateChange("a", CameraState.RUNNING, 1000.0, 5e8))
    for sequence in range(39):
        run.inspected(inspection("a", sequence, 1000.0 + sequence, 1), 1000.06 + sequence)
    run.batch(2)
    run.event(event(1, EventPhase.NEW))
    run.committed([20.0] * 98 + [80.0, 80.0], 1001.0)
    return build_summary(run.totals(1038.06))


def test_summary_has_the_public_fields() -> None:
    """The JSON object has exactly the documented fields: a change of this list is a change of the interface."""
    summary = json.loads(a_summary().model_dump_json())
    counts = {
        *("frames_arrived", "frames_decoded", "frames_inspected", "frames_dropped"),
        *("detections", "events", "reconnects", "connections_abandoned", "latency_ms", "behind_ms"),
        *("inspection_due_s", "not_inspected_s", "covered"),
    }

    assert set(summary) == {
        *("summary_version", "duration_s", "device", "device_instruction_set", "model", "recipe_models"),
        *("cameras", "totals", "device_loads", "error"),
    }
    assert summary["device_loads"] == []
    assert set(summary["model"]) == {"name", "sha256", "precision", "form", "form_reason", "input"}
    assert set(summary["cameras"][0]) == {"name", "state", "code", "most_behind_ms", "needed_fps"} | counts
    assert set(summary["cameras"][0]["latency_ms"]) == {"p50", "p95", "p99"}
    own = {"inspected_fps", "batch_occupancy", "durable_ms", "cpu_seconds", "max_rss_mb"}
    own |= {"overlay_written", "overlay_dropped"}
    assert set(summary["totals"]) == counts | own
    assert summary["summary_version"] == 1


def test_summary_has_the_right_values() -> None:
    """Counts add up, rates count from the first result, and what did not happen is null."""
    summary = a_summary()
    totals, idle = summary.totals, summary.cameras[1]

    assert totals.frames_arrived == totals.frames_inspected + sum(totals.frames_dropped.values())
    assert totals.frames_dropped == {DropCause.SUPERSEDED: 60, DropCause.CORRUPT: 1}
    assert totals.inspected_fps == pytest.approx(1.0)
    assert totals.batch_occupancy == 0.5
    assert totals.durable_ms == pytest.approx(80.0, rel=0.025)
    assert (totals.cpu_seconds, totals.max_rss_mb) == (12.5, 350.0)
    assert idle.latency_ms is None
    assert idle.state is CameraState.CONNECTING


def test_two_seconds_of_a_day_are_not_rounded_away() -> None:
    """Neither in the file, where all was covered otherwise, nor in the last words."""
    run = make_run()
    run.add_camera("a", counters())
    run.state(StateChange("a", CameraState.RUNNING, 1000.0, 5e8))
    gap = NotInspected("i1", "a", "capacity", 5000.0, 5e8, ended_s=5002.0, ended_utc=5e8 + 2)
    run.not_inspected([gap], 5003.0)
    totals = run.totals(1000.0 + 86_400)

    assert build_summary(totals).totals.covered == build_summary(totals).cameras[0].covered == 0.9999
    assert parting_words(totals).startswith("not inspected for less than 0.1 % of the cameras' time")


def test_the_build_of_an_engine_is_of_the_start() -> None:
    """The device was not ready yet: what was missed since it was is told of the time behind."""
    run = make_run()
    run.add_camera("a", counters())
    run.state(StateChange("a", CameraState.RUNNING, 1000.0, 5e8))
    building = NotInspected("i1", "a", "device:BUILDING", 1000.0, 5e8, ended_s=1100.0, ended_utc=5e8 + 100)
    run.not_inspected([building], 1100.0)
    assert parting_words(run.totals(1200.0)) == ""

    gap = NotInspected("i2", "a", "log", 1150.0, 5e8 + 150, ended_s=1200.0, ended_utc=5e8 + 200)
    run.not_inspected([gap], 1200.0)
    assert parting_words(run.totals(1200.0)).startswith("not inspected for 50.0 % of the cameras' time, beside")


@pytest.mark.parametrize("missing_s", [0.0, 1.0, 1000.0, 1234.0, 9999.0, 10_000.0])
def test_a_rounded_share_is_what_was_covered(missing_s: float) -> None:
    """Four digits that binary fractions do not have either."""
    assert Covered(10_000.0, {"capacity": missing_s}).rounded_share == (10_000.0 - missing_s) / 10_000.0


def test_summary_fields_are_described() -> None:
    """Every field of the public object says what it is."""
    schema = Summary.model_json_schema()
    models = [schema, *schema["$defs"].values()]
    undescribed = [
        name for model in models for name, prop in model.get("properties", {}).items() if not prop.get("description")
    ]

    assert undescribed == []


def test_summary_is_written_in_one_step(tmp_path: Path) -> None:
    """The file holds the whole object, and nothing else is left in its folder."""
    write_summary(tmp_path / "run.json", a_summary())

    assert Summary.model_validate_json((tmp_path / "run.json").read_text()) == a_summary()
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_summary_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    """A folder that is not there is named in the error."""
    with pytest.raises(RunError, match=r"--summary .*: cannot be written"):
        write_summary(tmp_path / "missing" / "run.json", a_summary())
