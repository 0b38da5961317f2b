# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an export holds: every table's columns with their type and meaning, as data. Public and stable.

`docs/records.md` is checked against it. New columns come last; none changes its meaning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from vision_line.frames import DropCause
from vision_line.records.row_models import model_of_row

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
    CLIPS = "clips"
    NEAR_MISSES = "near_misses"
    AUDITS = "audits"
    PARTS = "parts"
    LOTS = "lots"


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
_MODEL = _category("model_sha256", "SHA-256 of the model file that inspected", model_of_row("model_sha256"))

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


_OUTLINE = _text(
    "outline",
    "corners of a rotated box or around a mask, JSON list x, y, x, y ...; the box is upright around it; empty: none",
)
_MASK = (
    _real("area_px", "area of the mask, pixels of the camera's frame; empty: no masks, or too many large ones at once"),
    _real("centre_x", "middle of that area, from the left"),
    _real("centre_y", "the same, from the top"),
)


def _box_of(prefix: str, words: str) -> tuple[ExportColumn, ...]:
    return tuple(_real(f"{prefix}_{name}", f"{edge} edge of the box of the {words}") for name, edge in _EDGES.items())


def _file_of(what: str) -> tuple[ExportColumn, ...]:
    """Return the columns of a table whose rows have one file."""
    return (
        _text("path", f"path of the {what} in the record directory"),
        _text("sha256", f"SHA-256 of the {what}"),
        _integer("bytes", "its size"),
        _time("created_utc", "when the row was written"),
        _time("deleted_utc", f"when the {what} was removed"),
        _category("deleted_why", "why: the key that bounds them, `prune`, or `lost`"),
        _text("missing", f"why there never was a {what}" if what == "clip" else f"why there never was an {what}"),
        _MODEL,
        _RUN,
    )


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
        _OUTLINE,
        *_MASK,
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
        _OUTLINE,
        *_MASK,
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
            _text("model_name", "the name of its own model; recipes may name others: see `cameras`"),
            _text("model_sha256", "SHA-256 of that model's file"),
            _text("precision", "`int8`, `fp32` ..."),
            _text("device", "what inspected"),
            _text("instruction_set", "strongest of the processor for INT8, `AVX2` ...; empty where a GPU infers"),
            _text("form", "the variant of the model that ran, in words"),
            _text("form_reason", "why this variant, and what proved it"),
            _text("host", "the machine"),
            _text("classes", "the classes of its models, its own's first, a JSON list"),
            _category("end_cause", "`stopped`, `failed` or `crashed`; empty while it lasts"),
            _time("alive_utc", "up to when its ledger accounts for its cameras"),
            _text("clips", "the verdicts of which events have clips; empty: none have"),
            _category("node", "what the box is called in its fleet; empty: it shares no camera"),
            _category("fleet", "the fleet, as its first `fleet apply` named it"),
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
        _category("model_name", "the model that inspects it", "coalesce(nullif(t.model_name, ''), r.model_name)"),
        _category(
            "model_sha256",
            "SHA-256 of that model's file",
            "coalesce(nullif(t.model_sha256, ''), r.model_sha256)",
        ),
        _integer("epoch", "the plan of the fleet under which this box inspects it; 0: it shares it with no other"),
        _time("inspected_utc", "its first inspection since the plan gave it to this box; empty: in an earlier row"),
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
        _time("at_utc", "when it was done; those of a day are one row, and with a later `to_utc` another one"),
    ),
    Table.CLIPS: (
        _text("clip_id", "one clip; unique within a run"),
        *_CAMERA,
        _text("events", "the events it shows, a JSON list of their `event_id`s"),
        _time("begins_utc", "when the first of its frames arrived; empty where it is missing"),
        _time("ends_utc", "when the last of its frames arrived"),
        _real("begins_s", "the same as `begins_utc` by the monotonic clock"),
        _real("ends_s", "the same as `ends_utc` by the monotonic clock"),
        _category("codec", "what its frames are encoded with: `h264`, `hevc` ..."),
        _integer("frames", "how many there are"),
        _boolean("reencoded", "they are not as the camera sent them, because MP4 does not take those"),
        _text("note", "why it is otherwise than was asked for; empty: it is not"),
        *_file_of("clip"),
    ),
    Table.NEAR_MISSES: (
        _text("near_miss_id", "one track that never became an event; unique within a run"),
        *_CAMERA,
        _category("class", "the class of its best observation"),
        _real("score", "score of its best observation, 0 to 1"),
        _integer("hits", "inspections that saw it"),
        *_BOX,
        _integer("sequence", "the camera's frame number of the best observation, which the image shows"),
        _time("first_seen_utc", "when the camera sent the first frame that showed it"),
        _time("last_seen_utc", "when the camera sent the latest frame that showed it"),
        _real("first_seen_s", "the same as `first_seen_utc` by the monotonic clock"),
        _real("last_seen_s", "the same as `last_seen_utc` by the monotonic clock"),
        _real("probability", "with which its image was to be kept, 0 to 1"),
        *_file_of("image"),
        _OUTLINE,
        *_MASK,
    ),
    Table.AUDITS: (
        *_CAMERA,
        _integer("sequence", "the camera's frame number in this run"),
        _time("arrived_utc", "when the frame's last packet had arrived"),
        _real("arrived_s", "the same by the monotonic clock"),
        _real("probability", "with which this frame was drawn, 0 to 1"),
        _text(
            "detections",
            "all that was found in it, a JSON list of objects: class, score, box; outline, area_px, centre if known",
        ),
        _integer("width", "width of the camera's frame, pixels"),
        _integer("height", "height of the camera's frame, pixels"),
        *_file_of("image"),
    ),
    Table.PARTS: (
        _category("lane", "the lane that it passed"),
        _integer("sequence", "its number at its lane, which rises by 1 with each part"),
        _text("part_id", "what the plant calls it; empty where it gave no name"),
        _category("lot", "the lot that its lane was at; empty: none"),
        _category("recipe", "the recipe that it was inspected by; empty: none"),
        _integer(
            "trigger", "the number that the PLC gave it; empty where it gave none", "json_extract(j.body, '$.trigger')"
        ),
        _time("triggered_utc", "when it was announced"),
        _time("window_begin_utc", "from when on cameras saw it", "json_extract(j.body, '$.window_utc[0]')"),
        _time("window_end_utc", "until when they did", "json_extract(j.body, '$.window_utc[1]')"),
        _time("deadline_utc", "by when its decision had to leave", "json_extract(j.body, '$.deadline_utc')"),
        _time("decided_utc", "when it was decided"),
        _category("verdict", "`accept`, `warn`, `reject` or `not_inspected`"),
        _category("cause", "why it was not inspected; empty where it was"),
        _integer("inspections", "how often it was inspected by the camera that did so least"),
        _text("camera_inspections", "how often by each camera, a JSON object", "json_extract(j.body, '$.inspections')"),
        _real(
            "sent_after_ms",
            "how long after its trigger the decision left, milliseconds; empty: it did not",
            "json_extract(j.body, '$.sent_after_ms')",
        ),
        _category(
            "found_later",
            "what was found of it after its decision had left: the decision was wrong",
            "json_extract(c.body, '$.found')",
        ),
        _text(
            "events",
            "the events that belonged to it when it was decided, a JSON list of `event_id`s",
            "json_extract(j.body, '$.events')",
        ),
        _boolean("is_simulated", "it passed a simulated lane"),
        _category("run_id", "the run whose results decided it"),
    ),
    Table.LOTS: (
        _category("lane", "the lane that made it; `*`: every lane and camera"),
        _category("lot", "the lot"),
        _time("begun_utc", "from when on"),
        _time("ended_utc", "until when; empty while it goes on"),
        _text("by", "who began it", "json_extract(j.body, '$.by')"),
        _category("door", "how: `command`, `desk`, `mqtt`, `opcua` or `modbus`", "json_extract(j.body, '$.door')"),
    ),
}
