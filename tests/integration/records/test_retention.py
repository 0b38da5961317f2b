# SPDX-License-Identifier: AGPL-3.0-or-later
"""Records that do not grow for ever: what goes first, what stays, and that it is written down."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.errors import ConfigError, RunError
from vision_line.frames import CameraState, ClockStep, CoverageMinute, NotInspected, StateChange
from vision_line.records import retention
from vision_line.records.columns import Table
from vision_line.records.corrected_time import Timeline
from vision_line.records.directory import DirectoryLock
from vision_line.records.known_rows import known_since_utc
from vision_line.records.log import SqliteLog
from vision_line.records.query import Selection
from vision_line.records.removal import prune
from vision_line.records.retention import DAY_S, SHELVES, STEADY_S, Retention, RowAge, Why, remove_batch, used_bytes
from vision_line.records.schema import open_reader, open_writer, transaction
from vision_line.records.table_export import Format, export

OpenLog = Callable[..., SqliteLog]
NOW = time.time()
DAYS = 10
TABLES = ("detections", "events", "states", "coverage", "not_inspected")


@pytest.fixture
def filled(open_log: OpenLog, records: Path, line: Any, wait_until: Callable[[Callable[[], bool]], None]) -> Path:
    """Records of ten days, one of each kind a day, the newest of today; each event with its image."""
    log = open_log()
    for day in range(DAYS, 0, -1):
        utc = NOW - day * DAY_S + 3600
        seen = line.inspection(day, 3, data=line.frame_data(), arrived_utc=utc)
        log.write_inspection(seen, [line.event(seen, f"e{day}")])
        minute = int(utc // 60 * 60)
        gap = NotInspected(f"i{day}", "cam01", "capacity", 1.0, utc, 2.0, utc + 1)
        log.write_coverage([CoverageMinute("cam01", minute, 1, 1, 1)], [gap])
        log.write_states([StateChange("cam01", CameraState.RUNNING, 1.0, utc)])
    log.write_coverage([CoverageMinute("cam01", int(NOW // 60 * 60), 1, 1, 1)], [])
    log.close()
    with closing(open_writer(records / "records.sqlite")) as connection:
        # Images are as old as their events.
        first = "SELECT first_seen_utc FROM events v WHERE v.event_id = evidence.event_id"
        connection.execute(f"UPDATE evidence SET created_utc = ({first})")
    return records


def counts(records: Path) -> dict[str, int]:
    with closing(open_reader(records)) as connection:
        return {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}


def test_what_is_older_goes_with_its_images_and_is_written_down(filled: Path) -> None:
    """Four days stay; the rest is gone from every table, and a row says what and from when."""
    images = len(list(filled.rglob("*.jpg")))
    done = prune(filled, 4, 0, NOW, dry_run=False)

    assert counts(filled) == {"detections": 12, "events": 4, "states": 4, "coverage": 5, "not_inspected": 4}
    assert done.images == 6
    assert len(list(filled.rglob("*.jpg"))) == images * 4 // DAYS
    assert {part.table: part.rows for part in done.removed} == {
        "detections": 18, "events": 6, "states": 6, "coverage": 6, "not_inspected": 6
    }  # fmt: skip
    with closing(open_reader(filled)) as connection:
        rows = [dict(row) for row in connection.execute("SELECT * FROM removals ORDER BY removal")]
        assert not connection.execute("PRAGMA foreign_key_check").fetchall()
    assert [(row["removed_from"], row["rows"], row["why"]) for row in rows] == [
        (table, 18 if table == "detections" else 6, "prune") for table in TABLES
    ]
    assert rows[0]["from_utc"] == pytest.approx(NOW - DAYS * DAY_S + 3600, abs=1)
    assert rows[0]["to_utc"] == pytest.approx(NOW - 5 * DAY_S + 3600, abs=1)


def test_a_dry_run_says_the_same_and_changes_nothing(filled: Path) -> None:
    """Neither a row nor an image."""
    before, images = counts(filled), len(list(filled.rglob("*.jpg")))
    tried = prune(filled, 4, 0, NOW, dry_run=True)

    assert (counts(filled), len(list(filled.rglob("*.jpg")))) == (before, images)
    done = prune(filled, 4, 0, NOW, dry_run=False)
    assert (tried.removed, tried.images) == (done.removed, done.images)


def test_an_export_of_a_pruned_time_says_so(filled: Path, tmp_path: Path) -> None:
    """What is missing there must not look like a good shift; an export of the time since says nothing."""
    prune(filled, 4, 0, NOW, dry_run=False)

    def said(since_utc: float | None) -> tuple[str, ...]:
        selection = Selection(since_utc=since_utc)
        return export(filled, Table.DETECTIONS, Format.CSV, selection, tmp_path / "d.csv").removed

    (sentence,) = said(None)
    assert sentence.startswith("18 rows of detections were removed (prune) from 20")
    assert said(NOW - 4 * DAY_S) == ()
    table = tmp_path / "removals.csv"
    assert export(filled, Table.REMOVALS, Format.CSV, Selection(), table).rows == len(TABLES)


def test_of_a_file_that_is_too_large_detections_go_first(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then events whose images are gone, then what the ledger says; the last hour stays whatever is asked for."""
    monkeypatch.setattr(retention, "BATCH_ROWS", 4)
    order: list[str] = []
    tidy = Retention(0, 1)
    tidy._max_bytes = 1
    with closing(open_writer(filled / "records.sqlite")) as connection:
        connection.execute("UPDATE evidence SET deleted_utc = ? WHERE event_id > 'e2'", (NOW,))
        while removed := tidy.tidy(connection, 1e9 + len(order), NOW):
            order.append(removed.table)
            assert removed.why == "max_mb"

    assert [table for n, table in enumerate(order) if table not in order[:n]] == list(TABLES)
    # e1, e10 and e2 keep their images, the last one of which the image was removed marks where to go on.
    assert counts(filled) == {"detections": 0, "events": 4, "states": 1, "coverage": 1, "not_inspected": 0}


