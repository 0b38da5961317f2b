# SPDX-License-Identifier: AGPL-3.0-or-later
"""The detection log on a healthy disk: what is accepted is committed soon, whole, and as it was."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.restoring import copied_over

from vision_line.errors import BrokenRecordError, RunError
from vision_line.frames import (
    CameraState,
    CoverageMinute,
    DropCause,
    EventPhase,
    NotInspected,
    StateChange,
    Verdict,
)
from vision_line.ports import DetectionLog
from vision_line.records.columns import Table
from vision_line.records.entries import CameraRecord
from vision_line.records.journal_check import Expected
from vision_line.records.log import SqliteLog
from vision_line.records.query import Selection
from vision_line.records.schema import APPLICATION_ID, SCHEMA_VERSION, open_reader, open_writer
from vision_line.records.statements import MASK_COLUMNS
from vision_line.records.table_export import Format, export
from vision_line.records.verification import verify

OpenLog = Callable[..., SqliteLog]
WaitUntil = Callable[[Callable[[], bool]], None]


def rows_of(records: Path, sql: str) -> list[dict[str, Any]]:
    with closing(open_reader(records)) as connection:
        return [dict(row) for row in connection.execute(sql)]


def test_the_log_is_a_detection_log(open_log: OpenLog) -> None:
    """SqliteLog has everything that the port asks for."""
    log: DetectionLog = open_log()

    assert log.status().writable


def test_a_detection_is_recorded_as_it_was(open_log: OpenLog, line: Any, records: Path) -> None:
    """Frame, times, box, class and event of a detection come back; a frame without any leaves no row."""
    log = open_log(evidence=False)
    seen = line.inspection(7, 2)
    seen.frame.behind_s = 0.25

    log.write_inspection(seen, [line.event(seen, "e1")])
    empty = line.inspection(8, 0)
    log.write_inspection(empty, [])
    log.close()

    first, second = rows_of(records, "SELECT * FROM detections ORDER BY detection")
    assert (first["camera"], first["sequence"], first["class"], first["score"]) == ("cam01", 7, "short", 0.9)
    assert (first["station"], first["recipe"]) == ("press 4", "recipe A")
    assert (first["arrived_utc"], first["arrived_s"]) == (seen.frame.arrived_utc, seen.frame.arrived_s)
    assert (first["x1"], first["y1"], first["x2"], first["y2"]) == (0, 10, 16, 30)
    assert (first["event_id"], second["event_id"]) == ("e1", None)
    assert first["behind_ms"] == 250
    assert first["latency_ms"] == pytest.approx((seen.finished_s - seen.frame.captured_s) * 1e3)


def test_an_event_is_one_row_through_its_life(open_log: OpenLog, line: Any, records: Path) -> None:
    """New, update and end change one row; its first sight stays, and the size stays when no frame ends it."""
    log = open_log(evidence=False)
    first, second = line.inspection(1), line.inspection(2)
    new = line.event(first, "e1", verdict=Verdict.WARN)
    update = dataclasses.replace(line.event(second, "e1", EventPhase.UPDATE), hits=4)
    log.write_inspection(first, [new])
    log.write_inspection(second, [update])
    log.write_events([dataclasses.replace(update, phase=EventPhase.END)])
    log.close()

    (row,) = rows_of(records, "SELECT * FROM events")
    assert (row["phase"], row["ended"], row["verdict"], row["hits"]) == ("end", 1, "reject", 4)
    assert (row["first_seen_utc"], row["last_seen_utc"]) == (new.first_seen_utc, update.last_seen_utc)
    assert (row["confirmed_sequence"], row["sequence"]) == (1, 2)
    assert (row["width"], row["height"]) == (160, 96)


def test_ledger_rows_replace_their_earlier_selves(open_log: OpenLog, records: Path) -> None:
    """One row a camera and minute, one an interval; states are all kept."""
    log = open_log()
    minute = CoverageMinute("cam01", 600, 10, 10, 8, {DropCause.SUPERSEDED: 2})
    gap = NotInspected("i1", "cam01", "capacity", 1.0, 601.0)
    log.write_coverage([minute], [gap])
    log.write_coverage(
        [dataclasses.replace(minute, arrived=20, inspected=18)],
        [dataclasses.replace(gap, ended_s=3.0, ended_utc=603.0)],
    )
    log.write_states(
        [StateChange("cam01", state, 1.0, 601.0) for state in (CameraState.CONNECTING, CameraState.RUNNING)]
    )
    log.close()

    (coverage,) = rows_of(records, "SELECT * FROM coverage")
    assert (coverage["arrived"], coverage["inspected"], coverage["dropped_superseded"]) == (20, 18, 2)
    (interval,) = rows_of(records, "SELECT * FROM not_inspected")
    assert (interval["cause"], interval["ended_utc"]) == ("capacity", 603.0)
    assert [row["state"] for row in rows_of(records, "SELECT state FROM states")] == ["CONNECTING", "RUNNING"]


def test_an_interval_that_was_none_is_taken_back(open_log: OpenLog, records: Path) -> None:
    """What is withdrawn leaves no row, whether it was committed before or not; other intervals stay."""
    log = open_log()
    early, late, true = (NotInspected(f"i{number}", "cam01", "capacity", 1.0, 601.0) for number in range(3))
    log.write_coverage([], [early, true])
    log.write_coverage([], [dataclasses.replace(early, withdrawn=True), dataclasses.replace(late, withdrawn=True)])
    log.close()

    assert rows_of(records, "SELECT interval_id FROM not_inspected") == [{"interval_id": "i2"}]


def test_every_commit_shows_how_late_it_was(open_log: OpenLog, line: Any, wait_until: WaitUntil) -> None:
    """However seldom somebody asks: each commit is told once, and none is missed."""
    log = open_log(evidence=False)
    for sequence in range(4):
        wait_until(lambda: not log.status().pending)
        seen = line.inspection(sequence, 1)
        log.write_inspection(seen, [])
    wait_until(lambda: not log.status().pending)
    latencies_ms = log.take_latencies_ms()

    assert len(latencies_ms) == 4
    assert latencies_ms[-1] == log.status().commit_latency_ms
    assert log.take_latencies_ms() == []


def test_results_are_committed_within_300_ms(open_log: OpenLog, line: Any, wait_until: WaitUntil) -> None:
    """At a line's rate every record is committed, and `commit_latency_ms` says how soon."""
    log = open_log(evidence=False)
    worst = 0.0
    for sequence in range(40):
        seen = line.inspection(sequence, 3)
        log.write_inspection(seen, [])
        time.sleep(0.02)  # the line's pace, not a wait for something
        worst = max(worst, log.status().commit_latency_ms)
    wait_until(lambda: log.status().pending == 0)

    assert log.status().committed == 41  # the cameras are a record too
    assert 0 < worst <= 300


