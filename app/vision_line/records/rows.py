# SPDX-License-Identifier: AGPL-3.0-or-later
"""Entries as rows: the statements that the writer executes. Pure: no file, no clock, no thread."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vision_line.frames import ClockStep, DefectEvent, Detections, DropCause, EventPhase, Observation
from vision_line.records.clip_rows import UPSERT_CLIP, clip_values
from vision_line.records.columns import SqlValue
from vision_line.records.entries import (
    AuditEntry,
    CameraLabels,
    CameraRecord,
    CamerasEntry,
    ClipEntry,
    ClockStepsEntry,
    ConfigurationEntry,
    CoverageEntry,
    DeviceEntry,
    DoubtEntry,
    Entry,
    EventsEntry,
    EvidenceEntry,
    FileDeletedEntry,
    FirstInspectionEntry,
    InspectedEntry,
    NearMissEntry,
    RunRecord,
    StatesEntry,
)
from vision_line.records.file_tables import FILE_TABLES
from vision_line.records.review_rows import INSERT_AUDIT, INSERT_NEAR_MISS, audit_values, near_miss_values
from vision_line.records.schema import DROPPED_COLUMNS
from vision_line.records.statements import (
    BOX_DIGITS,
    MASK_COLUMNS,
    SCORE_DIGITS,
    insert_sql,
    mask_values,
    outline_text,
    rounded,
)

Row = tuple[SqlValue, ...]
Statement = tuple[str, list[Row]]
#: By camera its station and recipe, and its newest row with since when that holds.
KnownCameras = tuple[Mapping[str, CameraLabels], Mapping[str, tuple[CameraRecord, float]]]


_CAMERA = ("run", "camera", "station", "recipe")
_BOX = ("x1", "y1", "x2", "y2")
_OBSERVATION = ("sequence", "score", *_BOX)
_SHOWN = (*_OBSERVATION, "outline", *MASK_COLUMNS)
_FIRST = tuple(f"first_{name}" for name in ("sequence", *_BOX))
_LAST = tuple(f"last_{name}" for name in _OBSERVATION)

INSERT_RUN = insert_sql(
    "runs",
    (
        *("run_id", "version", "started_utc", "config_sha256", "model_name", "model_sha256", "precision", "device"),
        *("host", "classes", "evidence", "boot_id", "clips", "node", "fleet"),
    ),
)
_UPDATE_DEVICE = "UPDATE runs SET precision = ?, instruction_set = ?, form = ?, form_reason = ? WHERE run = ?"
_INSERT_CAMERA = insert_sql(
    "cameras",
    ("run", "name", "station", "recipe", "url", "since_utc", "settings", "model_name", "model_sha256", "epoch"),
    key=("run", "name", "since_utc"),
)
#: In the row that holds now: it is the newest of its camera.
_SET_INSPECTED = """UPDATE cameras SET inspected_utc = ? WHERE run = ? AND name = ?
    AND since_utc = (SELECT max(since_utc) FROM cameras n WHERE (n.run, n.name) = (cameras.run, cameras.name))"""
_INSERT_DETECTION = insert_sql(
    "detections",
    (
        *(*_CAMERA, "sequence", "arrived_utc", "arrived_s", "camera_utc", "pts_s", "class", "score", *_BOX),
        *("width", "height", "event_id", "latency_ms", "behind_ms", "outline", *MASK_COLUMNS),
    ),
)
#: First sight, station and recipe stay those of the first row; the size stays known when a track ends without a frame.
#: Once there is an image, the row's observation is the image's.
_UPSERT_EVENT = (
    insert_sql(
        "events",
        (
            *(*_CAMERA, "event_id", "class", "verdict", "phase", "ended", "score", "top_score", "hits", *_BOX),
            *("width", "height", "sequence", "first_seen_utc", "first_seen_s", "last_seen_utc", "last_seen_s"),
            *("confirmed_sequence", *_FIRST, *_LAST, "outline", *MASK_COLUMNS),
        ),
        key=("run", "event_id"),
        keep=(
            *("camera", "station", "recipe", "width", "height", "first_seen_utc", "first_seen_s", "confirmed_sequence"),
            *(*_FIRST, *_SHOWN),
        ),
    )
    + ", width=coalesce(excluded.width, width), height=coalesce(excluded.height, height), "
    + ", ".join(f"{name}=iif(picture_sequence IS NULL, excluded.{name}, {name})" for name in _SHOWN)
)
#: The observation that an image shows becomes the row's.
SET_IMAGE = (
    f"UPDATE events SET {', '.join(f'{name} = ?' for name in ('picture_sequence', *_SHOWN))}"  # noqa: S608  the same
    " WHERE run = ? AND event_id = ?"
)
_UPSERT_MINUTE = insert_sql(
    "coverage",
    (
        *(*_CAMERA, "minute_utc", "arrived", "decoded", "inspected", *DROPPED_COLUMNS, "not_inspected_s"),
        *("reconnects", "clock", "provisional", "looked_utc"),
    ),
    key=("run", "camera", "minute_utc", "clock"),
)
_UPSERT_INTERVAL = insert_sql(
    "not_inspected",
    (*_CAMERA, "interval_id", "cause", "started_utc", "started_s", "ended_utc", "ended_s"),
    key=("run", "interval_id"),
    keep=("camera", "station", "recipe"),
)
_WITHDRAW_INTERVAL = "DELETE FROM not_inspected WHERE run = ? AND interval_id = ?"
INSERT_CLOCK_STEP = insert_sql("clock_steps", ("run", "clock", "at_s", "from_utc", "to_utc"), key=("run", "clock"))
_INSERT_STATE = insert_sql("states", (*_CAMERA, "state", "code", "detail", "at_utc", "at_s"))
_UPSERT_EVIDENCE = insert_sql(
    "evidence",
    (
        *("run", "event_id", "path", "overlay_path", "crop_path", "sha256", "overlay_sha256", "crop_sha256"),
        *("bytes", "created_utc", "missing"),
    ),
    key=("run", "event_id"),
)


def run_row(
    run: RunRecord, classes: Sequence[str], boot_id: str = "", *, evidence: bool, clips: str | None = None
) -> Row:
    """Return the values of `INSERT_RUN`; `clips` names the verdicts of which events have clips."""
    return (
        *(run.run_id, run.version, run.started_utc, run.config_sha256, run.model_name, run.model_sha256),
        *(run.precision, run.device, run.host, json.dumps(list(classes)), int(evidence)),
        *(boot_id, clips, run.node, run.fleet),
    )


def clock_step_row(run: int, step: ClockStep) -> Row:
    """Return the values of `INSERT_CLOCK_STEP`."""
    return run, step.clock, step.at_s, step.from_utc, step.to_utc


def event_of_each(detections: Detections, events: Sequence[DefectEvent], sequence: int) -> list[str | None]:
    """Return for each detection the id of the event whose box it is in this frame, None where there is none.

    An event's latest observation may be of this frame: then it is the nearest detection of its class whose corners lie
    within one pixel of that observation's box.
    """
    found: list[str | None] = [None] * len(detections)
    for event in events:
        observation = event.last_observation
        if observation.sequence != sequence or event.phase is EventPhase.END:
            continue
        distance = np.abs(detections.xyxy - np.asarray(observation.xyxy, np.float32)).max(axis=1, initial=0.0)
        distance[detections.class_id != event.class_id] = np.inf
        if len(distance) and distance.min() <= 1.0:
            found[int(distance.argmin())] = event.event_id
    return found


class RowMaker:
    """Turns entries into statements; knows the run, the class names and each camera's station and recipe.

    Used by the writer's thread alone, in the order of the entries.
    """

    def __init__(self, run: int, classes: Sequence[str], cameras: Sequence[CameraRecord]) -> None:
        """Start with the cameras of the run's beginning."""
        self._run = run
        self._classes = tuple(classes)
        # Both are replaced, never changed: `known` hands them out.
        self._labels: Mapping[str, CameraLabels] = {}
        self._entered: Mapping[str, tuple[CameraRecord, float]] = {}  # each camera's newest row, since when it holds
        self._learn(cameras)
        self._makers: Mapping[type, Callable[[Any], Iterator[Statement]]] = {
            InspectedEntry: self._inspected,
            EventsEntry: self._events,
            CoverageEntry: self._coverage,
            ClockStepsEntry: self._clock_steps,
            StatesEntry: self._states,
            CamerasEntry: self._cameras,
            FirstInspectionEntry: self._first_inspection,
            DeviceEntry: self._device,
            ConfigurationEntry: lambda _entry: iter(()),  # it has no row, only its place in the journal
            DoubtEntry: lambda _entry: iter(()),  # nor has this
            EvidenceEntry: self._evidence,
            ClipEntry: self._clip,
            FileDeletedEntry: self._file_deleted,
            NearMissEntry: self._near_miss,
            AuditEntry: self._audit,
        }

    def statements(self, entry: Entry) -> Iterator[Statement]:
        """Return what to execute for `entry`; the same again when asked again."""
        return self._makers[type(entry)](entry)

    @property
    def known(self) -> KnownCameras:
        """What entries have said of cameras up to now; set to what it was, where they could not be committed."""
        return self._labels, self._entered

    @known.setter
    def known(self, known: KnownCameras) -> None:
        self._labels, self._entered = known

    def _learn(self, cameras: Sequence[CameraRecord]) -> None:
        labels = {camera.name: camera.labels for camera in cameras}
        self._labels = {**self._labels, **labels}

    def _of(self, camera: str) -> Row:
        return (self._run, camera, *self._labels.get(camera, CameraLabels()))

    def _labelled(self, camera: str, labels: CameraLabels, values: Row) -> Row:
        """Return a row of what was seen before it was entered."""
        return (self._run, camera, *labels, *values)

    def _class_name(self, class_id: int) -> str:
        return self._classes[class_id] if 0 <= class_id < len(self._classes) else f"class {class_id}"

    def _inspected(self, entry: InspectedEntry) -> Iterator[Statement]:
        frame = entry.inspection.frame
        if len(entry.inspection.detections):
            yield _INSERT_DETECTION, self._detection_rows(entry)
        if entry.events:
            yield _UPSERT_EVENT, [self._event_row(event, frame.size_wh, frame.sequence) for event in entry.events]

    def _detection_rows(self, entry: InspectedEntry) -> list[Row]:
        frame, found = entry.inspection.frame, entry.inspection.detections
        taken = (frame.sequence, frame.arrived_utc, frame.arrived_s, frame.camera_utc, frame.pts_s)
        behind_ms = frame.behind_s * 1e3
        latency_ms = (entry.inspection.finished_s - frame.arrived_s) * 1e3 + behind_ms
        columns = zip(
            found.class_id.tolist(),
            found.score.astype(np.float64).round(SCORE_DIGITS).tolist(),
            found.xyxy.astype(np.float64).round(BOX_DIGITS).tolist(),
            event_of_each(found, entry.events, frame.sequence),
            map(outline_text, map(found.outline, range(len(found)))),
            map(mask_values, map(found.mask, range(len(found)))),
            strict=True,
        )
        return [
            (
                *(*self._of(frame.camera), *taken, self._class_name(number), score, *xyxy, *frame.size_wh),
                *(event, latency_ms, behind_ms, outline, *mask),
            )
            for number, score, xyxy, event, outline, mask in columns
        ]

    def _event_row(self, event: DefectEvent, size_wh: tuple[int, int] | None, frame: int) -> Row:
        return (
            *(*self._of(event.camera), event.event_id, event.class_name, str(event.verdict), str(event.phase)),
            *(int(event.phase is EventPhase.END), *rounded((event.score, event.top_score), SCORE_DIGITS), event.hits),
            *(*rounded(event.xyxy, BOX_DIGITS), *(size_wh or (None, None)), event.sequence),
            *(event.first_seen_utc, event.first_seen_s, event.last_seen_utc, event.last_seen_s, frame),
            *(
                event.first_observation.sequence,
                *rounded(event.first_observation.xyxy, BOX_DIGITS),
                *_observation_values(event.last_observation),
            ),
            *(outline_text(event.outline), *mask_values(event.mask)),
        )

    def _events(self, entry: EventsEntry) -> Iterator[Statement]:
        yield _UPSERT_EVENT, [self._event_row(event, None, event.sequence) for event in entry.events]

    def _coverage(self, entry: CoverageEntry) -> Iterator[Statement]:
        yield (
            _UPSERT_MINUTE,
            [
                (
                    *(*self._of(minute.camera), minute.minute_utc, minute.arrived, minute.decoded, minute.inspected),
                    *(minute.dropped.get(cause, 0) for cause in DropCause),
                    *(minute.not_inspected_s, minute.reconnects, minute.clock, int(minute.provisional)),
                    minute.looked_utc,
                )
                for minute in entry.minutes
            ],
        )
        yield (
            _UPSERT_INTERVAL,
            [
                (
                    *(*self._of(gap.camera), gap.interval_id, gap.cause, gap.started_utc, gap.started_s),
                    *(gap.ended_utc, gap.ended_s),
                )
                for gap in entry.intervals
                if not gap.withdrawn
            ],
        )
        yield _WITHDRAW_INTERVAL, [(self._run, gap.interval_id) for gap in entry.intervals if gap.withdrawn]

    def _clock_steps(self, entry: ClockStepsEntry) -> Iterator[Statement]:
        yield INSERT_CLOCK_STEP, [clock_step_row(self._run, step) for step in entry.steps]

    def _states(self, entry: StatesEntry) -> Iterator[Statement]:
        yield (
            _INSERT_STATE,
            [
                (*self._of(change.camera), str(change.state), change.code, change.detail, change.at_utc, change.at_s)
                for change in entry.changes
            ],
        )

    def _device(self, entry: DeviceEntry) -> Iterator[Statement]:
        yield _UPDATE_DEVICE, [(entry.precision, entry.instruction_set, entry.variant, entry.variant_reason, self._run)]

    def _cameras(self, entry: CamerasEntry) -> Iterator[Statement]:
        self._learn(entry.cameras)
        yield (
            _INSERT_CAMERA,
            [
                (
                    *(self._run, camera.name, camera.station, camera.recipe, camera.url, entry.since_utc),
                    *(camera.settings, camera.model_name, camera.model_sha256, camera.epoch),
                )
                for camera in self._news(entry)
            ],
        )

    def _first_inspection(self, entry: FirstInspectionEntry) -> Iterator[Statement]:
        yield _SET_INSPECTED, [(entry.inspected_utc, self._run, entry.camera)]

    def _news(self, entry: CamerasEntry) -> list[CameraRecord]:
        """Return the cameras of which `entry` says something new: a row stands for as long as it holds."""
        news = []
        for said in entry.cameras:
            known, since_utc = self._entered.get(said.name, (None, None))
            camera = said if known is None or said.settings else replace(said, settings=known.settings)
            if camera != known or since_utc == entry.since_utc:  # the latter: asked again
                self._entered = {**self._entered, camera.name: (camera, entry.since_utc)}
                news.append(camera)
        return news

    def _evidence(self, entry: EvidenceEntry) -> Iterator[Statement]:
        yield (
            _UPSERT_EVIDENCE,
            [
                (
                    *(self._run, entry.event_id, entry.path, entry.overlay_path, entry.crop_path),
                    *(entry.sha256, entry.overlay_sha256, entry.crop_sha256),
                    *(entry.size, entry.created_utc, entry.missing),
                )
            ],
        )
        if entry.observation is not None:
            yield SET_IMAGE, [image_row(self._run, entry.event_id, entry.observation)]

    def _near_miss(self, entry: NearMissEntry) -> Iterator[Statement]:
        yield INSERT_NEAR_MISS, [self._labelled(entry.candidate.camera, entry.labels, near_miss_values(entry))]

    def _audit(self, entry: AuditEntry) -> Iterator[Statement]:
        yield (
            INSERT_AUDIT,
            [self._labelled(entry.inspection.frame.camera, entry.labels, audit_values(entry, self._class_name))],
        )

    def _clip(self, entry: ClipEntry) -> Iterator[Statement]:
        yield UPSERT_CLIP, [self._labelled(entry.camera, entry.labels, clip_values(entry))]

    def _file_deleted(self, entry: FileDeletedEntry) -> Iterator[Statement]:
        sql = FILE_TABLES[entry.table].mark_deleted_by_key
        yield sql, [(entry.deleted_utc, entry.why, entry.run, *entry.key)]


def image_row(run: int, event_id: str, observation: Observation) -> Row:
    """Return the values of `SET_IMAGE`."""
    shown = (*_observation_values(observation), outline_text(observation.outline), *mask_values(observation.mask))
    return (observation.sequence, *shown, run, event_id)


def _observation_values(observation: Observation) -> list[float]:
    return [
        observation.sequence,
        *rounded((observation.score,), SCORE_DIGITS),
        *rounded(observation.xyxy, BOX_DIGITS),
    ]
