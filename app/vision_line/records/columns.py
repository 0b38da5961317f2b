# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an export holds: every table's columns with their type and meaning, as data. Public and stable.

`docs/records.md` is checked against it. New columns come last; none changes its meaning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from vision_line.frames import DropCause

#: What SQLite stores and returns.
SqlValue = str | int | float | bytes | None


class Table(StrEnum):
    """What can be exported."""

    EVENTS = "events"
    DETECTIONS = "detections"
    COVERAGE = "coverage"
    NOT_INSPECTED = "not_inspected"
    STATES = "states"
    RUNS = "runs"
    CAMERAS = "cameras"
    CLOCK_STEPS = "clock_steps"
    REMOVALS = "removals"


class ColumnType(StrEnum):
    """A column's type; `docs/records.md` says how each format writes it."""

    TEXT = "text"
    CATEGORY = "category"  # text of few values: a dictionary column in Parquet
    INTEGER = "integer"
    REAL = "real"
    TIME = "time"  # a moment in UTC
    BOOLEAN = "boolean"


@dataclass(frozen=True, slots=True)
class ExportColumn:
    """A column of an export; `sql` is where it comes from in the table's query."""

    name: str
    kind: ColumnType
    meaning: str
    sql: str


_DROP_MEANINGS = {
    DropCause.SUPERSEDED: "a newer frame came before there was room",
    DropCause.STALE: "too old when there was room",
    DropCause.BEHIND: "too old when it was read, so the queue was skipped",
    DropCause.SHED: "not decoded: more came than the box can decode",
    DropCause.RATE_CAP: "beyond the camera's `inspect_fps`",
    DropCause.FROZEN: "the frame repeated, so it showed nothing new",
    DropCause.CORRUPT: "damaged, or before the first keyframe",
    DropCause.LOG: "the detection log could not take results",
    DropCause.SHUTDOWN: "still waiting when the program ended",
}


def _maker(kind: ColumnType) -> Callable[..., ExportColumn]:
    """Return what makes a column of `kind` by name, meaning and, where it is not the table's own, its place."""
    return lambda name, meaning, sql="": ExportColumn(name, kind, meaning, sql or f"t.{name}")


_text, _category, _integer, _real, _time, _boolean = map(_maker, ColumnType)

_RUN = _category("run_id", "the run of vision-line that wrote the row", "r.run_id")
_MODEL = _category("model_sha256", "SHA-256 of the model file that inspected", "r.model_sha256")

_CAMERA = (
    _category("camera", "the camera's name"),
    _category("station", "the camera's `station` at that moment"),
    _category("recipe", "the camera's `recipe` at that moment"),
)

_EDGES = {"x1": "left", "y1": "top", "x2": "right", "y2": "bottom"}

_BOX = (
    _real("x1", "left edge of the box, pixels of the camera's frame"),
    *(_real(name, f"{_EDGES[name]} edge of the box") for name in ("y1", "x2", "y2")),
    _integer("width", "width of the camera's frame, pixels"),
    _integer("height", "height of the camera's frame, pixels"),
)


def _box_of(prefix: str, words: str) -> tuple[ExportColumn, ...]:
    return tuple(_real(f"{prefix}_{name}", f"{edge} edge of the box of the {words}") for name, edge in _EDGES.items())


def _of_runs(*columns: ExportColumn) -> tuple[ExportColumn, ...]:
    return tuple(replace(column, sql=f"r.{column.name}") for column in columns)