def test_a_running_line_stays_within_its_bound(open_log: OpenLog, records: Path, line: Any, wait_until: Any) -> None:
    """Rows go while others come; the file does not grow, and nothing that came is refused."""
    log = open_log(evidence=False, max_mb=1)
    log._writer._retention._max_bytes = 600_000  # a megabyte takes too long to write
    for sequence in range(2500):
        seen = line.inspection(sequence, 4, arrived_utc=NOW - 2 * DAY_S + sequence)
        log.write_inspection(seen, [])
    log.write_coverage([CoverageMinute("cam01", int(NOW // 60 * 60), 1, 1, 1)], [])

    def is_within() -> bool:
        with closing(open_reader(records)) as connection:
            return used_bytes(connection) <= 600_000

    wait_until(lambda: not log.status().pending)
    assert not is_within()

    def goes_on() -> bool:  # others come meanwhile, so that something always waits
        seen = line.inspection(9999, 4)
        log.write_inspection(seen, [])
        return counts(records)["detections"] < 10_000

    wait_until(goes_on)
    wait_until(is_within)
    assert log.status().writable
    assert counts(records)["detections"] > 400


def test_a_record_directory_in_use_is_left_alone(filled: Path) -> None:
    """The run that has it removes by itself what its settings say."""
    lock = DirectoryLock(filled)
    with pytest.raises(
        RunError, match=r"in use by a run \(process \d+\); end it first; it removes by itself with keep_days"
    ):
        prune(filled, 1, 0, NOW, dry_run=False)
    lock.close()
    with pytest.raises(ConfigError, match=r"there is no folder .*nowhere: run it where the line ran, .* with --record"):
        prune(filled / "nowhere", 1, 0, NOW, dry_run=False)


YEAR_S = 365 * DAY_S


def test_what_a_wrong_clock_called_old_is_as_young_as_it_is(
    filled: Path, open_log: OpenLog, line: Any, wait_until: Any
) -> None:
    """A run that began a year ago by a clock that was then set: its rows and images of minutes ago stay."""
    log = open_log()
    ago = NOW - YEAR_S
    seen = line.inspection(90, 3, data=line.frame_data(), arrived_utc=ago)
    log.write_inspection(seen, [line.event(seen, "wrong")])
    seen_s = seen.frame.arrived_s
    gap = NotInspected("wrong", "cam01", "capacity", seen_s, ago, seen_s + 1, ago + 1)
    log.write_coverage([CoverageMinute("cam01", int(ago // 60 * 60), 1, 1, 1)], [gap])
    log.write_states([StateChange("cam01", state, seen_s, ago) for state in (CameraState.STALE, CameraState.RUNNING)])
    log.write_clock_steps([ClockStep(1, seen_s + 60, ago + 60, NOW + 60)])
    log.write_coverage([CoverageMinute("cam01", int((NOW + 60) // 60 * 60), 1, 1, 1, clock=1)], [])
    wait_until(lambda: len(list(filled.rglob("*wrong-*.jpg"))) == 3)
    log.close()
    tried = prune(filled, 4, 0, NOW + 120, dry_run=True)
    done = prune(filled, 4, 0, NOW + 120, dry_run=False)

    assert (tried.removed, tried.images) == (done.removed, done.images)
    assert counts(filled) == {"detections": 15, "events": 5, "states": 6, "coverage": 7, "not_inspected": 5}
    assert len(list(filled.rglob("*wrong-*.jpg"))) == 3
    later = NOW + 11 * DAY_S  # by then they are old, whatever they are called
    with closing(open_writer(filled / "records.sqlite")) as connection:
        connection.execute(
            "INSERT INTO coverage (run, camera, station, recipe, minute_utc, clock, arrived, decoded, inspected,"
            " not_inspected_s, reconnects) VALUES (2, 'cam01', '', '', ?, 1, 1, 1, 1, 0, 0)",
            (int(later // 60 * 60),),
        )
    prune(filled, 4, 0, later, dry_run=False)
    assert counts(filled) == {"detections": 0, "events": 0, "states": 2, "coverage": 1, "not_inspected": 0}
    assert not list(filled.rglob("*.jpg"))


def test_the_command_says_what_it_removed(filled: Path) -> None:
    """And asks what to remove where nothing is said."""

    def command(*options: str) -> subprocess.CompletedProcess[str]:
        call = [sys.executable, "-m", "vision_line", "prune", "--record", str(filled), *options]
        return subprocess.run(call, text=True, capture_output=True, check=False, timeout=60)

    assert command().returncode == 2
    done = command("--keep-days", "4", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "detections: 18 rows would be removed, 20" in done.stdout
    assert "evidence: images of 6 events would be removed" in done.stdout


class Righted(Timeline):
    """Knows that what is called later than now is the oldest of all."""

    def __init__(self) -> None:
        pass

    def true_utc(self, run: int, label_utc: float, offset_s: float | None) -> float:
        """Return 0 of the future."""
        return 0.0 if label_utc > NOW else label_utc


def remove_one_by_one(records: Path, rows: int) -> None:
    """Remove the events that are older than four days, so many in a batch."""
    with closing(open_writer(records / "records.sqlite")) as connection, pytest.MonkeyPatch.context() as patch:
        patch.setattr(retention, "BATCH_ROWS", rows)
        (events,) = (shelf for shelf in SHELVES if shelf.table == "events")
        asked = (connection, Righted(), NOW - 4 * DAY_S, 0, NOW)
        connection.execute("UPDATE evidence SET deleted_utc = ?", (NOW,))
        connection.execute("UPDATE events SET first_seen_utc = ?, last_seen_utc = ? WHERE event_id = 'e8'", AHEAD)
        with transaction(connection):
            while remove_batch(*asked, shelves=[events], why=Why.KEEP_DAYS):
                pass


#: When an event was first and last seen by a clock that was ahead.
AHEAD = (NOW + 5 * DAY_S, NOW + 6 * DAY_S)


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_what_a_clock_labelled_that_was_ahead_is_removed_by_itself(filled: Path, rows: int) -> None:
    """In whatever batches it goes: since when all is there is known of the others, and they are one row of the day."""
    remove_one_by_one(filled, rows)
    with closing(open_reader(filled)) as connection:
        assert known_since_utc(connection, Table.EVENTS) == pytest.approx(NOW - 5 * DAY_S + 3600, abs=2)
        entered = sorted(tuple(row) for row in connection.execute("SELECT rows, from_utc, to_utc FROM removals"))
    assert [row[0] for row in entered] == [1, 5]
    assert entered[0][1:] == AHEAD


@given(jumps=st.lists(st.floats(-1e9, 1e9), max_size=5))
def test_by_a_clock_that_was_just_set_nothing_is_old(jumps: list[float]) -> None:
    """A box without a battery begins in 1970 or in the future: not a row goes until its clock has been steady."""
    age = RowAge(30)
    now_s, utc = 0.0, NOW
    for jump_s in [0.0, *(jump for jump in jumps if abs(jump) > 100)]:
        utc += jump_s
        assert age.cutoff_utc(now_s, utc + now_s) == float("-inf")
        assert age.cutoff_utc(now_s + STEADY_S - 1, utc + now_s + STEADY_S - 1) == float("-inf")
        now_s += STEADY_S + 1
        assert age.cutoff_utc(now_s, utc + now_s) == pytest.approx(utc + now_s - 30 * DAY_S)
    assert RowAge(0).cutoff_utc(1e9, NOW) == float("-inf")


def test_old_images_go_while_the_line_runs(
    filled: Path, open_log: OpenLog, monkeypatch: pytest.MonkeyPatch, wait_until: Any
) -> None:
    """Their rows say when, and then the events may go too."""
    monkeypatch.setattr(retention, "STEADY_S", 0.0)
    log = open_log(keep_days=4)
    wait_until(lambda: log.status().evidence_deleted == 6 and counts(filled)["coverage"] == 5)
    log.close()

    with closing(open_reader(filled)) as connection:
        gone = connection.execute("SELECT count(*) FROM evidence WHERE deleted_utc IS NOT NULL").fetchone()[0]
    assert counts(filled)["detections"] == 12
    assert 1 <= gone <= 6
    assert len({path.name for path in filled.rglob("*.overlay.jpg")}) == 4


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches follow each other at once."""
    monkeypatch.setattr(retention, "PACE_S", 0.0)
