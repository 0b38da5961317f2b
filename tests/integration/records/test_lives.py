# SPDX-License-Identifier: AGPL-3.0-or-later
"""Runs that follow each other in one record file: who died, and since when nobody inspected which camera."""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vision_line.frames import CameraState, CoverageMinute, NotInspected, StateChange
from vision_line.inspection.coverage.causes import CRASHED, OFF, Absence
from vision_line.records import lives
from vision_line.records.entries import CameraRecord, CamerasEntry, CoverageEntry, RunRecord, StatesEntry
from vision_line.records.lives import Inheritance, Life, boot_id, inherit
from vision_line.records.log import SqliteLog
from vision_line.records.rows import INSERT_RUN, RowMaker, run_row
from vision_line.records.schema import open_reader, open_writer

NOON = 1_767_268_800.0
#: The monotonic clock at the start of the run that inherits.
START_S = 5.0


class File:
    """A record file into which runs are entered as they were; times are seconds after `NOON`."""

    def __init__(self, path: Path) -> None:
        self.connection = open_writer(path)

    def run(
        self,
        cameras: str,
        alive: float | None,
        *,
        began: bool = True,
        end: str | None = None,
        boot: str | None = None,
        over: dict[str, CameraState] | None = None,
        gap: float | None = None,
        looked: float | None = None,
    ) -> int:
        """Enter a run: its last sign of life, whether its ledger began, how it ended (None: it did not)."""
        record = RunRecord("0", NOON - 100, "", "", "", "", "", "")
        row = run_row(record, [], boot_id() if boot is None else boot, evidence=False)
        number = self.connection.execute(INSERT_RUN, row).lastrowid
        assert number is not None
        names = cameras.split()
        entries: list[Any] = [CamerasEntry(tuple(CameraRecord(name, "", "", "") for name in names), NOON)]
        if began:
            looked_utc = None if looked is None else NOON + looked
            minute = CoverageMinute("", int(NOON), 1, 1, 1, provisional=True, looked_utc=looked_utc)
            minutes = tuple(replace(minute, camera=name) for name in names)
            gaps = () if gap is None else (NotInspected("g", names[0], "capacity", gap, NOON + gap),)
            entries.append(CoverageEntry(minutes, gaps))
        for name, state in (over or {}).items():
            entries.append(StatesEntry((StateChange(name, state, 0.0, NOON),)))
        for entry in entries:
            for sql, rows in RowMaker(number, [], []).statements(entry):
                self.connection.executemany(sql, rows)
        if alive is not None:
            sql = "UPDATE runs SET alive_utc = ?, alive_boot_s = ? WHERE run = ?"
            self.connection.execute(sql, (NOON + alive, 1000 + alive, number))
        if end is not None:
            sql = "UPDATE runs SET ended_utc = ?, end_cause = ? WHERE run = ?"
            self.connection.execute(sql, (NOON + (alive or 0) + 1, end, number))
        return number

    def inherit(self, now: float, boot_s: float | None = None) -> Inheritance:
        """Begin a run at `now` by the wall clock, and `boot_s` by that of the machine's start."""
        return inherit(self.connection, START_S, Life(NOON + now, 1000 + (now if boot_s is None else boot_s)))


@pytest.fixture
def file(tmp_path: Path) -> Iterator[File]:
    """A new record file."""
    made = File(tmp_path / "records.sqlite")
    yield made
    made.connection.close()


def since(inherited: Inheritance) -> dict[str, tuple[float, str]]:
    """Return how long before the start, at `START_S`, nobody inspected each camera, and why."""
    return {name: (START_S - absence.since_s, absence.cause) for name, absence in inherited.absences.items()}


def test_the_first_run_inherits_nothing(file: File) -> None:
    """Nobody was to inspect anything before."""
    assert file.inherit(0.0) == Inheritance()