def test_cameras_read_again_label_later_rows_only(open_log: OpenLog, line: Any, records: Path) -> None:
    """After the configuration changed, rows bear the new recipe; those before keep the old one."""
    log = open_log(evidence=False)
    seen = line.inspection(1)
    log.write_inspection(seen, [])
    log.write_cameras([CameraRecord("cam01", "press 4", "recipe B", "rtsp://camera/1")])
    log.write_inspection(seen, [])
    log.close()

    assert [row["recipe"] for row in rows_of(records, "SELECT recipe FROM detections")] == ["recipe A", "recipe B"]


def test_a_run_says_what_inspected_and_when_it_ended(open_log: OpenLog, records: Path) -> None:
    """Version, hashes, classes, start and end of each run are kept; runs of one directory share its file."""
    open_log().close()
    open_log().close()

    first, second = rows_of(records, "SELECT * FROM runs")
    assert first["run_id"] != second["run_id"]
    assert first["ended_utc"] >= first["started_utc"]
    assert json.loads(first["classes"]) == ["open", "short"]
    assert first["model_sha256"] == "d" * 64


def test_two_runs_cannot_share_a_directory(open_log: OpenLog, records: Path) -> None:
    """The second run is told the directory and the process that has it; after a close it may have it."""
    log = open_log()

    with pytest.raises(RunError, match=rf"{records}: in use by another run \(process \d+\)"):
        open_log()

    log.close()
    open_log()


def test_a_closed_log_takes_nothing(open_log: OpenLog, line: Any) -> None:
    """After close a result is refused loudly; closing again does nothing."""
    log = open_log()
    log.close()
    log.close()
    seen = line.inspection(1)

    with pytest.raises(RunError, match="closed"):
        log.write_inspection(seen, [])
    assert not log.status().writable


