# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an export holds: every table's columns with their type and meaning, as data. Public and stable.

`docs/records.md` is checked against it. New columns come last; none changes its meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
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


def _of(alias: str, *columns: tuple[str, ColumnType, str]) -> tuple[ExportColumn, ...]:
    return tuple(ExportColumn(name, kind, meaning, f"{alias}.{name}") for name, kind, meaning in columns)


_RUN = (ExportColumn("run_id", ColumnType.CATEGORY, "the run of vision-line that wrote the row", "r.run_id"),)

_CAMERA = _of(
    "t",
    ("camera", ColumnType.CATEGORY, "the camera's name"),
    ("station", ColumnType.CATEGORY, "the camera's `station` at that moment"),
    ("recipe", ColumnType.CATEGORY, "the camera's `recipe` at that moment"),
)

_BOX = _of(
    "t",
    ("x1", ColumnType.REAL, "left edge of the box, pixels of the camera's frame"),
    ("y1", ColumnType.REAL, "top edge of the box"),
    ("x2", ColumnType.REAL, "right edge of the box"),
    ("y2", ColumnType.REAL, "bottom edge of the box"),
    ("width", ColumnType.INTEGER, "width of the camera's frame, pixels"),
    ("height", ColumnType.INTEGER, "height of the camera's frame, pixels"),
)


def _box_of(prefix: str, words: str) -> tuple[ExportColumn, ...]:
    edges = (("x1", "left"), ("y1", "top"), ("x2", "right"), ("y2", "bottom"))
    return _of(
        "t", *((f"{prefix}_{name}", ColumnType.REAL, f"{edge} edge of the box of the {words}") for name, edge in edges)
    )


_MODEL = (
    ExportColumn("model_sha256", ColumnType.CATEGORY, "SHA-256 of the model file that inspected", "r.model_sha256"),
)

