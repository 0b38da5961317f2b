# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who enters parts also removes old ones."""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from queue import Queue

import pytest
from tests.fakes.passed_parts import make_part
from tests.fakes.waiting import wait_for

from vision_line.errors import BrokenRecordError
from vision_line.lanes.parts_recorder import PartEntry, PartsRecorder
from vision_line.parts.orders import Asked, ask_lot
from vision_line.parts.part_entries import add_part, last_sequence
from vision_line.parts.parts_check import CheckedParts, check_parts
from vision_line.parts.parts_file import PARTS_FILE, reading, writing


def checked(directory: Path) -> CheckedParts:
    found = check_parts(directory)
    assert found is not None
    return found


def test_old_parts_go_while_it_waits_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as days are asked for; the lane counts on."""
    with monkeypatch.context() as at:
        at.setattr("vision_line.records.side_journal.time.time", lambda: 1000.0)
        with writing(tmp_path) as connection:
            for sequence in (1, 2):
                add_part(connection, make_part(sequence))
    monkeypatch.setattr("vision_line.records.retention.STEADY_S", 0.0)
    recorder = PartsRecorder(tmp_path, ["a"], lambda _: None)
    try:
        assert checked(tmp_path).removed == 0
        recorder.keep(30)
        while not checked(tmp_path).removed:
            time.sleep(0.01)
        assert recorder.last_part("a").sequence == 2
        assert recorder.problem == ""
    finally:
        recorder.close()
    assert (checked(tmp_path).removed, checked(tmp_path).parts) == (2, 0)


@pytest.mark.parametrize("is_added_later", [False, True])
def test_parts_that_a_kill_took_are_entered_with_the_next_start(tmp_path: Path, *, is_added_later: bool) -> None:
    """One that was decided later than its followers was on its way: it was told nothing, so it was not inspected."""
    with writing(tmp_path) as connection:
        for sequence in (1, 2, 4, 5, 8):
            add_part(connection, make_part(sequence))
    with pytest.raises(BrokenRecordError, match="of its numbers 3 are missing"):
        check_parts(tmp_path)
    recorder = PartsRecorder(tmp_path, [] if is_added_later else ["a"], lambda _: None)
    if is_added_later:
        recorder.follow(["a"])
        wait_for(lambda: parts_in(tmp_path) == 8)
    recorder.close()
    assert checked(tmp_path).parts == 8
    with reading(tmp_path) as connection:
        assert connection is not None
        found = connection.execute("SELECT sequence, verdict, cause FROM parts WHERE inspections = 0").fetchall()
    assert {(3, "not_inspected", "restart"), (6, "not_inspected", "restart"), (7, "not_inspected", "restart")} <= {
        tuple(row) for row in found
    }


@pytest.mark.parametrize("how", ["replaced", "removed", "copied over"])
def test_a_file_that_takes_the_others_place_gets_what_comes(how: str, tmp_path: Path) -> None:
    """Nobody would ever read what went on into the old one: no part is said to be on the disk that is not there."""
    recorder = PartsRecorder(tmp_path, ["a"], lambda call: call())
    path, backup = tmp_path / PARTS_FILE.name, tmp_path / "backup"
    try:
        assert is_entered(recorder, 1)
        shutil.copy(path, backup)  # of before its log was written back: an empty one
        if how == "copied over":
            for name in tmp_path.glob(f"{path.name}-*"):
                name.unlink()
            shutil.copy(backup, path)
        else:
            for name in tmp_path.glob(f"{path.name}*"):
                name.unlink()
            if how == "replaced":
                backup.rename(path)
        ends_s = time.monotonic() + 20
        while not (was_entered := is_entered(recorder, 2)) and time.monotonic() < ends_s:
            time.sleep(0.01)
    finally:
        recorder.close()
    assert was_entered
    with reading(tmp_path) as connection:
        assert connection is not None
        assert last_sequence(connection, "a") == 2


@pytest.mark.parametrize("is_taken_away", [True, False])
def test_an_order_that_cannot_be_understood_stops_acceptance_and_no_entry(tmp_path: Path, is_taken_away: bool) -> None:
    """It is said; another order ends it, and so does who puts the file right."""
    recorder = PartsRecorder(tmp_path, ["a"], lambda call: call())
    damaged = "INSERT INTO journal SELECT max(number) + 1, 'lot', 'a', 0.0, '{}', x'00' FROM journal"
    try:
        assert is_entered(recorder, 1)
        with closing(sqlite3.connect(tmp_path / PARTS_FILE.name, isolation_level=None)) as other:
            other.execute(damaged)
            wait_for(lambda: "the lot that was asked for, is not what was written" in recorder.problem)
            assert not is_entered(recorder, 2)
            recorder.put(PartEntry(make_part(3)))  # a reject: it was heard, and waits
            if is_taken_away:
                triggers = other.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
                for (name,) in triggers:  # the file is append-only
                    other.execute(f"DROP TRIGGER {name}")
                other.execute("DELETE FROM journal WHERE body = '{}'")
            else:
                ask_lot(tmp_path, "L-2", Asked("the shift", "command"), "a")
        wait_for(lambda: not recorder.problem and not recorder.waiting)
        assert is_entered(recorder, 4)
        assert recorder.orders("a").lot == ("" if is_taken_away else "L-2")
    finally:
        recorder.close()


def test_a_fault_of_the_program_stops_acceptance_as_long_as_it_lasts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is that the thread does not expect: it is said with its place, and goes on when it is over."""
    recorder = PartsRecorder(tmp_path, ["a"], lambda call: call())
    try:
        assert is_entered(recorder, 1)
        with monkeypatch.context() as patched:
            patched.setattr("vision_line.lanes.parts_recorder.in_force", lambda *_: 1 // 0)
            ask_lot(tmp_path, "L-2", Asked("the shift", "command"), "a")
            wait_for(lambda: recorder.problem.startswith("a fault of the program: ZeroDivisionError"))
            assert not is_entered(recorder, 2)
        wait_for(lambda: not recorder.problem)
        assert is_entered(recorder, 3)
    finally:
        recorder.close()
    assert "Traceback" in caplog.text


def parts_in(directory: Path) -> int:
    """Return how many parts there are."""
    with reading(directory) as connection:
        assert connection is not None
        (count,) = connection.execute("SELECT count(*) FROM parts").fetchone()
        return int(count)


def is_entered(recorder: PartsRecorder, sequence: int) -> bool:
    """Put a part, and return whether it was said to be entered."""
    heard: Queue[bool] = Queue()
    recorder.put(PartEntry(make_part(sequence), heard.put))
    return heard.get(timeout=60)
