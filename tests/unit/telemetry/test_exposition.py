# SPDX-License-Identifier: AGPL-3.0-or-later
"""A run as Prometheus metrics, read back with Prometheus' own parser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from tests.builders import make_detections, make_frame, make_inspection
from tests.fakes.challenge_plans import target

from vision_line.challenges.due import TargetState, unknown_states
from vision_line.frames import (
    CameraState,
    DefectEvent,
    DropCause,
    EventPhase,
    NotInspected,
    StateChange,
    Verdict,
)
from vision_line.ingest.mailbox import MailboxCounts
from vision_line.ports import DeviceDescription, FeedStatus, LogStatus
from vision_line.quality.challenge import ChallengeState
from vision_line.telemetry.baseline_watch import SilenceStatus, WatchedBaseline
from vision_line.telemetry.camera_metrics import CameraCounters
from vision_line.telemetry.exposition import LATENCY_BOUNDS_S, Exposition, NeverFalling
from vision_line.telemetry.latency_histogram import LatencyHistogram, counts_up_to, sum_of
from vision_line.telemetry.metrics import ModelFacts, RunFacts, RunMetrics
from vision_line.telemetry.process import ProcessUsage
from vision_line.telemetry.reading import Reading
from vision_line.telemetry.snapshot import ConfigStatus
from vision_line.telemetry.summary import build_summary

LOG = LogStatus(True, "", 3, 80.0, 10, 2_000, 1)
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def make_run(*cameras: str) -> RunMetrics:
    device = DeviceDescription("cpu", "a processor", "int8", ((192, 320),), 2, 4, variant="unsigned INT8")
    facts = RunFacts("0.1.0", device, ModelFacts("pcb", "ab" * 32, "int8", ((192, 320),)), 1000.0, 5e8)
    run = RunMetrics(facts, lambda: ProcessUsage(1.0, 300.0, 350.0))
    for camera in cameras:
        counts = MailboxCounts(50, 45, dropped={DropCause.SUPERSEDED: 30, DropCause.CORRUPT: 5})
        run.add_camera(camera, CameraCounters(lambda counts=counts: counts))  # type: ignore[misc]
    return run


def inspect(run: RunMetrics, camera: str, at_s: Sequence[float], latency_s: float = 0.05) -> None:
    for sequence, arrived_s in enumerate(at_s):
        frame = make_frame(camera, sequence, at_s=arrived_s, at_utc=5e8 + arrived_s)
        found = make_detections((0.0, 0.0, 1.0, 1.0))
        run.inspected(make_inspection(frame, found), arrived_s + latency_s)


def event(number: int, phase: EventPhase, verdict: Verdict, class_name: str = "spur") -> DefectEvent:
    box = (0.0, 0.0, 1.0, 1.0)
    return DefectEvent(f"e{number}", phase, "a", 0, class_name, verdict, 0.5, 0.6, box, 1, 3, 1.0, 1.0, 2.0, 2.0)


def gap(camera: str, started_s: float, ended_s: float | None = None, *, withdrawn: bool = False) -> NotInspected:
    return NotInspected(f"{camera}{started_s}", camera, "capacity", started_s, 5e8, ended_s, None, withdrawn)


def parsed(text: bytes) -> Series:
    """Return every sample; none may be there twice."""
    samples = [sample for family in text_string_to_metric_families(text.decode()) for sample in family.samples]
    series = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    assert len(series) == len(samples)
    return series


def of(series: Series, name: str, **labels: str) -> float:
    return series[f"vision_line_{name}", frozenset(labels.items())]


def scrape(run: RunMetrics, now_s: float = 1010.0, not_inspected: Sequence[NotInspected] = ()) -> Series:
    return parsed(Exposition(lambda: Reading(run.totals(now_s), LOG, not_inspected)).text())


def test_every_camera_has_its_series_before_anything_happened() -> None:
    """An alert on a series that is not there never fires."""
    run = make_run("a", "dead")
    inspect(run, "a", [1001.0])
    series = scrape(run)
    of_camera = {camera: set[tuple[str, frozenset[tuple[str, str]]]]() for camera in ("a", "dead")}
    for name, labels in series:
        if "camera_info" not in name and ("camera", (camera := dict(labels).get("camera", ""))) in labels:
            of_camera[camera].add((name, labels - {("camera", camera)}))

    assert of_camera["a"] == of_camera["dead"]
    assert len(of_camera["dead"]) > 25
    assert of(series, "camera_up", camera="dead") == of(series, "last_inspected_timestamp_seconds", camera="dead") == 0
    assert of(series, "frames_total", camera="dead", outcome="inspected") == 0


def test_a_feed_that_has_failed_is_seen_and_keeps_its_counts() -> None:
    """A run without one has it up: nobody has said otherwise."""
    run = make_run()
    assert of(scrape(run), "feed_up") == 1
    run.watch_feed(lambda: FeedStatus(2, 30, 4, 5, 6))
    serving = scrape(run)
    run.watch_feed(lambda: FeedStatus(0, 30, 4, 5, 6, "the live feed failed: x"))
    failed = scrape(run)

    assert (of(serving, "feed_up"), of(serving, "feed_clients")) == (1, 2)
    assert (of(failed, "feed_up"), of(failed, "feed_clients")) == (0, 0)
    assert [of(failed, "feed_dropped_total", what=what) for what in ("frame", "result", "snapshot")] == [30, 4, 5]
    assert of(failed, "feed_clients_sent_away_total") == 6


@pytest.mark.parametrize("refusal", ["", "it is not used: line 7"])
def test_a_configuration_that_is_refused_is_seen(refusal: str) -> None:
    """Its cameras have no series yet that could tell."""
    run = make_run("a")
    run.watch_config(lambda: ConfigStatus(refusal))

    assert of(scrape(run), "config_refused") == bool(refusal)


def test_counters_are_those_of_the_summary() -> None:
    """Both are made of the same totals."""
    run = make_run("a")
    run.state(StateChange("a", CameraState.RUNNING, 1000.0, 5e8))
    inspect(run, "a", [1001.0 + 0.1 * n for n in range(15)])
    run.event(event(1, EventPhase.NEW, Verdict.WARN))
    run.event(event(1, EventPhase.UPDATE, Verdict.REJECT))
    run.event(event(1, EventPhase.END, Verdict.REJECT))
    run.not_inspected([gap("a", 1003.0, 1005.5)], 1006.0)
    run.batch(3)
    series, camera = scrape(run), build_summary(run.totals(1010.0)).cameras[0]

    assert of(series, "frames_arrived_total", camera="a") == camera.frames_arrived
    assert of(series, "frames_total", camera="a", outcome="inspected") == camera.frames_inspected == 15
    for cause, n in camera.frames_dropped.items():
        assert of(series, "frames_total", camera="a", outcome=cause) == n
    assert of(series, "detections_total", camera="a") == camera.detections
    assert of(series, "events_total", **{"camera": "a", "class": "spur", "verdict": "reject"}) == camera.events == 1
    assert of(series, "inspection_due_seconds_total", camera="a") == camera.inspection_due_s == 10.0
    assert of(series, "not_inspected_seconds_total", camera="a", cause="capacity") == 2.5
    assert of(series, "inspection_missed_seconds_total", camera="a") == sum(camera.not_inspected_s.values()) == 2.5
    assert of(series, "batch_frames_total") == 3
    assert of(series, "batch_places_total") == 4


def test_an_event_counts_once_by_its_last_verdict() -> None:
    """While it lasts its verdict may rise; a counter cannot take anything back."""
    run = make_run("a")
    run.event(event(1, EventPhase.NEW, Verdict.WARN))
    assert not [name for name, _ in scrape(run) if "events_total" in name]
    run.event(event(1, EventPhase.END, Verdict.REJECT, 'a "quoted" name\n'))
    series = scrape(run)

    (labels,) = [dict(labels) for name, labels in series if "events_total" in name]
    assert labels == {"camera": "a", "class": 'a "quoted" name\n', "verdict": "reject"}


def test_latency_is_a_histogram() -> None:
    """Cumulative, in seconds, with the sum and the count of all inspected frames."""
    run = make_run("a")
    inspect(run, "a", [1001.0, 1002.0, 1003.0], latency_s=0.06)
    inspect(run, "a", [1004.0], latency_s=0.4)
    inspect(run, "a", [1006.0], latency_s=9.0)
    series = scrape(run)
    buckets = [of(series, "latency_seconds_bucket", camera="a", le=str(bound)) for bound in LATENCY_BOUNDS_S]

    assert buckets == [0, 0, 3, 3, 3, 3, 4, 4, 4, 4]
    assert of(series, "latency_seconds_bucket", camera="a", le="+Inf") == 5
    assert of(series, "latency_seconds_count", camera="a") == 5
    assert of(series, "latency_seconds_sum", camera="a") == pytest.approx(3 * 0.06 + 0.4 + 9.0, rel=0.025)


@given(st.lists(st.floats(0.001, 700_000.0), min_size=1, max_size=50))
def test_no_latency_is_taken_for_lower_than_it_was(latencies_ms: list[float]) -> None:
    """A bucket's count is at most the true one, and misses only values within 5 % of its bound."""
    histogram = LatencyHistogram()
    for latency_ms in latencies_ms:
        histogram.record(latency_ms, 0.0)
    (found,) = counts_up_to([histogram.whole()], LATENCY_BOUNDS_S)
    assert found[-1] == len(latencies_ms)

    for bound_s, n in zip(LATENCY_BOUNDS_S, found[:-1], strict=True):
        assert sum(ms <= bound_s * 1000 / 1.05 * (1 - 1e-6) for ms in latencies_ms) <= n
        assert n <= sum(ms <= bound_s * 1000 * (1 + 1e-6) for ms in latencies_ms)
    inside = [ms for ms in latencies_ms if 0.05 <= ms <= 600_000.0]
    if len(inside) == len(latencies_ms):
        assert sum_of(histogram.whole()) == pytest.approx(sum(inside) / 1000, rel=0.025)