COLUMNS: dict[Table, tuple[ExportColumn, ...]] = {
    Table.EVENTS: (
        *_of("t", ("event_id", ColumnType.TEXT, "one physical defect; unique within a run")),
        *_CAMERA,
        *_of(
            "t",
            ("class", ColumnType.CATEGORY, "the defect's class"),
            ("verdict", ColumnType.CATEGORY, "`accept` (below `warn_threshold`: harmless), `warn` or `reject`"),
            ("score", ColumnType.REAL, "score of the best observation, 0 to 1: the one that the images show"),
            ("top_score", ColumnType.REAL, "the highest score of all observations, before the event was confirmed too"),
            ("hits", ColumnType.INTEGER, "inspections that saw the defect"),
            ("phase", ColumnType.CATEGORY, "the last change written: `new`, `update` or `end`"),
            (
                "ended",
                ColumnType.BOOLEAN,
                "the defect has left the frame; false in a run that was killed before that",
            ),
            ("first_seen_utc", ColumnType.TIME, "when the camera sent the first frame that showed it"),
            ("last_seen_utc", ColumnType.TIME, "when the camera sent the latest frame that showed it"),
            ("first_seen_s", ColumnType.REAL, "the same as `first_seen_utc` by the monotonic clock"),
            ("last_seen_s", ColumnType.REAL, "the same as `last_seen_utc` by the monotonic clock"),
            (
                "sequence",
                ColumnType.INTEGER,
                "the camera's frame number of the best observation, as are the box and the images",
            ),
        ),
        *_BOX,
        ExportColumn("evidence", ColumnType.TEXT, "path of the untouched image in the record directory", "e.path"),
        ExportColumn("evidence_overlay", ColumnType.TEXT, "path of the image with boxes and caption", "e.overlay_path"),
        ExportColumn("evidence_sha256", ColumnType.TEXT, "SHA-256 of the untouched image", "e.sha256"),
        ExportColumn(
            "evidence_deleted_utc", ColumnType.TIME, "when the images were removed to make room", "e.deleted_utc"
        ),
        ExportColumn("evidence_missing", ColumnType.TEXT, "why there never was an image", "e.missing"),
        *_MODEL,
        *_RUN,
        ExportColumn(
            "crop_path", ColumnType.TEXT, "path of the enlarged part of the image with the defect", "e.crop_path"
        ),
        ExportColumn(
            "evidence_overlay_sha256",
            ColumnType.TEXT,
            "SHA-256 of the image with boxes and caption",
            "e.overlay_sha256",
        ),
        ExportColumn("crop_sha256", ColumnType.TEXT, "SHA-256 of the enlarged part", "e.crop_sha256"),
        *_of("t", ("first_sequence", ColumnType.INTEGER, "the camera's frame number of the first observation")),
        *_box_of("first", "first observation"),
        *_of(
            "t",
            ("last_sequence", ColumnType.INTEGER, "the camera's frame number of the latest observation"),
            ("last_score", ColumnType.REAL, "score of the latest observation"),
        ),
        *_box_of("last", "latest observation"),
    ),
    Table.DETECTIONS: (
        *_CAMERA,
        *_of(
            "t",
            ("sequence", ColumnType.INTEGER, "the camera's frame number in this run"),
            ("arrived_utc", ColumnType.TIME, "when the frame's last packet had arrived"),
            ("arrived_s", ColumnType.REAL, "the same by the monotonic clock"),
            ("camera_utc", ColumnType.TIME, "the camera's own clock (RTCP), where it sends one"),
            ("pts_s", ColumnType.REAL, "the frame's time in the stream, seconds"),
            ("class", ColumnType.CATEGORY, "the detection's class"),
            ("score", ColumnType.REAL, "0 to 1"),
        ),
        *_BOX,
        *_of(
            "t",
            ("event_id", ColumnType.TEXT, "the event whose box this is, where the event changed with this frame"),
            ("latency_ms", ColumnType.REAL, "the camera sent it -> result, milliseconds: `behind_ms` is in it"),
        ),
        *_MODEL,
        *_RUN,
        *_of(
            "t",
            (
                "behind_ms",
                ColumnType.REAL,
                "how late it had arrived, milliseconds: what it waited in queues on the way",
            ),
        ),
    ),
    Table.COVERAGE: (
        *_CAMERA,
        *_of(
            "t",
            ("minute_utc", ColumnType.TIME, "the minute's beginning"),
            ("arrived", ColumnType.INTEGER, "frames that arrived"),
            ("decoded", ColumnType.INTEGER, "frames that were decoded"),
            ("inspected", ColumnType.INTEGER, "frames that were inspected"),
            *(
                (f"dropped_{cause}", ColumnType.INTEGER, f"not inspected: {_DROP_MEANINGS[cause]}")
                for cause in DropCause
            ),
            ("not_inspected_s", ColumnType.REAL, "seconds of the minute in which the line was not inspected"),
            (
                "reconnects",
                ColumnType.INTEGER,
                "times the camera showed frames again after its connection had been lost",
            ),
        ),
        *_RUN,
        *_of(
            "t",
            ("clock", ColumnType.INTEGER, "how often the wall clock had been set in this run"),
            ("provisional", ColumnType.BOOLEAN, "the minute goes on, or the run was killed in it"),
            ("looked_utc", ColumnType.TIME, "the latest inspection; empty when the minute is over"),
        ),
    ),
    Table.NOT_INSPECTED: (
        *_of("t", ("interval_id", ColumnType.TEXT, "one interval; unique within a run")),
        *_CAMERA,
        *_of(
            "t",
            ("cause", ColumnType.CATEGORY, "why: see above"),
            ("started_utc", ColumnType.TIME, "the last inspection before it"),
            ("ended_utc", ColumnType.TIME, "the first inspection after it; empty while it lasts"),
            ("started_s", ColumnType.REAL, "the same as `started_utc` by the monotonic clock"),
            ("ended_s", ColumnType.REAL, "the same as `ended_utc` by the monotonic clock"),
        ),
        *_RUN,
    ),
    Table.STATES: (
        *_CAMERA,
        *_of(
            "t",
            ("state", ColumnType.CATEGORY, "the camera's state from now on"),
            ("code", ColumnType.CATEGORY, "the error code, where an error caused it"),
            ("detail", ColumnType.TEXT, "what was found"),
            ("at_utc", ColumnType.TIME, "when"),
            ("at_s", ColumnType.REAL, "the same by the monotonic clock"),
        ),
        *_RUN,
    ),
    Table.RUNS: (
        *_RUN,
        *_of(
            "r",
            ("version", ColumnType.TEXT, "version of vision-line"),
            ("started_utc", ColumnType.TIME, "when the run began"),
            ("ended_utc", ColumnType.TIME, "when it ended, or its last sign of life; empty while it lasts"),
            ("config_sha256", ColumnType.TEXT, "SHA-256 of the configuration file as it was when the run began"),
            ("model_name", ColumnType.TEXT, "the model's name"),
            ("model_sha256", ColumnType.TEXT, "SHA-256 of the model file"),
            ("precision", ColumnType.TEXT, "`int8`, `fp32` ..."),
            ("device", ColumnType.TEXT, "what inspected"),
            (
                "instruction_set",
                ColumnType.TEXT,
                "strongest of the processor for INT8, `AVX2` ...; empty where a GPU infers",
            ),
            ("form", ColumnType.TEXT, "the variant of the model that ran, in words"),
            ("form_reason", ColumnType.TEXT, "why this variant, and what proved it"),
            ("host", ColumnType.TEXT, "the machine"),
            ("classes", ColumnType.TEXT, "the model's classes, a JSON list"),
            ("end_cause", ColumnType.CATEGORY, "`stopped`, `failed` or `crashed`; empty while it lasts"),
            ("alive_utc", ColumnType.TIME, "up to when its ledger accounts for its cameras"),
        ),
    ),
    Table.CAMERAS: (
        ExportColumn("camera", ColumnType.CATEGORY, "the camera's name", "t.name"),
        *_of(
            "t",
            ("station", ColumnType.CATEGORY, "the camera's `station`"),
            ("recipe", ColumnType.CATEGORY, "the camera's `recipe`"),
            ("url", ColumnType.TEXT, "its URL, with user and password masked"),
            ("since_utc", ColumnType.TIME, "since when it was configured so, until its next row or the run's end"),
            ("settings", ColumnType.TEXT, "all its other keys of `streams.toml` with their values, a JSON object"),
        ),
        *_RUN,
    ),
    Table.CLOCK_STEPS: (
        *_of(
            "t",
            (
                "clock",
                ColumnType.INTEGER,
                "how often it had been set in this run, this time included; 0: before its start",
            ),
            ("at_s", ColumnType.REAL, "when it was noticed, by the monotonic clock"),
            ("from_utc", ColumnType.TIME, "what the wall clock would have said"),
            ("to_utc", ColumnType.TIME, "what it said"),
        ),
        ExportColumn(
            "step_s", ColumnType.REAL, "how far it jumped, seconds; negative: it was set back", "t.to_utc - t.from_utc"
        ),
        *_RUN,
    ),
    Table.REMOVALS: _of(
        "t",
        ("removed_from", ColumnType.CATEGORY, "the table"),
        ("rows", ColumnType.INTEGER, "how many of its rows were removed"),
        ("from_utc", ColumnType.TIME, "time of the oldest of them"),
        ("to_utc", ColumnType.TIME, "time of the newest of them"),
        ("why", ColumnType.CATEGORY, "`keep_days`, `max_mb` or `prune`"),
        ("at_utc", ColumnType.TIME, "when it was done; days of it are one row"),
    ),
}