def test_a_killed_run_gets_its_end_and_its_intervals_theirs(file: File) -> None:
    """At its last sign of life; its cameras were not inspected since."""
    run = file.run("a b", 50.0, gap=40.0)
    assert since(file.inherit(90.0)) == {"a": (40.0, CRASHED), "b": (40.0, CRASHED)}

    assert file.connection.execute("SELECT ended_utc, end_cause FROM runs WHERE run = ?", (run,)).fetchall() == [
        (NOON + 50, "crashed")
    ]
    assert file.connection.execute("SELECT ended_utc, ended_s FROM not_inspected").fetchall() == [(NOON + 50, 50.0)]


def test_a_gap_that_a_killed_run_had_not_found_yet_is_not_lost(file: File) -> None:
    """It was inspected last long before the last sign of life; where the gap was reported, that is its interval."""
    file.run("a b", 50.0, looked=41.0, gap=42.0)
    assert since(file.inherit(90.0)) == {"a": (40.0, CRASHED), "b": (49.0, CRASHED)}
    file.run("a b", 50.0, looked=48.5)

    assert since(file.inherit(90.0)) == {"a": (40.0, CRASHED), "b": (40.0, CRASHED)}


@pytest.mark.parametrize("end", ["stopped", "failed"])
def test_a_run_that_ended_leaves_its_cameras_off(file: File, end: str) -> None:
    """From where its ledger ends, which is before the run's own end."""
    file.run("a", 50.0, end=end)

    assert since(file.inherit(90.0)) == {"a": (40.0, OFF)}


def test_starts_that_were_killed_before_their_ledger_began_leave_no_hole(file: File) -> None:
    """What the last ledger accounts for is what counts, whoever died in between."""
    file.run("a", 50.0)
    file.run("a", None, began=False)
    file.run("a b", 70.0, began=False)

    assert since(file.inherit(90.0)) == {"a": (40.0, CRASHED)}
    assert file.connection.execute("SELECT count(*) FROM runs WHERE ended_utc IS NULL").fetchone() == (0,)


def test_a_camera_that_was_taken_out_of_a_run_is_off_since_then(file: File) -> None:
    """Also where that run died later, or its clock was set in between. Files that were at their end are not missed."""
    file.run("a c d", 20.0, end="stopped")
    run = file.run("a c d", 50.0, over={"c": CameraState.REMOVED, "d": CameraState.ENDED})
    assert since(file.inherit(90.0)) == {"a": (40.0, CRASHED), "c": (90.0, OFF)}

    step = "INSERT INTO clock_steps (run, clock, at_s, from_utc, to_utc) VALUES (?, ?, ?, 0, 30)"
    file.connection.executemany(step, [(run, 0, 0.0), (run, 1, 1.0)])
    assert since(file.inherit(90.0)) == {"a": (40.0, CRASHED), "c": (60.0, OFF)}


def test_a_run_without_a_camera_does_not_hide_its_absence(file: File) -> None:
    """Each camera is missed since the last run that watched it, by that run's own end, inspections and clock."""
    file.run("a b c", 20.0, looked=11.0, end="stopped")
    file.run("a c", 50.0, looked=49.0)
    file.run("other", 60.0, end="stopped")
    file.run("a", 70.0, looked=69.0, end="stopped")

    missed = {"a": (20.0, OFF), "b": (79.0, OFF), "c": (40.0, CRASHED), "other": (30.0, OFF)}
    assert since(file.inherit(90.0)) == missed
    set_back = file.inherit(-3510.0, boot_s=90.0)
    assert since(set_back) == missed
    assert set_back.step is not None
    assert set_back.step.from_utc == NOON + 90.0


def test_a_run_of_an_earlier_version_lived_until_its_newest_row(file: File) -> None:
    """It gave no sign of life."""
    file.run("a", None, over={"a": CameraState.RUNNING})

    assert since(file.inherit(90.0)) == {"a": (30.0, CRASHED)}  # the end of its minute


def test_between_two_runs_the_machine_knows_how_long_it_was(file: File) -> None:
    """A wall clock that was set meanwhile, either way, changes the label and not the length, and is recorded."""
    file.run("a", 50.0)
    for now in (-3510.0, 3690.0):
        inherited = file.inherit(now, boot_s=90.0)

        assert since(inherited) == {"a": (40.0, CRASHED)}
        assert inherited.step is not None
        assert inherited.step.step_s == pytest.approx(now - 90.0)