def test_states_say_what_is_wrong_and_what_was_removed() -> None:
    """`up` is the camera's side, `inspected` ours, `expected` tells a removed camera from a dead one."""
    run = make_run("a", "b", "c", "d")
    for camera, state, code in (
        ("a", CameraState.RUNNING, None),
        ("b", CameraState.RECONNECTING, "REFUSED"),
        ("c", CameraState.REMOVED, None),
        ("d", CameraState.RUNNING, None),
    ):
        run.state(StateChange(camera, state, 1000.0, 5e8, code))
        inspect(run, camera, [1001.0])
    series = scrape(run, not_inspected=[gap("d", 1002.0)])
    shown = {
        camera: [of(series, f"camera_{what}", camera=camera) for what in ("up", "inspected", "expected")]
        for camera in "abcd"
    }

    assert shown == {"a": [1, 1, 1], "b": [0, 0, 1], "c": [0, 0, 0], "d": [1, 0, 1]}
    assert of(series, "camera_info", camera="b", state="RECONNECTING", code="REFUSED") == 1
    assert of(series, "camera_info", camera="c", state="REMOVED", code="") == 1
    assert of(series, "last_inspected_timestamp_seconds", camera="c") == 5e8 + 1001.0


def test_the_device_and_the_log_are_there() -> None:
    """Which engine infers, and how the records fare."""
    run = make_run("a")
    reading = Reading(run.totals(1010.0), replace(LOG, writable=False))
    series = parsed(Exposition(lambda: reading).text())

    assert of(series, "build_info", version="0.1.0") == 1
    (engine,) = [dict(labels) for name, labels in series if name == "vision_line_engine_info"]
    assert engine["variant"] == "unsigned INT8"
    assert engine["model_sha256"] == "ab" * 32
    assert [of(series, f"log_{what}") for what in ("writable", "pending", "committed_total")] == [0, 3, 10]
    assert of(series, "camera_inspected", camera="a") == 0  # nothing is, while nothing can be recorded
    assert series["process_cpu_seconds_total", frozenset()] > 0


