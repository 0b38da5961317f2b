# SPDX-License-Identifier: AGPL-3.0-or-later
"""A run as Prometheus metrics: the same totals that the summary is made of, so that the two agree.

Every configured camera has its series from the first scrape on, dead or alive, and keeps them when it is removed: an
alert on a series that is not there never fires. Series of a cause, of a class and verdict come when they first occur.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from vision_line.frames import INSPECTING_STATES, DropCause
from vision_line.telemetry.camera_metrics import CameraTotals
from vision_line.telemetry.latency_histogram import Counts, counts_up_to, sum_of
from vision_line.telemetry.metrics import RunTotals
from vision_line.telemetry.reading import Reading

#: Upper bounds of the histograms, in seconds: closest where a line's latency lies.
LATENCY_BOUNDS_S = (0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
INSPECTED = "inspected"
_CAMERA = ("camera",)
_Value = TypeVar("_Value")


class Exposition(Collector):
    """Turns readings into text; any thread, one scrape after the other."""

    CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self, read: Callable[[], Reading]) -> None:
        """`read` is called for each scrape."""
        self._read = read
        self._lock = threading.Lock()
        self._seconds = NeverFalling()
        self._process = ProcessCollector(registry=None)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format, version 0.0.4."""
        with self._lock:  # readings must be rendered in their order, or counters fall
            return generate_latest(self)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of one reading."""
        reading = self._read()
        yield from _run_metrics(reading.totals)
        yield from _log_metrics(reading)
        yield from _camera_states(reading)
        yield from _camera_counters(reading.totals.cameras)
        yield from self._time_counters(reading.totals.cameras)
        yield from self._process.collect()

    def _time_counters(self, cameras: Sequence[CameraTotals]) -> Iterator[Metric]:
        due = {camera.name: camera.covered.due_s for camera in cameras}
        missed = {camera.name: sum(camera.covered.not_inspected_s.values()) for camera in cameras}
        causes: dict[tuple[str, ...], float] = {
            (camera.name, cause): seconds
            for camera in cameras
            for cause, seconds in camera.covered.not_inspected_s.items()
        }
        yield _counter(
            "vision_line_inspection_due_seconds",
            "Time in which inspection of the camera was due",
            _CAMERA,
            self._seconds.of("due", _by_name(due)),
        )
        yield _counter(
            "vision_line_inspection_missed_seconds",
            "Time of it in which the camera was not inspected, of all causes",
            _CAMERA,
            self._seconds.of("missed", _by_name(missed)),
        )
        yield _counter(
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
        self._highest: dict[tuple[str, tuple[str, ...]], float] = {}

    def of(self, name: str, values: Mapping[tuple[str, ...], float]) -> dict[tuple[str, ...], float]:
        """Return the highest values of metric `name`, also of series that are not in `values` any more."""
        for labels, value in values.items():
            key = name, labels
            self._highest[key] = max(self._highest.get(key, 0.0), value)
        return {labels: value for (of, labels), value in self._highest.items() if of == name}


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
    yield _histogram(
        "vision_line_behind_seconds",
        "Part of the latency that inspected frames waited in queues before they were read",
        (),
        {(): totals.behind},
    )
    yield _histogram(
        "vision_line_log_durable_seconds",
        "From the oldest result of a commit until it was on the disk",
        (),
        {(): totals.commit_latency},
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


def _camera_states(reading: Reading) -> Iterator[Metric]:
    cameras, troubles = reading.totals.cameras, reading.troubles
    yield _gauge(
        "vision_line_camera_up",
        "1: the camera sends usable frames",
        {camera.name: camera.state in INSPECTING_STATES for camera in cameras},
    )
    yield _gauge(
        "vision_line_camera_expected",
        "1: inspection of the camera is due; 0: it was removed, or is a file that ended properly",
        {camera.name: camera.is_expected for camera in cameras},
    )
    yield _gauge(
        "vision_line_camera_inspected",
        "1: the camera is inspected often enough now",
        {
            camera.name: camera.is_expected and camera.name not in troubles and reading.log.writable
            for camera in cameras
        },
    )
    info = GaugeMetricFamily(
        "vision_line_camera_info",
        "State of the camera and the error code behind it",
        labels=("camera", "state", "code"),
    )
    for camera in cameras:
        info.add_metric((camera.name, camera.state, camera.code or ""), 1)
    yield info
    yield _gauge(
        "vision_line_needed_inspections_per_second",
        "Inspections per second that every part needs; 0: any rate",
        {camera.name: camera.needed_fps for camera in cameras},
    )
    yield _gauge(
        "vision_line_last_inspected_timestamp_seconds",
        "When the newest inspected frame was captured, seconds since 1970; 0: none was",
        {camera.name: camera.inspected_utc or 0.0 for camera in cameras},
    )


def _camera_counters(cameras: Sequence[CameraTotals]) -> Iterator[Metric]:
    yield _counter(
        "vision_line_frames_arrived",
        "Frames whose last packet was read",
        _CAMERA,
        _by_name({camera.name: camera.arrived for camera in cameras}),
    )
    yield _counter(
        "vision_line_frames",
        "Frames by what became of them: inspected, or why they were dropped",
        ("camera", "outcome"),
        {(camera.name, outcome): n for camera in cameras for outcome, n in _outcomes(camera)},
    )
    yield _counter(
        "vision_line_detections",
        "Detections that passed the camera's filter",
        _CAMERA,
        _by_name({camera.name: camera.detections for camera in cameras}),
    )
    yield _counter(
        "vision_line_events",
        "Defect events that have ended, by their final verdict",
        ("camera", "class", "verdict"),
        {(camera.name, *kind): n for camera in cameras for kind, n in camera.ended_events.items()},
    )
    yield _counter(
        "vision_line_reconnects",
        "Times the camera sent frames again after its connection had been lost",
        _CAMERA,
        _by_name({camera.name: camera.reconnects for camera in cameras}),
    )
    yield _histogram(
        "vision_line_latency_seconds",
        "From when the camera sent a frame until its result was handed to the records",
        _CAMERA,
        _by_name({camera.name: camera.latency for camera in cameras}),
    )


def _outcomes(camera: CameraTotals) -> Iterator[tuple[str, int]]:
    yield INSPECTED, camera.inspected
    for cause in DropCause:
        yield cause, camera.dropped.get(cause, 0)


def _by_name(values: Mapping[str, _Value]) -> dict[tuple[str, ...], _Value]:
    return {(name,): value for name, value in values.items()}


def _counter(
    name: str, meaning: str, labels: Sequence[str], values: Mapping[tuple[str, ...], float]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, meaning, labels=labels)
    for found, value in values.items():
        family.add_metric(found, value)
    return family


def _gauge(name: str, meaning: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, meaning, labels=_CAMERA)
    for camera, value in values.items():
        family.add_metric((camera,), value)
    return family


def _histogram(
    name: str, meaning: str, labels: Sequence[str], values: Mapping[tuple[str, ...], Counts]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, meaning, labels=labels)
    for found, counts in values.items():
        family.add_metric(found, _buckets(counts), sum_of(counts))
    return family


def _buckets(counts: Counts) -> list[tuple[str, float]]:
    bounded = zip(map(str, LATENCY_BOUNDS_S), counts_up_to(counts, LATENCY_BOUNDS_S), strict=True)
    return [*bounded, ("+Inf", int(counts.sum()))]
