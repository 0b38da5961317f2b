# SPDX-License-Identifier: AGPL-3.0-or-later
"""The record file: its tables, its version, and the two ways to open it (to write, to read).

One SQLite file holds every run of a record directory. Columns that end in `_utc` are seconds since the Unix epoch,
columns that end in `_s` are seconds of the monotonic clock and comparable within one run only. Boxes are pixels of the
camera's frame; `outline` has the corners of a rotated one or around a mask, whose area and middle `area_px`, `centre_x`
and `centre_y` are; NULL: there is only the upright box. A row that a camera caused bears the camera's station and
recipe as they were at that moment.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vision_line.errors import RunError
from vision_line.frames import DropCause
from vision_line.records.file_identity import FileIdentity
from vision_line.records.journal_writer import JournalWriter, begin_journal
from vision_line.records.schema_check import schema_problems
from vision_line.records.statements import MASK_COLUMNS

logger = logging.getLogger(__name__)

FILE_NAME = "records.sqlite"

#: Raise it with every change of the tables, and give `MIGRATIONS` the way from the version before.
SCHEMA_VERSION = 9

#: "vlin": tells our files from other people's SQLite files.
APPLICATION_ID = 0x766C696E
_IDENTITY = FileIdentity("a record file of vision-line", APPLICATION_ID, SCHEMA_VERSION)

#: How long a statement waits for another process's lock before the writer gets an error, in seconds.
BUSY_TIMEOUT_S = 0.25

#: Of an event beside its best observation: the first and the last one, and the frame that its image shows.
_OBSERVATION_COLUMNS = (
    "first_sequence INTEGER",
    *(f"first_{name} REAL" for name in ("x1", "y1", "x2", "y2")),
    "last_sequence INTEGER",
    *(f"last_{name} REAL" for name in ("score", "x1", "y1", "x2", "y2")),
    "picture_sequence INTEGER",
)

#: Until then an event's row had its last observation, while its image showed the confirming one.
_OBSERVATIONS_OF_OLD_EVENTS = (
    "UPDATE events SET last_sequence = sequence, last_score = score,"
    " last_x1 = x1, last_y1 = y1, last_x2 = x2, last_y2 = y2",
    "UPDATE events SET picture_sequence = confirmed_sequence, (sequence, score, x1, y1, x2, y2) ="
    " (SELECT d.sequence, d.score, d.x1, d.y1, d.x2, d.y2 FROM detections d"
    " WHERE d.run = events.run AND d.camera = events.camera AND d.sequence = events.confirmed_sequence"
    " AND d.event_id = events.event_id)"
    " WHERE EXISTS (SELECT 1 FROM detections d WHERE d.run = events.run AND d.camera = events.camera"
    " AND d.sequence = events.confirmed_sequence AND d.event_id = events.event_id)",
)

DROPPED_COLUMNS = tuple(f"dropped_{cause}" for cause in DropCause)

_RUN = "run INTEGER NOT NULL REFERENCES runs (run)"
_CAMERA = f"{_RUN}, camera TEXT NOT NULL, station TEXT NOT NULL, recipe TEXT NOT NULL"
_BOX = "x1 REAL NOT NULL, y1 REAL NOT NULL, x2 REAL NOT NULL, y2 REAL NOT NULL"

_COVERAGE = f"""CREATE TABLE coverage (
        minute INTEGER PRIMARY KEY, {_CAMERA}, minute_utc INTEGER NOT NULL, clock INTEGER NOT NULL DEFAULT 0,
        provisional INTEGER NOT NULL DEFAULT 0, arrived INTEGER NOT NULL, decoded INTEGER NOT NULL,
        inspected INTEGER NOT NULL, {", ".join(f"{column} INTEGER NOT NULL DEFAULT 0" for column in DROPPED_COLUMNS)},
        not_inspected_s REAL NOT NULL, reconnects INTEGER NOT NULL, looked_utc REAL,
        UNIQUE (run, camera, minute_utc, clock)) STRICT"""

#: `clock` counts the steps of the wall clock before `at_s`: the rows of `coverage` that bear it came after this step.
_CLOCK_STEPS = f"""CREATE TABLE clock_steps (
        step INTEGER PRIMARY KEY, {_RUN}, clock INTEGER NOT NULL, at_s REAL NOT NULL, from_utc REAL NOT NULL,
        to_utc REAL NOT NULL, UNIQUE (run, clock)) STRICT"""

_REMOVALS = """CREATE TABLE removals (
        removal INTEGER PRIMARY KEY, at_utc REAL NOT NULL, removed_from TEXT NOT NULL, rows INTEGER NOT NULL,
        from_utc REAL NOT NULL, to_utc REAL NOT NULL, why TEXT NOT NULL) STRICT"""

#: What happened, in its order: append-only, each entry chained to the one before it (`journal.chained`).
_JOURNAL = """CREATE TABLE journal (
        number INTEGER PRIMARY KEY, run INTEGER NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, at_utc REAL NOT NULL,
        body TEXT NOT NULL, digest BLOB NOT NULL) STRICT"""

#: What every table of files has; `missing` says why there never was one.
_FILE = "path TEXT, sha256 TEXT, bytes INTEGER NOT NULL, created_utc REAL NOT NULL"
_FATE = "deleted_utc REAL, deleted_why TEXT, missing TEXT"

#: `begins` and `ends` are the footage's, NULL where it is missing; `events` is a JSON list of event ids.
_CLIPS = f"""CREATE TABLE clips (
        clip INTEGER PRIMARY KEY, {_CAMERA}, clip_id TEXT NOT NULL, events TEXT NOT NULL, begins_utc REAL,
        begins_s REAL, ends_utc REAL, ends_s REAL, codec TEXT NOT NULL, frames INTEGER NOT NULL,
        reencoded INTEGER NOT NULL, note TEXT NOT NULL, {_FILE}, {_FATE}, UNIQUE (run, clip_id)) STRICT"""

#: The best observation of a track that never became an event; `probability`: with which its image was to be kept.
_NEAR_MISSES = f"""CREATE TABLE near_misses (
        near_miss INTEGER PRIMARY KEY, {_CAMERA}, near_miss_id TEXT NOT NULL, class TEXT NOT NULL, score REAL NOT NULL,
        hits INTEGER NOT NULL, {_BOX}, width INTEGER NOT NULL, height INTEGER NOT NULL, sequence INTEGER NOT NULL,
        first_seen_utc REAL NOT NULL, first_seen_s REAL NOT NULL, last_seen_utc REAL NOT NULL,
        last_seen_s REAL NOT NULL, probability REAL NOT NULL, {_FILE}, {_FATE}, UNIQUE (run, near_miss_id)) STRICT"""
_MASK_COLUMNS = tuple(f"{name} REAL" for name in MASK_COLUMNS)
#: As schema 9 has it.
_NEAR_MISSES_WITH_MASKS = _NEAR_MISSES.replace(", UNIQUE", f", outline TEXT, {', '.join(_MASK_COLUMNS)}, UNIQUE")

#: Inspected frames drawn at random; `detections` is a JSON list of all that was found in it.
_AUDITS = f"""CREATE TABLE audits (
        audit INTEGER PRIMARY KEY, {_CAMERA}, sequence INTEGER NOT NULL, arrived_utc REAL NOT NULL,
        arrived_s REAL NOT NULL, probability REAL NOT NULL, detections TEXT NOT NULL, width INTEGER NOT NULL,
        height INTEGER NOT NULL, {_FILE}, {_FATE}, UNIQUE (run, camera, sequence)) STRICT"""

_TABLES = (
    """CREATE TABLE runs (
        run INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE, version TEXT NOT NULL, started_utc REAL NOT NULL,
        ended_utc REAL, config_sha256 TEXT NOT NULL, model_name TEXT NOT NULL, model_sha256 TEXT NOT NULL,
        precision TEXT NOT NULL, device TEXT NOT NULL, host TEXT NOT NULL, classes TEXT NOT NULL,
        evidence INTEGER NOT NULL, end_cause TEXT, alive_utc REAL, alive_boot_s REAL, boot_id TEXT,
        instruction_set TEXT, form TEXT, form_reason TEXT, clips TEXT, node TEXT NOT NULL DEFAULT '',
        fleet TEXT NOT NULL DEFAULT '') STRICT""",
    f"""CREATE TABLE cameras (
        {_RUN}, name TEXT NOT NULL, station TEXT NOT NULL, recipe TEXT NOT NULL, url TEXT NOT NULL,
        since_utc REAL NOT NULL, settings TEXT NOT NULL DEFAULT '', model_name TEXT NOT NULL DEFAULT '',
        model_sha256 TEXT NOT NULL DEFAULT '', epoch INTEGER NOT NULL DEFAULT 0, inspected_utc REAL,
        PRIMARY KEY (run, name, since_utc)) STRICT""",
    f"""CREATE TABLE detections (
        detection INTEGER PRIMARY KEY, {_CAMERA}, sequence INTEGER NOT NULL, arrived_utc REAL NOT NULL,
        arrived_s REAL NOT NULL, camera_utc REAL, pts_s REAL, class TEXT NOT NULL, score REAL NOT NULL, {_BOX},
        width INTEGER NOT NULL, height INTEGER NOT NULL, event_id TEXT, latency_ms REAL NOT NULL,
        behind_ms REAL NOT NULL DEFAULT 0, outline TEXT, {", ".join(_MASK_COLUMNS)}) STRICT""",
    f"""CREATE TABLE events (
        event INTEGER PRIMARY KEY, {_CAMERA}, event_id TEXT NOT NULL, class TEXT NOT NULL, verdict TEXT NOT NULL,
        phase TEXT NOT NULL, ended INTEGER NOT NULL, score REAL NOT NULL, top_score REAL NOT NULL,
        hits INTEGER NOT NULL, {_BOX}, width INTEGER, height INTEGER, sequence INTEGER NOT NULL,
        first_seen_utc REAL NOT NULL, first_seen_s REAL NOT NULL, last_seen_utc REAL NOT NULL,
        last_seen_s REAL NOT NULL, confirmed_sequence INTEGER NOT NULL,
        {", ".join(_OBSERVATION_COLUMNS)}, outline TEXT, {", ".join(_MASK_COLUMNS)}, UNIQUE (run, event_id)) STRICT""",
    _COVERAGE,
    f"""CREATE TABLE not_inspected (
        interval INTEGER PRIMARY KEY, {_CAMERA}, interval_id TEXT NOT NULL, cause TEXT NOT NULL,
        started_utc REAL NOT NULL, started_s REAL NOT NULL, ended_utc REAL, ended_s REAL,
        UNIQUE (run, interval_id)) STRICT""",
    f"""CREATE TABLE states (
        change INTEGER PRIMARY KEY, {_CAMERA}, state TEXT NOT NULL, code TEXT, detail TEXT NOT NULL,
        at_utc REAL NOT NULL, at_s REAL NOT NULL) STRICT""",
    f"""CREATE TABLE evidence (
        evidence INTEGER PRIMARY KEY, {_RUN}, event_id TEXT NOT NULL, path TEXT, overlay_path TEXT, sha256 TEXT,
        bytes INTEGER NOT NULL, created_utc REAL NOT NULL, deleted_utc REAL, missing TEXT, crop_path TEXT,
        overlay_sha256 TEXT, crop_sha256 TEXT, deleted_why TEXT, UNIQUE (run, event_id)) STRICT""",
    _CLOCK_STEPS,
    _REMOVALS,
    _JOURNAL,
    _CLIPS,
    _NEAR_MISSES_WITH_MASKS,
    _AUDITS,
)

_STATES_BY_CAMERA = "CREATE INDEX states_by_camera ON states (run, camera)"
_COVERAGE_BY_TIME = "CREATE INDEX coverage_by_time ON coverage (minute_utc)"
#: For a start after a kill: a handful of rows among the minutes of years.
_COVERAGE_UNDER_WAY = "CREATE INDEX coverage_under_way ON coverage (run, camera) WHERE provisional"
#: For the newest entry of a row, and for the group of a detection.
_JOURNAL_BY_KEY = "CREATE INDEX journal_by_key ON journal (kind, key)"

_FILES_BY_TIME = (
    "CREATE INDEX clips_by_time ON clips (created_utc)",
    "CREATE INDEX near_misses_by_time ON near_misses (first_seen_utc)",
    "CREATE INDEX audits_by_time ON audits (arrived_utc)",
)

#: One index for the order in which each table is exported, and one for finding the detections of a frame.
_INDICES = (
    "CREATE INDEX detections_by_time ON detections (arrived_utc)",
    "CREATE INDEX detections_by_frame ON detections (run, camera, sequence)",
    "CREATE INDEX events_by_time ON events (first_seen_utc)",
    _COVERAGE_BY_TIME,
    _COVERAGE_UNDER_WAY,
    "CREATE INDEX not_inspected_by_time ON not_inspected (started_utc)",
    "CREATE INDEX states_by_time ON states (at_utc)",
    _STATES_BY_CAMERA,
    "CREATE INDEX evidence_kept ON evidence (created_utc) WHERE path IS NOT NULL AND deleted_utc IS NULL",
    _JOURNAL_BY_KEY,
    *_FILES_BY_TIME,
)

_COVERAGE_2 = (
    "minute, run, camera, station, recipe, minute_utc, arrived, decoded, inspected, dropped_superseded, dropped_stale,"
    " dropped_rate_cap, dropped_frozen, dropped_corrupt, dropped_log, dropped_shutdown, not_inspected_s, reconnects"
)

#: Statements that bring a file of the key's version to the next one.
MIGRATIONS: dict[int, tuple[str, ...]] = {
    1: ("ALTER TABLE cameras ADD COLUMN settings TEXT NOT NULL DEFAULT ''",),
    2: (
        "ALTER TABLE detections ADD COLUMN behind_ms REAL NOT NULL DEFAULT 0",
        *(f"ALTER TABLE events ADD COLUMN {column}" for column in _OBSERVATION_COLUMNS),
        *_OBSERVATIONS_OF_OLD_EVENTS,
        *(f"ALTER TABLE evidence ADD COLUMN {name} TEXT" for name in ("crop_path", "overlay_sha256", "crop_sha256")),
        *(f"ALTER TABLE runs ADD COLUMN {column}" for column in ("end_cause TEXT", "alive_utc REAL")),
        *(f"ALTER TABLE runs ADD COLUMN {column}" for column in ("alive_boot_s REAL", "boot_id TEXT")),
        *(f"ALTER TABLE runs ADD COLUMN {column} TEXT" for column in ("instruction_set", "form", "form_reason")),
        # A minute may come twice, once by each clock: what is unique cannot be altered, only made anew.
        "ALTER TABLE coverage RENAME TO coverage_2",
        _COVERAGE,
        f"INSERT INTO coverage ({_COVERAGE_2}) SELECT {_COVERAGE_2} FROM coverage_2",  # noqa: S608  names, of this file
        "DROP TABLE coverage_2",
        _COVERAGE_BY_TIME,
        _COVERAGE_UNDER_WAY,
        _STATES_BY_CAMERA,
        _CLOCK_STEPS,
        _REMOVALS,
    ),
    3: ("ALTER TABLE evidence ADD COLUMN deleted_why TEXT", _JOURNAL, _JOURNAL_BY_KEY),
    4: ("ALTER TABLE runs ADD COLUMN clips TEXT", _CLIPS, _NEAR_MISSES, _AUDITS, *_FILES_BY_TIME),
    5: tuple(
        f"ALTER TABLE cameras ADD COLUMN {name} TEXT NOT NULL DEFAULT ''" for name in ("model_name", "model_sha256")
    ),
    6: (
        *(f"ALTER TABLE runs ADD COLUMN {name} TEXT NOT NULL DEFAULT ''" for name in ("node", "fleet")),
        "ALTER TABLE cameras ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE cameras ADD COLUMN inspected_utc REAL",
    ),
    7: tuple(f"ALTER TABLE {table} ADD COLUMN outline TEXT" for table in ("detections", "events", "near_misses")),
    8: tuple(
        f"ALTER TABLE {table} ADD COLUMN {column}"
        for table in ("detections", "events", "near_misses")
        for column in _MASK_COLUMNS
    ),
}
#: What makes a new file; a migrated one has the same, its columns in another order.
OBJECTS = (*_TABLES, *_INDICES)
#: The version that brought the journal.
_JOURNAL_SINCE = 4


@contextmanager
def translated(path: Path, doing: str) -> Iterator[None]:
    """Turn SQLite's errors into one sentence about `path`.

    Raises:
        RunError: SQLite failed; or could not say why, because what it quotes is no text.
    """
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as exc:
        raise RunError(f"{doing} {path} failed: {exc}") from exc


class RecordConnection(sqlite3.Connection):
    """A writer's connection, made by `open_writer`; what its transactions change is entered into the journal."""

    journal: JournalWriter