COLUMNS: dict[Table, tuple[ExportColumn, ...]] = {
    Table.EVENTS: (
        _text("event_id", "one physical defect; unique within a run"),
        *_CAMERA,
        _category("class", "the defect's class"),
        _category("verdict", "`accept` (below `warn_threshold`: harmless), `warn` or `reject`"),
        _real("score", "score of the best observation, 0 to 1: the one that the images show"),
        _real("top_score", "the highest score of all observations, before the event was confirmed too"),
        _integer("hits", "inspections that saw the defect"),
        _category("phase", "the last change written: `new`, `update` or `end`"),
        _boolean("ended", "the defect has left the frame; false in a run that was killed before that"),
        _time("first_seen_utc", "when the camera sent the first frame that showed it"),
        _time("last_seen_utc", "when the camera sent the latest frame that showed it"),
        _real("first_seen_s", "the same as `first_seen_utc` by the monotonic clock"),
        _real("last_seen_s", "the same as `last_seen_utc` by the monotonic clock"),
        _integer("sequence", "the camera's frame number of the best observation, as are the box and the images"),
        *_BOX,
        _text("evidence", "path of the untouched image in the record directory", "e.path"),
        _text("evidence_overlay", "path of the image with boxes and caption", "e.overlay_path"),
        _text("evidence_sha256", "SHA-256 of the untouched image", "e.sha256"),
        _time("evidence_deleted_utc", "when the images were removed to make room", "e.deleted_utc"),
        _text("evidence_missing", "why there never was an image", "e.missing"),
        _MODEL,
        _RUN,
        _text("crop_path", "path of the enlarged part of the image with the defect", "e.crop_path"),
        _text("evidence_overlay_sha256", "SHA-256 of the image with boxes and caption", "e.overlay_sha256"),
        _text("crop_sha256", "SHA-256 of the enlarged part", "e.crop_sha256"),
        _integer("first_sequence", "the camera's frame number of the first observation"),
        *_box_of("first", "first observation"),
        _integer("last_sequence", "the camera's frame number of the latest observation"),
        _real("last_score", "score of the latest observation"),
        *_box_of("last", "latest observation"),
    ),
    Table.DETECTIONS: (
        *_CAMERA,
        _integer("sequence", "the camera's frame number in this run"),
        _time("arrived_utc", "when the frame's last packet had arrived"),
        _real("arrived_s", "the same by the monotonic clock"),
        _time("camera_utc", "the camera's own clock (RTCP), where it sends one"),
        _real("pts_s", "the frame's time in the stream, seconds"),
        _category("class", "the detection's class"),
        _real("score", "0 to 1"),
        *_BOX,
        _text("event_id", "the event whose box this is, where the event changed with this frame"),
        _real("latency_ms", "the camera sent it -> result, milliseconds: `behind_ms` is in it"),
        _MODEL,
        _RUN,
        _real("behind_ms", "how late it had arrived, milliseconds: what it waited in queues on the way"),
    ),
    Table.COVERAGE: (
        *_CAMERA,
        _time("minute_utc", "the minute's beginning"),
        _integer("arrived", "frames that arrived"),
        _integer("decoded", "frames that were decoded"),
        _integer("inspected", "frames that were inspected"),
        *(_integer(f"dropped_{cause}", f"not inspected: {_DROP_MEANINGS[cause]}") for cause in DropCause),
        _real("not_inspected_s", "seconds of the minute in which the line was not inspected"),
        _integer("reconnects", "times the camera showed frames again after its connection had been lost"),
        _RUN,
        _integer("clock", "how often the wall clock had been set in this run"),
        _boolean("provisional", "the minute goes on, or the run was killed in it"),
        _time("looked_utc", "the latest inspection; empty when the minute is over"),
    ),
    Table.NOT_INSPECTED: (
        _text("interval_id", "one interval; unique within a run"),
        *_CAMERA,
        _category("cause", "why: see above"),
        _time("started_utc", "the last inspection before it"),
        _time("ended_utc", "the first inspection after it; empty while it lasts"),
        _real("started_s", "the same as `started_utc` by the monotonic clock"),
        _real("ended_s", "the same as `ended_utc` by the monotonic clock"),
        _RUN,
    ),
    Table.STATES: (
        *_CAMERA,
        _category("state", "the camera's state from now on"),
        _category("code", "the error code, where an error caused it"),
        _text("detail", "what was found"),
        _time("at_utc", "when"),
        _real("at_s", "the same by the monotonic clock"),
        _RUN,
    ),
    Table.RUNS: (
        _RUN,
        *_of_runs(
            _text("version", "version of vision-line"),
            _time("started_utc", "when the run began"),
            _time("ended_utc", "when it ended, or its last sign of life; empty while it lasts"),
            _text("config_sha256", "SHA-256 of the configuration file as it was when the run began"),
            _text("model_name", "the model's name"),
            _text("model_sha256", "SHA-256 of the model file"),
            _text("precision", "`int8`, `fp32` ..."),
            _text("device", "what inspected"),
            _text("instruction_set", "strongest of the processor for INT8, `AVX2` ...; empty where a GPU infers"),
            _text("form", "the variant of the model that ran, in words"),
            _text("form_reason", "why this variant, and what proved it"),
            _text("host", "the machine"),
            _text("classes", "the model's classes, a JSON list"),
            _category("end_cause", "`stopped`, `failed` or `crashed`; empty while it lasts"),
            _time("alive_utc", "up to when its ledger accounts for its cameras"),
        ),
    ),
    Table.CAMERAS: (
        _category("camera", "the camera's name", "t.name"),
        _category("station", "the camera's `station`"),
        _category("recipe", "the camera's `recipe`"),
        _text("url", "its URL, with user and password masked"),
        _time("since_utc", "since when it was configured so, until its next row or the run's end"),
        _text("settings", "all its other keys of `streams.toml` with their values, a JSON object"),
        _RUN,
    ),
    Table.CLOCK_STEPS: (
        _integer("clock", "how often it had been set in this run, this time included; 0: before its start"),
        _real("at_s", "when it was noticed, by the monotonic clock"),
        _time("from_utc", "what the wall clock would have said"),
        _time("to_utc", "what it said"),
        _real("step_s", "how far it jumped, seconds; negative: it was set back", "t.to_utc - t.from_utc"),
        _RUN,
    ),
    Table.REMOVALS: (
        _category("removed_from", "the table"),
        _integer("rows", "how many of its rows were removed"),
        _time("from_utc", "time of the oldest of them"),
        _time("to_utc", "time of the newest of them"),
        _category("why", "`keep_days`, `max_mb` or `prune`"),
        _time("at_utc", "when it was done; days of it are one row"),
    ),
}