def test_after_a_restart_of_the_machine_a_clock_that_was_set_back_is_said(file: File) -> None:
    """How long nobody inspected is not known then; no interval ends before it begins."""
    file.run("a", 50.0, boot="another")
    inherited = file.inherit(-3550.0)

    assert since(inherited) == {"a": (0.0, CRASHED)}
    assert inherited.step is not None
    assert inherited.step.clock == 0
    assert inherited.step.step_s == pytest.approx(-3600)
    assert file.inherit(90.0).step is None  # forward: the machine was off


def test_a_machine_that_does_not_report_its_start_is_no_trouble(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the wall clock is all there is."""
    file.run("a", 50.0, boot="")
    monkeypatch.setattr(lives, "_BOOT_ID", Path("/nowhere"))

    assert boot_id() == ""
    assert file.inherit(90.0).absences == {"a": Absence(START_S - 40.0, CRASHED)}


def test_a_start_does_not_read_through_the_minutes_of_years(file: File) -> None:
    """What it costs does not grow with the minutes of the last run."""
    file.run("a", 50.0, looked=40.0)

    def steps() -> int:
        count = itertools.count()
        file.connection.set_progress_handler(lambda: next(count) < 0, 100)
        assert since(file.inherit(90.0)) == {"a": (50.0, CRASHED)}
        file.connection.set_progress_handler(None, 0)
        return next(count)

    before = steps()
    minute = CoverageMinute("a", 0, 1, 1, 1)
    years = tuple(replace(minute, minute_utc=int(NOON) - 60 * (n + 1)) for n in range(20_000))
    for sql, rows in RowMaker(1, [], []).statements(CoverageEntry(years, ())):
        file.connection.executemany(sql, rows)

    assert steps() <= before + 5


def test_life_is_committed_within_seconds_though_nothing_else_is(
    open_log: Callable[..., SqliteLog], records: Path, wait_until: Callable[[Callable[[], bool]], None]
) -> None:
    """A line without defects is alive too; the end says how it came."""
    log = open_log(evidence=False)

    def alive_utc() -> float:
        with closing(open_reader(records)) as connection:
            return float(connection.execute("SELECT coalesce(alive_utc, 0) FROM runs").fetchone()[0])

    wait_until(lambda: not log.status().pending)
    first_utc = time.time()
    log.alive(first_utc)
    wait_until(lambda: alive_utc() == first_utc)
    log.alive(first_utc + 0.5)
    log.__exit__(ValueError, None, None)

    with closing(open_reader(records)) as connection:
        (row,) = connection.execute("SELECT alive_utc, end_cause, ended_utc FROM runs").fetchall()
    assert tuple(row)[:2] == (first_utc + 0.5, "failed")


def test_a_log_that_cannot_commit_is_not_filled_with_what_will_be_outdated(
    open_log: Callable[..., SqliteLog], records: Path, wait_until: Callable[[Callable[[], bool]], None]
) -> None:
    """While another process holds the file, minutes under way are let go and minutes that are over are kept."""
    log = open_log(evidence=False)
    wait_until(lambda: not log.status().pending)
    with closing(sqlite3.connect(records / "records.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        log.write_coverage([CoverageMinute("cam01", 0, 1, 1, 1)], [])
        wait_until(lambda: "stalled" in log.status().reason)
        waiting = log.status().pending
        log.write_coverage([CoverageMinute("cam01", 60, 1, 1, 1, provisional=True)], [])
        assert log.status().pending == waiting
        log.write_coverage([CoverageMinute("cam01", 60, 2, 2, 2)], [])
        assert log.status().pending == waiting + 1
        other.execute("ROLLBACK")
    log.close()

    with closing(open_reader(records)) as connection:
        rows = connection.execute("SELECT minute_utc, arrived, provisional FROM coverage ORDER BY 1").fetchall()
    assert [tuple(row) for row in rows] == [(0, 1, 0), (60, 2, 0)]