def test_time_that_the_ledger_takes_back_does_not_lower_a_counter() -> None:
    """Prometheus would take a fall for a new start, and count all of it again."""
    run = make_run("a")
    run.state(StateChange("a", CameraState.RUNNING, 1000.0, 5e8))
    exposition = Exposition(lambda: Reading(run.totals(now_s), LOG))
    shown = []
    for now_s, row in (
        (1004.0, gap("a", 1001.0)),
        (1005.0, gap("a", 1001.0, withdrawn=True)),
        (1009.0, gap("a", 1005.0)),
    ):
        run.not_inspected([row], now_s)
        shown.append(of(parsed(exposition.text()), "not_inspected_seconds_total", camera="a", cause="capacity"))

    assert shown == [3.0, 3.0, 4.0]


@given(st.lists(st.dictionaries(st.sampled_from(["a", "b"]), st.floats(0, 1e6)), min_size=1))
def test_a_counter_is_the_highest_value_so_far(history: list[dict[str, float]]) -> None:
    """Of each series alone, also of one that is gone."""
    counters, highest = NeverFalling(), dict[str, float]()
    for values in history:
        highest |= {name: max(value, highest.get(name, 0.0)) for name, value in values.items()}
        found = counters.of("x", {(name,): value for name, value in values.items()})
        assert found == {(name,): value for name, value in highest.items()}


def test_a_scrape_of_64_cameras_has_a_bounded_size() -> None:
    """At most 2500 series, whatever a database pays for them."""
    run = make_run(*(f"cam{number:02d}" for number in range(64)))

    assert len(scrape(run)) <= 2500


def test_every_challenge_has_its_series_whether_it_was_done_or_not() -> None:
    """An alert on a series that is not there never fires."""
    done = TargetState(target("b"), ChallengeState.PASSED, 5e8 + 60, None)
    challenges = [*unknown_states([target("a")], "no file"), done]
    series = parsed(Exposition(lambda: Reading(make_run("a").totals(1010.0), LOG, challenges=challenges)).text())

    assert of(series, "challenge_due_timestamp_seconds", target="a") == 0
    assert of(series, "challenge_due_timestamp_seconds", target="b") == 5e8 + 60
    for name, holds in (("a", "overdue"), ("b", "passed")):
        states = {
            state: of(series, "challenge_state", target=name, state=state) for state in ("passed", "failed", "overdue")
        }
        assert states == {"passed": 0, "failed": 0, "overdue": 0} | {holds: 1}


def test_each_baseline_says_how_much_it_has_waited_for() -> None:
    """And whether that is known has its series always."""
    name = "camera cam01, class open"
    known = SilenceStatus((WatchedBaseline(name, 7.5, is_silent=True),))
    for silence, unknown in ((known, 0), (SilenceStatus(known.baselines, "damaged"), 1)):
        reading = Reading(make_run("a").totals(1010.0), LOG, silence=silence)
        series = parsed(Exposition(lambda reading=reading: reading).text())  # type: ignore[misc]
        assert of(series, "silence_expected_events", baseline=name) == 7.5
        assert of(series, "suspiciously_low", baseline=name) == 1
        assert of(series, "silence_unknown") == unknown
    assert of(scrape(make_run("a")), "silence_unknown") == 0
