# SPDX-License-Identifier: AGPL-3.0-or-later
"""The file of the cursors, where somebody else has a hand on it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.fakes.restoring import copied_over

from vision_line.outputs.cursor import Cursor, CursorKey, JournalName
from vision_line.outputs.cursor_file import CursorFile
from vision_line.telemetry.output_status import APPLICATION_ID, FILE_NAME, OutputState, known_outputs

PLANT = CursorKey("plant")


def removed(path: Path) -> None:
    path.unlink()


def replaced(path: Path) -> None:
    """Put an older copy into its place."""
    shutil.copy(path, path.with_suffix(".copy"))
    path.with_suffix(".copy").replace(path)


def all_removed(path: Path) -> None:
    for one in path.parent.glob(f"{FILE_NAME}*"):
        one.unlink()


def log_removed(path: Path) -> None:
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink()


def overwritten(path: Path) -> None:
    """Put an older copy into its place, whose inode stays."""
    with closing(sqlite3.connect(path)) as used, closing(sqlite3.connect(path.with_suffix(".copy"))) as copy:
        used.backup(copy)
    copied_over(path.with_suffix(".copy"), path)


@pytest.mark.parametrize("meddle", [removed, replaced, all_removed, log_removed, overwritten])
def test_what_is_removed_while_it_is_used_is_written_again(
    tmp_path: Path, meddle: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Otherwise the next start would begin at `now`, and skip without a word what came meanwhile."""
    with closing(CursorFile(tmp_path)) as used:
        used.save(PLANT, Cursor(6, b"6"))
        used.sync()
        meddle(tmp_path / FILE_NAME)
        used.save(PLANT, Cursor(9, b"9", sent=9))
        used.sync()
        used.save(PLANT, Cursor(10, b"10", sent=10))
    with closing(CursorFile(tmp_path)) as again:
        assert again.cursor(PLANT) == Cursor(10, b"10", sent=10)
        assert again.marks(PLANT) == [(6, b"6")]
    assert caplog.text.count("was removed or replaced") == 1


#: The tables as version 1 had them, with what its process left.
VERSION_1 = f"""
    CREATE TABLE cursors (output TEXT PRIMARY KEY, number INTEGER NOT NULL, digest BLOB NOT NULL,
        lost INTEGER NOT NULL DEFAULT 0, sent INTEGER NOT NULL DEFAULT 0, repeated INTEGER NOT NULL DEFAULT 0) STRICT;
    CREATE TABLE marks (output TEXT NOT NULL, number INTEGER NOT NULL, digest BLOB NOT NULL,
        PRIMARY KEY (output, number)) STRICT;
    CREATE TABLE replays (output TEXT PRIMARY KEY, behind INTEGER NOT NULL, asked_utc REAL NOT NULL) STRICT;
    CREATE TABLE states (output TEXT PRIMARY KEY, state TEXT NOT NULL, since_utc REAL NOT NULL, error TEXT,
        behind INTEGER NOT NULL, behind_s REAL NOT NULL, updated_utc REAL NOT NULL) STRICT;
    INSERT INTO cursors VALUES ('plant', 2500, x'0a', 3, 2400, 7);
    INSERT INTO marks VALUES ('plant', 1000, x'01'), ('plant', 2000, x'02');
    INSERT INTO replays VALUES ('plant', 1500, 100.0);
    INSERT INTO states VALUES ('plant', 'connected', 90.0, NULL, 0, 0.0, 100.0);
    PRAGMA application_id={APPLICATION_ID};
    PRAGMA user_version=1;
"""


def test_an_older_file_keeps_every_place(tmp_path: Path) -> None:
    """Read as it is by who only looks; whoever serves it brings it up to date, once."""
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as old:
        old.executescript(VERSION_1)
    at = Cursor(2500, b"\x0a", lost=3, sent=2400, repeated=7)
    state = OutputState("connected", 90.0, None, 0, 0.0, 100.0)
    (before,) = known_outputs(tmp_path)
    for _ in range(2):
        with closing(CursorFile(tmp_path)) as used:
            assert used.cursor(PLANT) == at
            assert used.marks(PLANT) == [(2000, b"\x02"), (1000, b"\x01")]
            assert used.asked_replay(PLANT) == 1500
            assert used.cursor(CursorKey("plant", JournalName.PARTS)) is None
    (after,) = known_outputs(tmp_path)

    assert before == after
    assert (after.places, after.state) == ({"records": 2500}, state)
    assert (after.lost, after.sent, after.repeated) == (3, 2400, 7)


def test_a_replay_that_is_asked_for_while_another_begins_is_kept(tmp_path: Path) -> None:
    """The command writes into the file while the process that sends goes back to where it was asked before."""
    with closing(CursorFile(tmp_path)) as used:
        used.ask_replay(PLANT, 5, 100.0)
        begun = used.asked_replay(PLANT)
        assert begun == 5
        used.ask_replay(PLANT, 3, 100.1)
        used.end_replay(PLANT, begun)
        assert used.asked_replay(PLANT) == 3
        used.end_replay(PLANT, 3)
        assert used.asked_replay(PLANT) is None


def test_places_in_two_journals_do_not_touch_each_other(tmp_path: Path) -> None:
    parts = CursorKey("plant", JournalName.PARTS)
    with closing(CursorFile(tmp_path)) as used:
        used.save(PLANT, Cursor(6, b"6", sent=5))
        used.save(parts, Cursor(2, b"2", sent=2, lost=1))
        used.ask_replay(parts, 1, 100.0)
        used.drop_marks(parts, above=0)
        assert used.marks(PLANT) == [(6, b"6")]
        assert (used.asked_replay(PLANT), used.asked_replay(parts)) == (None, 1)
    (known,) = known_outputs(tmp_path)

    assert (known.sent, known.lost, known.places["parts"]) == (7, 1, 2)


def test_a_replay_is_noticed_and_whether_there_is_one_costs_nothing(tmp_path: Path) -> None:
    """Each output asks 20 times a second for each journal."""
    with closing(CursorFile(tmp_path)) as used:
        assert used.asked_replay(PLANT) is None
        asked: list[str] = []
        used._connection.set_trace_callback(asked.append)
        assert used.asked_replay(PLANT) is used.asked_replay(CursorKey("plant", JournalName.PARTS)) is None
        assert asked == ["PRAGMA data_version"] * 2
        with closing(CursorFile(tmp_path)) as command:
            command.ask_replay(PLANT, 5, 100.0)
        assert (used.asked_replay(PLANT), used.asked_replay(CursorKey("other"))) == (5, None)
        used.end_replay(PLANT, 5)
        assert used.asked_replay(PLANT) is None
