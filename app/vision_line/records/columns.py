# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an export holds: every table's columns with their type and meaning, as data. Public and stable.

`docs/records.md` is checked against it. New columns come last; none changes its meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from vision_line.frames import DropCause


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


class Kind(StrEnum):
    """A column's type; `docs/records.md` says how each format writes it."""

    TEXT = "text"
    CATEGORY = "category"  # text of few values: a dictionary column in Parquet
    INTEGER = "integer"
    REAL = "real"
    TIME = "time"  # a moment in UTC
    BOOLEAN = "boolean"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an export; `sql` is where it comes from in the table's query."""

    name: str
    kind: Kind
    meaning: str
    sql: str


_DROP_MEANINGS = {
    DropCause.SUPERSEDED: "a newer frame came before there was room",
    DropCause.STALE: "too old when there was room",
    DropCause.BEHIND: "too old when it was read, so the queue was skipped",
    DropCause.SHED: "not decoded: more came than the box can decode",
    DropCause.RATE_CAP: "beyond the camera's `inspect_fps`",
    DropCause.FROZEN: "the picture repeated, so it showed nothing new",
    DropCause.CORRUPT: "damaged, or before the first keyframe",
    DropCause.LOG: "the detection log could not take results",
    DropCause.SHUTDOWN: "still waiting when the program ended",
}


def _of(alias: str, *columns: tuple[str, Kind, str]) -> tuple[Column, ...]:
    return tuple(Column(name, kind, meaning, f"{alias}.{name}") for name, kind, meaning in columns)


_RUN = (Column("run_id", Kind.CATEGORY, "the run of vision-line that wrote the row", "r.run_id"),)

_CAMERA = _of(
    "t",
    ("camera", Kind.CATEGORY, "the camera's name"),
    ("station", Kind.CATEGORY, "the camera's `station` at that moment"),
    ("recipe", Kind.CATEGORY, "the camera's `recipe` at that moment"),
)

_BOX = _of(
    "t",
    ("x1", Kind.REAL, "left edge of the box, pixels of the camera's picture"),
    ("y1", Kind.REAL, "top edge of the box"),
    ("x2", Kind.REAL, "right edge of the box"),
    ("y2", Kind.REAL, "bottom edge of the box"),
    ("width", Kind.INTEGER, "width of the camera's picture, pixels"),
    ("height", Kind.INTEGER, "height of the camera's picture, pixels"),
)


def _box_of(look: str, words: str) -> tuple[Column, ...]:
    edges = (("x1", "left"), ("y1", "top"), ("x2", "right"), ("y2", "bottom"))
    return _of("t", *((f"{look}_{name}", Kind.REAL, f"{edge} edge of the box of the {words}") for name, edge in edges))


_MODEL = (Column("model_sha256", Kind.CATEGORY, "SHA-256 of the model file that inspected", "r.model_sha256"),)