@contextmanager
def transaction(connection: sqlite3.Connection, *, keep: bool = True) -> Iterator[None]:
    """Do all of it or nothing, as the only writer, and its entries in the journal; not `keep`: take it back.

    Raises:
        sqlite3.Error: it could not begin or be committed.
    """
    journal = connection.journal if isinstance(connection, RecordConnection) else JournalWriter()
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        if keep:
            journal.flush(connection)
            connection.execute("COMMIT")
    finally:
        if connection.in_transaction:  # SQLite rolls back by itself when the disk is full
            connection.execute("ROLLBACK")
        journal.discard()


def open_writer(path: Path) -> RecordConnection:
    """Open the record file for the one writer, made or brought up to date where needed.

    Every commit is on the disk when it returns (WAL with `synchronous=FULL`). Transactions are begun by hand.

    Raises:
        RunError: not a record file, written by a newer version, damaged, or not writable.
    """
    with translated(path, "opening"):
        connection = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, factory=RecordConnection
        )
        connection.journal = JournalWriter()
        try:
            _check_identity(connection, path)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
            # A reader that stays long lets the write-ahead log grow; afterwards it is cut back to this.
            connection.execute(f"PRAGMA journal_size_limit={16 * 2**20}")
            _ensure_schema(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def no_records(directory: Path, option: str = "") -> str:
    """Return what to say where `directory` has no record file; `option` is what names it, "" where an argument does."""
    if not directory.is_dir():
        how = f"with {option}" if option else "of the records"
        return f"there is no folder {directory}: run it where the line ran, or name the folder {how}"
    return f"{option} {directory}: expected a record directory, found no {FILE_NAME} in it".lstrip()


def open_reader(directory: Path) -> sqlite3.Connection:
    """Open the record file of `directory` to read, also while a run writes it and after one was killed.

    Raises:
        RunError: there is no record file, or it cannot be read by this version.
    """
    path = directory / FILE_NAME
    if not path.is_file():
        raise RunError(no_records(directory))
    with translated(path, "opening"):
        uri = f"{path.absolute().as_uri()}?mode=ro{_at_rest(path)}"
        connection = sqlite3.connect(uri, uri=True, timeout=5.0, isolation_level=None)
        try:
            connection.row_factory = sqlite3.Row
            if _check_identity(connection, path) != SCHEMA_VERSION:
                raise RunError(
                    f"{path}: written by an older version; run vision-line on it once to bring it up to date"
                )
        except BaseException:
            connection.close()
            raise
    return connection


def _at_rest(path: Path) -> str:
    """Return what to say of a file that no run uses, where nothing can be written beside it: nothing changes.

    Else not: a reader of a WAL file takes part in its locking, and recovers what a killed run left.
    """
    is_clean = not path.with_name(f"{path.name}-wal").exists()
    return "&immutable=1" if is_clean and not os.access(path.parent, os.W_OK, effective_ids=True) else ""


def _check_identity(connection: sqlite3.Connection, path: Path) -> int:
    """Return the file's schema version, 0 for an empty file.

    Raises:
        RunError: another program's file, or a newer or unknown older version of ours.
    """
    version = _IDENTITY.version_of(connection, path)
    if version and any(step not in MIGRATIONS for step in range(version, SCHEMA_VERSION)):
        raise RunError(f"{path}: schema {version} is too old for this vision-line; choose another record directory")
    return version


def _ensure_schema(connection: RecordConnection) -> None:
    """Create the tables or migrate them, all or nothing, and have the journal follow what is written."""
    with transaction(connection):
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for sql in _steps_from(version):
            connection.execute(sql)
        connection.journal.follow(connection)
        if version < _JOURNAL_SINCE:
            begin_journal(connection, connection.journal, is_new=not version)
        for problem in schema_problems(connection, OBJECTS) if version else ():
            logger.error("the record file was changed: %s; vision-line verify says more", problem)


def _steps_from(version: int) -> list[str]:
    if version == SCHEMA_VERSION:
        return []  # nothing is written, so that a full disk does not stop the opening
    if version == 0:
        steps = [*OBJECTS, f"PRAGMA application_id={APPLICATION_ID}"]
    else:
        steps = [sql for step in range(version, SCHEMA_VERSION) for sql in MIGRATIONS[step]]
    return [*steps, f"PRAGMA user_version={SCHEMA_VERSION}"]
