# SPDX-License-Identifier: AGPL-3.0-or-later
"""A run as Prometheus metrics: the same totals that the summary is made of, so that the two agree.

Every configured camera has its series from the first scrape on, dead or alive, and keeps them when it is removed: an
alert on a series that is not there never fires. Series of a cause, of a class and verdict come when they first occur.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from vision_line.challenges.due import TargetState
from vision_line.frames import INSPECTING_STATES, DropCause
from vision_line.ports import FeedStatus
from vision_line.quality.challenge import ChallengeState
from vision_line.telemetry.baseline_watch import SilenceStatus
from vision_line.telemetry.camera_metrics import CameraTotals
from vision_line.telemetry.metrics import RunTotals
from vision_line.telemetry.output_metrics import output_series
from vision_line.telemetry.reading import Reading
from vision_line.telemetry.series_text import Labels, SeriesText

#: Upper bounds of the histograms, in seconds: closest where a line's latency lies.
LATENCY_BOUNDS_S = (0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
INSPECTED = "inspected"
#: Those that a challenge of a run can have: one that was never done is overdue.
_CHALLENGE_STATES = (ChallengeState.PASSED, ChallengeState.FAILED, ChallengeState.OVERDUE)
_CAMERA = ("camera",)
_Value = TypeVar("_Value")


class Exposition:
    """Turns readings into text; any thread, one scrape after the other."""

    CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self, read: Callable[[], Reading]) -> None:
        """`read` is called for each scrape."""
        self._read = read
        self._lock = threading.Lock()
        self._seconds = NeverFalling()
        self._process = ProcessCollector(registry=None)
        self._series = SeriesText()

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format, version 0.0.4."""
        with self._lock:  # readings must be rendered in their order, or counters fall
            reading = self._read()
            return generate_latest(_OfTheRun(reading, self._process)) + "".join(self._families(reading)).encode()

    def _families(self, reading: Reading) -> Iterator[str]:
        """Yield those that grow with the number of cameras, and the histograms."""
        yield from _histograms(reading.totals, self._series)
        yield from _camera_states(reading, self._series)
        yield from _camera_counters(reading.totals.cameras, self._series)
        yield from self._time_counters(reading.totals.cameras)
        yield from _challenges(reading.challenges, self._series)
        yield from _silence(reading.silence, self._series)
        yield from output_series(reading.outputs, self._series)

    def _time_counters(self, cameras: Sequence[CameraTotals]) -> Iterator[str]:
        due = {camera.name: camera.covered.due_s for camera in cameras}
        missed = {camera.name: sum(camera.covered.not_inspected_s.values()) for camera in cameras}
        causes: dict[Labels, float] = {
            (camera.name, cause): seconds
            for camera in cameras
            for cause, seconds in camera.covered.not_inspected_s.items()
        }
        yield self._series.counter(
            "vision_line_inspection_due_seconds",
            "Time in which inspection of the camera was due",
            _CAMERA,
            self._seconds.of("due", _by_name(due)),
        )
        yield self._series.counter(
            "vision_line_inspection_missed_seconds",
            "Time of it in which the camera was not inspected, of all causes",
            _CAMERA,
            self._seconds.of("missed", _by_name(missed)),
        )
        yield self._series.counter(
            "vision_line_not_inspected_seconds",
            "Time in which the camera was not inspected, by cause",
            ("camera", "cause"),
            self._seconds.of("cause", causes),
        )


class NeverFalling:
    """The highest value of each series so far.

    The ledger takes time back when a result comes late; a counter that falls means a new start to Prometheus, which
    would count all of it again. Such a counter is ahead until the ledger has caught up.
    """

    def __init__(self) -> None:
        self._highest: defaultdict[str, dict[Labels, float]] = defaultdict(dict)

    def of(self, name: str, values: Mapping[Labels, float]) -> dict[Labels, float]:
        """Return the highest values of metric `name`, also of series that are not in `values` any more."""
        highest = self._highest[name]
        highest |= {labels: max(value, highest.get(labels, 0.0)) for labels, value in values.items()}
        return highest.copy()