COLUMNS: dict[Table, tuple[Column, ...]] = {
    Table.EVENTS: (
        *_of("t", ("event_id", Kind.TEXT, "one physical defect; unique within a run")),
        *_CAMERA,
        *_of(
            "t",
            ("class", Kind.CATEGORY, "the defect's class"),
            ("verdict", Kind.CATEGORY, "`accept` (below `warn_threshold`: harmless), `warn` or `reject`"),
            ("score", Kind.REAL, "score of the best look, 0 to 1: the one that the pictures show"),
            ("top_score", Kind.REAL, "the highest score of all looks, before the event was confirmed too"),
            ("hits", Kind.INTEGER, "inspections that saw the defect"),
            ("phase", Kind.CATEGORY, "the last change written: `new`, `update` or `end`"),
            ("ended", Kind.BOOLEAN, "the defect has left the picture; false in a run that was killed before that"),
            ("first_seen_utc", Kind.TIME, "when the camera sent the first frame that showed it"),
            ("last_seen_utc", Kind.TIME, "when the camera sent the latest frame that showed it"),
            ("first_seen_s", Kind.REAL, "the same as `first_seen_utc` by the monotonic clock"),
            ("last_seen_s", Kind.REAL, "the same as `last_seen_utc` by the monotonic clock"),
            ("sequence", Kind.INTEGER, "the camera's frame number of the best look, as are the box and the pictures"),
        ),
        *_BOX,
        Column("evidence", Kind.TEXT, "path of the untouched picture in the record directory", "e.path"),
        Column("evidence_overlay", Kind.TEXT, "path of the picture with boxes and caption", "e.overlay_path"),
        Column("evidence_sha256", Kind.TEXT, "SHA-256 of the untouched picture", "e.sha256"),
        Column("evidence_deleted_utc", Kind.TIME, "when the pictures were removed to make room", "e.deleted_utc"),
        Column("evidence_missing", Kind.TEXT, "why there never was a picture", "e.missing"),
        *_MODEL,
        *_RUN,
        Column("crop_path", Kind.TEXT, "path of the enlarged part of the picture with the defect", "e.crop_path"),
        Column(
            "evidence_overlay_sha256", Kind.TEXT, "SHA-256 of the picture with boxes and caption", "e.overlay_sha256"
        ),
        Column("crop_sha256", Kind.TEXT, "SHA-256 of the enlarged part", "e.crop_sha256"),
        *_of("t", ("first_sequence", Kind.INTEGER, "the camera's frame number of the first look")),
        *_box_of("first", "first look"),
        *_of(
            "t",
            ("last_sequence", Kind.INTEGER, "the camera's frame number of the latest look"),
            ("last_score", Kind.REAL, "score of the latest look"),
        ),
        *_box_of("last", "latest look"),
    ),
    Table.DETECTIONS: (
        *_CAMERA,
        *_of(
            "t",
            ("sequence", Kind.INTEGER, "the camera's frame number in this run"),
            ("arrived_utc", Kind.TIME, "when the frame's last packet had arrived"),
            ("arrived_s", Kind.REAL, "the same by the monotonic clock"),
            ("camera_utc", Kind.TIME, "the camera's own clock (RTCP), where it sends one"),
            ("pts_s", Kind.REAL, "the frame's time in the stream, seconds"),
            ("class", Kind.CATEGORY, "the detection's class"),
            ("score", Kind.REAL, "0 to 1"),
        ),
        *_BOX,
        *_of(
            "t",
            ("event_id", Kind.TEXT, "the event whose box this is, where the event changed with this frame"),
            ("latency_ms", Kind.REAL, "the camera sent it -> result, milliseconds: `behind_ms` is in it"),
        ),
        *_MODEL,
        *_RUN,
        *_of(
            "t", ("behind_ms", Kind.REAL, "how late it had arrived, milliseconds: what it waited in queues on the way")
        ),
    ),
    Table.COVERAGE: (
        *_CAMERA,
        *_of(
            "t",
            ("minute_utc", Kind.TIME, "the minute's beginning"),
            ("arrived", Kind.INTEGER, "frames that arrived"),
            ("decoded", Kind.INTEGER, "frames that were decoded"),
            ("inspected", Kind.INTEGER, "frames that were inspected"),
            *((f"dropped_{cause}", Kind.INTEGER, f"not inspected: {_DROP_MEANINGS[cause]}") for cause in DropCause),
            ("not_inspected_s", Kind.REAL, "seconds of the minute in which the line was not inspected"),
            ("reconnects", Kind.INTEGER, "times the camera showed pictures again after its connection had been lost"),
        ),
        *_RUN,
        *_of(
            "t",
            ("clock", Kind.INTEGER, "how often the wall clock had been set in this run"),
            ("provisional", Kind.BOOLEAN, "the minute goes on, or the run was killed in it"),
            ("looked_utc", Kind.TIME, "the latest inspection; empty when the minute is over"),
        ),
    ),
    Table.NOT_INSPECTED: (
        *_of("t", ("interval_id", Kind.TEXT, "one interval; unique within a run")),
        *_CAMERA,
        *_of(
            "t",
            ("cause", Kind.CATEGORY, "why: see above"),
            ("started_utc", Kind.TIME, "the last inspection before it"),
            ("ended_utc", Kind.TIME, "the first inspection after it; empty while it lasts"),
            ("started_s", Kind.REAL, "the same as `started_utc` by the monotonic clock"),
            ("ended_s", Kind.REAL, "the same as `ended_utc` by the monotonic clock"),
        ),
        *_RUN,
    ),
    Table.STATES: (
        *_CAMERA,
        *_of(
            "t",
            ("state", Kind.CATEGORY, "the camera's state from now on"),
            ("code", Kind.CATEGORY, "the error code, where an error caused it"),
            ("detail", Kind.TEXT, "what was found"),
            ("at_utc", Kind.TIME, "when"),
            ("at_s", Kind.REAL, "the same by the monotonic clock"),
        ),
        *_RUN,
    ),
    Table.RUNS: (
        *_RUN,
        *_of(
            "r",
            ("version", Kind.TEXT, "version of vision-line"),
            ("started_utc", Kind.TIME, "when the run began"),
            ("ended_utc", Kind.TIME, "when it ended, or its last sign of life; empty while it lasts"),
            ("config_sha256", Kind.TEXT, "SHA-256 of the configuration file as it was when the run began"),
            ("model_name", Kind.TEXT, "the model's name"),
            ("model_sha256", Kind.TEXT, "SHA-256 of the model file"),
            ("precision", Kind.TEXT, "`int8`, `fp32` ..."),
            ("device", Kind.TEXT, "what inspected"),
            (
                "instruction_set",
                Kind.TEXT,
                "strongest of the processor for INT8, `AVX2` ...; empty where a GPU infers",
            ),
            ("form", Kind.TEXT, "the form of the model that ran, in words"),
            ("form_reason", Kind.TEXT, "why this form, and what proved it"),
            ("host", Kind.TEXT, "the machine"),
            ("classes", Kind.TEXT, "the model's classes, a JSON list"),
            ("end_cause", Kind.CATEGORY, "`stopped`, `failed` or `crashed`; empty while it lasts"),
            ("alive_utc", Kind.TIME, "up to when its ledger accounts for its cameras"),
        ),
    ),
    Table.CAMERAS: (
        Column("camera", Kind.CATEGORY, "the camera's name", "t.name"),
        *_of(
            "t",
            ("station", Kind.CATEGORY, "the camera's `station`"),
            ("recipe", Kind.CATEGORY, "the camera's `recipe`"),
            ("url", Kind.TEXT, "its URL, with user and password masked"),
            ("since_utc", Kind.TIME, "since when it was configured so, until its next row or the run's end"),
            ("settings", Kind.TEXT, "all its other keys of `streams.toml` with their values, a JSON object"),
        ),
        *_RUN,
    ),
    Table.CLOCK_STEPS: (
        *_of(
            "t",
            ("clock", Kind.INTEGER, "how often it had been set in this run, this time included; 0: before its start"),
            ("at_s", Kind.REAL, "when it was noticed, by the monotonic clock"),
            ("from_utc", Kind.TIME, "what the wall clock would have said"),
            ("to_utc", Kind.TIME, "what it said"),
        ),
        Column("step_s", Kind.REAL, "how far it jumped, seconds; negative: it was set back", "t.to_utc - t.from_utc"),
        *_RUN,
    ),
    Table.REMOVALS: _of(
        "t",
        ("removed_from", Kind.CATEGORY, "the table"),
        ("rows", Kind.INTEGER, "how many of its rows were removed"),
        ("from_utc", Kind.TIME, "time of the oldest of them"),
        ("to_utc", Kind.TIME, "time of the newest of them"),
        ("why", Kind.CATEGORY, "`keep_days`, `max_mb` or `prune`"),
        ("at_utc", Kind.TIME, "when it was done; days of it are one row"),
    ),
}