def test_a_removed_record_file_is_noticed(open_log: OpenLog, records: Path, line: Any, wait_until: WaitUntil) -> None:
    """Writing on into a deleted file would be a silent loss; the log fails and says what happened."""
    log = open_log()
    (records / "records.sqlite").unlink()
    wait_until(lambda: not log.status().writable)
    seen = line.inspection(1)

    assert "removed" in log.status().reason
    wait_until(lambda: _refuses(log, seen))
    with pytest.raises(RunError, match="removed"):
        log.close()


def test_a_backup_that_is_copied_over_the_file_is_noticed(
    open_log: OpenLog, records: Path, line: Any, wait_until: WaitUntil
) -> None:
    """The file's inode stays; its log is gone from the folder, and what goes on into it nobody would read."""
    log = open_log()
    shutil.copy(records / "records.sqlite", records.parent / "backup")
    copied_over(records.parent / "backup", records / "records.sqlite")
    wait_until(lambda: not log.status().writable)
    seen = line.inspection(1)

    assert "replaced" in log.status().reason
    wait_until(lambda: _refuses(log, seen))
    with pytest.raises(RunError, match="replaced"):
        log.close()


def _refuses(log: SqliteLog, seen: Any) -> bool:
    try:
        log.write_inspection(seen, [])
    except RunError:
        return True
    return False


def other_file(path: Path, *statements: str) -> None:
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as connection:
        for sql in statements:
            connection.execute(sql)
        connection.commit()


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        (("CREATE TABLE t (x)",), "another program's"),
        (
            (
                "CREATE TABLE runs (x)",
                f"PRAGMA application_id={APPLICATION_ID}",
                f"PRAGMA user_version={SCHEMA_VERSION + 1}",
            ),
            "newer vision-line",
        ),
        (("CREATE TABLE runs (x)", f"PRAGMA application_id={APPLICATION_ID}"), "too old"),
    ],
)
def test_other_files_are_refused(open_log: OpenLog, records: Path, statements: tuple[str, ...], message: str) -> None:
    """Another program's file, a newer version's and an unknown older one's are left alone, with the reason."""
    other_file(records / "records.sqlite", *statements)

    with pytest.raises(RunError, match=message):
        open_log()


def old_file(path: Path, version: int) -> None:
    """Write a record file as that version of the schema did; 1 is 2 without the settings of cameras."""
    path.parent.mkdir()
    if version == 7:  # as it is now, without what came behind it
        old_file(path.parent / "4" / path.name, 4)
        (path.parent / "4" / path.name).rename(path)
        open_writer(path).close()
        with closing(sqlite3.connect(path)) as connection:
            for table, column in product(("detections", "events", "near_misses"), ("outline", *MASK_COLUMNS)):
                connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
            connection.execute("PRAGMA user_version=7")
        return
    name = f"schema{max(version, 2)}.sql"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((Path(__file__).parent / "old_files" / name).read_text())
        if version == 1:
            connection.executescript("ALTER TABLE cameras DROP COLUMN settings; PRAGMA user_version=1;")


def columns_of(connection: sqlite3.Connection) -> dict[str, set[tuple[Any, ...]]]:
    """Return each table's columns: name, type, whether it may be NULL, place in the primary key."""
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    return {
        table: {(c[1], c[2], c[3], c[5]) for c in map(tuple, connection.execute(f"PRAGMA table_info({table})"))}
        for table in tables
    }


@pytest.mark.parametrize("version", [1, 2, 4, 7])
def test_a_file_of_an_older_schema_is_brought_up_to_date(
    open_log: OpenLog, records: Path, tmp_path: Path, version: int
) -> None:
    """Its rows stay, its tables become those of a new file; a reader asks for that, and then reads it."""
    old_file(records / "records.sqlite", version)
    with pytest.raises(RunError, match="written by an older version"):
        open_reader(records)

    open_log(evidence=False).close()
    with closing(open_reader(records)) as reader:
        assert [row["event_id"] for row in reader.execute("SELECT event_id FROM events")] == ["e1"]
        names = [(row["run"], row["name"], row["settings"]) for row in reader.execute("SELECT * FROM cameras")]
        migrated = columns_of(reader)
    assert names == [(1, "cam01", "{}" if version > 1 else ""), (2, "cam01", "")]
    with closing(open_writer(tmp_path / "new.sqlite")) as new:
        assert migrated == columns_of(new)