class _OfTheRun(Collector):
    """The few that are there once."""

    def __init__(self, reading: Reading, process: ProcessCollector) -> None:
        self._reading = reading
        self._process = process

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the reading."""
        yield from _run_metrics(self._reading.totals)
        yield from _log_metrics(self._reading)
        yield from _feed_metrics(self._reading.totals.feed)
        yield from _config_metrics(self._reading.totals)
        yield from self._process.collect()


def _run_metrics(totals: RunTotals) -> Iterator[Metric]:
    device, model = totals.facts.device, totals.facts.model
    yield InfoMetricFamily("vision_line_build", "The program", {"version": totals.facts.version})
    engine = {
        "device": device.name,
        "precision": device.precision,
        "variant": device.variant,
        "instruction_set": device.instruction_set,
        "model": model.name,
        "model_sha256": model.sha256,
    }
    yield InfoMetricFamily("vision_line_engine", "What infers; variant is empty until the device is open", engine)
    yield CounterMetricFamily("vision_line_batch_frames", "Frames in the batches that were submitted", totals.batched)
    yield CounterMetricFamily("vision_line_batch_places", "Frames that the batches had room for", totals.batch_places)


def _config_metrics(totals: RunTotals) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "vision_line_config_refused", "1: the configuration as it is now is not used", bool(totals.config.refusal)
    )
    yield GaugeMetricFamily(
        "vision_line_recipe_refused", "Recipes that were asked for and are not in force", len(totals.recipe_troubles)
    )
    in_force = InfoMetricFamily(
        "vision_line_recipe", "The recipe in force at each camera that has one", labels=("camera",)
    )
    for camera in totals.cameras:
        if camera.recipe:
            in_force.add_metric((camera.name,), {"recipe": camera.recipe})
    yield in_force
    models = InfoMetricFamily("vision_line_model", "The model that inspects each camera", labels=("camera",))
    for camera in totals.cameras:
        models.add_metric((camera.name,), {"model": camera.model.name, "model_sha256": camera.model.sha256})
    yield models


def _histograms(totals: RunTotals, series: SeriesText) -> Iterator[str]:
    yield series.histogram(
        "vision_line_behind_seconds",
        "Part of the latency that inspected frames waited in queues before they were read",
        (),
        {(): totals.behind},
        LATENCY_BOUNDS_S,
    )
    yield series.histogram(
        "vision_line_log_durable_seconds",
        "From the oldest result of a commit until it was on the disk",
        (),
        {(): totals.commit_latency},
        LATENCY_BOUNDS_S,
    )
    yield series.histogram(
        "vision_line_latency_seconds",
        "From when the camera sent a frame until its result was handed to the records",
        _CAMERA,
        _by_name({camera.name: camera.latency for camera in totals.cameras}),
        LATENCY_BOUNDS_S,
    )


def _log_metrics(reading: Reading) -> Iterator[Metric]:
    log = reading.log
    yield GaugeMetricFamily("vision_line_log_writable", "1: results are recorded; 0: inspection stops", log.writable)
    yield GaugeMetricFamily("vision_line_log_pending", "Records that are accepted and not yet committed", log.pending)
    yield CounterMetricFamily("vision_line_log_committed", "Records committed to the disk", log.committed)
    yield GaugeMetricFamily("vision_line_evidence_bytes", "Size of the evidence images", log.evidence_bytes)
    yield CounterMetricFamily(
        "vision_line_evidence_deleted", "Evidence images removed to keep to their limit", log.evidence_deleted
    )


def _feed_metrics(feed: FeedStatus) -> Iterator[Metric]:
    yield GaugeMetricFamily("vision_line_feed_up", "1: the live feed serves", not feed.problem)
    yield GaugeMetricFamily("vision_line_feed_clients", "Clients of the live feed", feed.clients)
    dropped = CounterMetricFamily(
        "vision_line_feed_dropped", "What clients of the live feed wanted and did not take in time", labels=("what",)
    )
    dropped.add_metric(("frame",), feed.frames_dropped)
    dropped.add_metric(("result",), feed.results_dropped)
    dropped.add_metric(("snapshot",), feed.snapshots_dropped)
    yield dropped
    yield CounterMetricFamily(
        "vision_line_feed_clients_sent_away",
        "Clients that were sent away: too many, too slow for decisions, or not understood",
        feed.clients_sent_away,
    )


def _camera_states(reading: Reading, series: SeriesText) -> Iterator[str]:
    cameras, troubles = reading.totals.cameras, reading.troubles
    yield series.gauge(
        "vision_line_camera_up",
        "1: the camera sends usable frames",
        _CAMERA,
        _by_name({camera.name: camera.state in INSPECTING_STATES for camera in cameras}),
    )
    yield series.gauge(
        "vision_line_camera_expected",
        "1: inspection of the camera is due; 0: it was removed, or is a file that ended properly",
        _CAMERA,
        _by_name({camera.name: camera.is_expected for camera in cameras}),
    )
    inspected = {
        camera.name: camera.is_expected and camera.name not in troubles and reading.log.writable for camera in cameras
    }
    yield series.gauge(
        "vision_line_camera_inspected",
        "1: the camera is inspected often enough now",
        _CAMERA,
        _by_name(inspected),
    )
    yield series.gauge(
        "vision_line_camera_info",
        "State of the camera and the error code behind it",
        ("camera", "state", "code"),
        {(camera.name, camera.state, camera.code or ""): 1 for camera in cameras},
    )
    yield series.gauge(
        "vision_line_needed_inspections_per_second",
        "Inspections per second that every part needs; 0: any rate",
        _CAMERA,
        _by_name({camera.name: camera.needed_fps for camera in cameras}),
    )
    yield series.gauge(
        "vision_line_last_inspected_timestamp_seconds",
        "When the newest inspected frame was captured, seconds since 1970; 0: none was",
        _CAMERA,
        _by_name({camera.name: camera.inspected_utc or 0.0 for camera in cameras}),
    )


def _camera_counters(cameras: Sequence[CameraTotals], series: SeriesText) -> Iterator[str]:
    yield series.counter(
        "vision_line_frames_arrived",
        "Frames whose last packet was read",
        _CAMERA,
        _by_name({camera.name: camera.arrived for camera in cameras}),
    )
    yield series.counter(
        "vision_line_frames",
        "Frames by what became of them: inspected, or why they were dropped",
        ("camera", "outcome"),
        {(camera.name, outcome): n for camera in cameras for outcome, n in _outcomes(camera)},
    )
    yield series.counter(
        "vision_line_detections",
        "Detections that passed the camera's filter",
        _CAMERA,
        _by_name({camera.name: camera.detections for camera in cameras}),
    )
    yield series.counter(
        "vision_line_events",
        "Defect events that have ended, by their final verdict",
        ("camera", "class", "verdict"),
        {(camera.name, *kind): n for camera in cameras for kind, n in camera.ended_events.items()},
    )
    yield series.counter(
        "vision_line_reconnects",
        "Times the camera sent frames again after its connection had been lost",
        _CAMERA,
        _by_name({camera.name: camera.reconnects for camera in cameras}),
    )


def _challenges(challenges: Sequence[TargetState], series: SeriesText) -> Iterator[str]:
    """Yield the state of each challenge that is planned, done or not."""
    yield series.gauge(
        "vision_line_challenge_due_timestamp_seconds",
        "By when the target must be challenged again, seconds since 1970; 0: it never was",
        ("target",),
        _by_name({one.name: one.due_utc for one in challenges}),
    )
    yield series.gauge(
        "vision_line_challenge_state",
        "1: the target's challenges are in this state",
        ("target", "state"),
        {(one.name, state): one.state is state for one in challenges for state in _CHALLENGE_STATES},
    )


def _silence(silence: SilenceStatus, series: SeriesText) -> Iterator[str]:
    """Yield how much each approved baseline has waited for, and whether that is known."""
    yield series.gauge(
        "vision_line_silence_expected_events",
        "Events, or rejected parts, that the approved baseline expects of what was inspected since the last one",
        ("baseline",),
        _by_name({one.name: one.expected for one in silence.baselines}),
    )
    yield series.gauge(
        "vision_line_suspiciously_low",
        "1: so many of them that chance hardly explains it",
        ("baseline",),
        _by_name({one.name: one.is_silent for one in silence.baselines}),
    )
    yield series.gauge(
        "vision_line_silence_unknown",
        "1: the baselines or the records could not be read when they were asked last",
        (),
        {(): bool(silence.unknown)},
    )


def _outcomes(camera: CameraTotals) -> Iterator[tuple[str, int]]:
    yield INSPECTED, camera.inspected
    for cause in DropCause:
        yield cause, camera.dropped.get(cause, 0)


def _by_name(values: Mapping[str, _Value]) -> dict[Labels, _Value]:
    return {(name,): value for name, value in values.items()}