def test_the_journal_of_an_older_schema_goes_on(open_log: OpenLog, records: Path) -> None:
    """Its entries know nothing of newer columns and tables, and still hold beside the new ones."""
    old_file(records / "records.sqlite", 4)
    open_log().close()

    found = verify(records, Expected(), lambda _done, _total: None, images=True)
    assert found.journal.first == 1
    assert not found.journal.before


def test_a_file_of_schema_8_holds_and_is_exported_as_before(open_log: OpenLog, records: Path, tmp_path: Path) -> None:
    """That version wrote it, with an upright and a rotated box, and its exports: there is nothing in newer columns."""
    old_file(records / "records.sqlite", 8)
    open_log().close()

    verify(records, Expected(), lambda _done, _total: None, images=True)
    for table in (Table.DETECTIONS, Table.EVENTS):
        export(records, table, Format.CSV, Selection(), tmp_path / f"{table}.csv")
        names, *rows = (Path(__file__).parent / "old_files" / f"schema8_{table}.csv").read_text("utf-8").splitlines()
        exported = (tmp_path / f"{table}.csv").read_text("utf-8").splitlines()
        assert exported == [f"{names},area_px,centre_x,centre_y", *(f"{row},,," for row in rows)]


@pytest.mark.parametrize("change", ["outline = '[1, 2]'", "outline = ''", "area_px = 0, centre_x = 0, centre_y = 0"])
def test_what_nobody_wrote_into_an_older_row_is_found(open_log: OpenLog, records: Path, change: str) -> None:
    """Its entry says nothing of the newer column: there is nothing in it then, and 0 is an area as any other."""
    old_file(records / "records.sqlite", 4)
    open_log().close()
    with closing(sqlite3.connect(records / "records.sqlite")) as connection, connection:
        connection.execute(f"UPDATE events SET {change}")

    with pytest.raises(BrokenRecordError, match="in table events is another one"):
        verify(records, Expected(), lambda _done, _total: None, images=False)


def test_events_of_an_older_schema_get_the_observation_of_their_image(open_log: OpenLog, records: Path) -> None:
    """Their rows had the latest observation, and their images showed the confirming one."""
    old_file(records / "records.sqlite", 2)
    with closing(sqlite3.connect(records / "records.sqlite")) as connection, connection:
        columns = "run, camera, station, recipe, sequence, arrived_utc, arrived_s, class, score, x1, y1, x2, y2, width,"
        connection.execute(
            f"INSERT INTO detections ({columns} height, event_id, latency_ms)"
            " VALUES (1, 'cam01', '', '', 8, 1.0, 1.0, 'open', 0.7, 5, 6, 7, 8, 640, 360, 'e1', 9)"
        )
    open_log(evidence=False).close()

    with closing(open_reader(records)) as reader:
        row = dict(reader.execute("SELECT * FROM events").fetchone())
    best = [row[name] for name in ("picture_sequence", "sequence", "score", "x1", "y1", "x2", "y2")]
    last = [row[f"last_{name}"] for name in ("sequence", "score", "x1", "y1", "x2", "y2")]
    assert best == [8, 8, 0.7, 5, 6, 7, 8]
    assert last == [9, 0.8, 10, 10, 20, 20]


def test_a_file_that_is_no_database_is_refused(open_log: OpenLog, records: Path) -> None:
    """A damaged file is named."""
    records.mkdir()
    (records / "records.sqlite").write_bytes(b"not a database, but long enough to be looked at" * 100)

    with pytest.raises(RunError, match=r"records\.sqlite failed"):
        open_log()


def test_the_directory_is_free_after_its_run_was_killed(open_log: OpenLog, records: Path) -> None:
    """The lock ends with the process that held it, however it ended."""
    hold = "import sys, pathlib, time; from vision_line.records.directory import DirectoryLock as L"
    script = f"{hold}; lock = L(pathlib.Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script, str(records)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=f"process {child.pid}"):
            open_log()
        child.kill()

    assert open_log().status().writable
