# SPDX-License-Identifier: AGPL-3.0-or-later
"""Old parts go with all that is theirs; what stays can still be checked, and what was not said is found."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.fakes.passed_parts import make_part

from vision_line.errors import BrokenRecordError
from vision_line.parts.orders import RECIPE, Asked, ask_lot, ask_recipe, order_in_force
from vision_line.parts.part import PartVerdict
from vision_line.parts.part_entries import add_correction, add_part, last_sequence
from vision_line.parts.parts_check import CheckedParts, check_parts
from vision_line.parts.parts_file import FILE_NAME, LANES_LOCK, reading, writing
from vision_line.parts.parts_removal import RemovedLane, last_old, remove_parts, removed_parts
from vision_line.parts.parts_retention import PartsRetention, prune_parts
from vision_line.records.directory import DirectoryLock
from vision_line.records.journal import canonical
from vision_line.records.retention import STEADY_S

DAY_S = 86_400.0
SHIFT = Asked("the shift", "command")


def written_at(monkeypatch: pytest.MonkeyPatch, at_utc: float) -> None:
    monkeypatch.setattr("vision_line.records.side_journal.time.time", lambda: at_utc)


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder: on day 1 a lot, a recipe and parts 1 to 3 of lane a and 1 of b, on day 9 parts 4 and 5 of a.

    Part 3's correction came on day 9.
    """
    written_at(monkeypatch, DAY_S)
    ask_lot(tmp_path, "L-1", SHIFT)
    ask_recipe(tmp_path, "fine", SHIFT, "a")
    with writing(tmp_path) as connection:
        add_part(connection, make_part(1, lot="L-1"))
        add_part(connection, make_part(2, lot="L-1", verdict=PartVerdict.REJECT, events=("e1", "e2")))
        late = add_part(connection, make_part(3, lot="L-1"))
        add_part(connection, make_part(1, lane="b"))
        written_at(monkeypatch, 9 * DAY_S)
        add_correction(connection, make_part(3), late, PartVerdict.REJECT, ["e3"])
        add_part(connection, make_part(4, lot="L-1", events=("e4",)))
        add_part(connection, make_part(5, lot="L-1"))
    return tmp_path


def checked(directory: Path) -> CheckedParts:
    found = check_parts(directory)
    assert found is not None
    return found


def counted(directory: Path, sql: str) -> int:
    with closing(sqlite3.connect(directory / FILE_NAME)) as connection:
        (found,) = connection.execute(sql).fetchone()
    return int(found)


def changed(directory: Path, script: str) -> None:
    with closing(sqlite3.connect(directory / FILE_NAME)) as connection:
        connection.executescript(script)


@pytest.mark.parametrize("step", [1, 2, 100])
def test_old_parts_go_and_what_stays_holds(records: Path, step: int) -> None:
    """In steps of any size; the orders stay, and lanes count on even where none of their parts is left."""
    with writing(records) as connection:
        last = last_old(connection, 5 * DAY_S, 10 * DAY_S, 1000)
        assert last == 6
        for through in range(step, last + step, step):
            remove_parts(connection, min(through, last), "prune")
        removed = removed_parts(connection)
    assert removed.lanes == {"a": RemovedLane(3, 1, 3), "b": RemovedLane(1, 1, 1)}
    with reading(records) as reader:
        assert reader is not None
        assert (last_sequence(reader, "a"), last_sequence(reader, "b"), last_sequence(reader, "c")) == (5, 1, 0)
    found = checked(records)
    assert (found.parts, found.removed, found.corrections) == (2, 4, 1)
    assert counted(records, "SELECT count(*) FROM part_events") == 1
    assert counted(records, "SELECT min(number) FROM journal WHERE kind = 'part'") == 8
    wish = order_in_force(records, RECIPE, "a")
    assert wish is not None
    assert (wish.value, wish.number) == ("fine", 2)
    with writing(records) as connection:
        add_part(connection, make_part(2, lane="b"))
    assert checked(records).parts == 3


def test_removed_again_and_again_the_newest_says_all(records: Path) -> None:
    """The entry of a removal goes with what is old."""
    assert prune_parts(records, 5, 10 * DAY_S, dry_run=False).parts == 4
    prune_parts(records, 5, 30 * DAY_S, dry_run=False)
    assert prune_parts(records, 5, 90 * DAY_S, dry_run=False).parts == 0
    found = checked(records)
    assert (found.parts, found.removed) == (0, 6)
    assert counted(records, "SELECT count(*) FROM lots") == 1


def test_a_label_from_a_clock_that_was_ahead_dates_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One such part does not make all that are kept seem to be from a time of which some are gone."""
    written_at(monkeypatch, 9 * DAY_S)
    with writing(tmp_path) as connection:
        add_part(connection, make_part(1, at_utc=80 * DAY_S))
        add_part(connection, make_part(2, at_utc=2 * DAY_S))
        add_part(connection, make_part(3, at_utc=3 * DAY_S))
        undated = remove_parts(connection, 1, "prune")
        assert (undated.is_dated, undated.span) == (False, "a time that is not known (their clock was ahead)")
        assert removed_parts(connection) == undated
        assert undated.meets(0, 1)  # nobody knows when it passed
        remove_parts(connection, 3, "prune")
        removed = removed_parts(connection)
    assert (removed.parts, removed.from_utc, removed.to_utc) == (3, 2 * DAY_S, 3 * DAY_S)
    assert removed.meets(3 * DAY_S, 4 * DAY_S)
    assert not removed.meets(4 * DAY_S, 5 * DAY_S)


def test_a_dry_run_says_the_same_and_changes_nothing(records: Path) -> None:
    before = checked(records)
    asked = prune_parts(records, 5, 10 * DAY_S, dry_run=True)
    assert checked(records) == before
    assert prune_parts(records, 5, 10 * DAY_S, dry_run=False) == asked
    assert prune_parts(records, 5, 10 * DAY_S, dry_run=False).parts == 0


def test_beside_the_lanes_it_goes_too(records: Path) -> None:
    lock = DirectoryLock(records, name=LANES_LOCK)
    try:
        assert prune_parts(records, 5, 10 * DAY_S, dry_run=False).parts == 4
    finally:
        lock.close()
    assert checked(records).removed == 4


def test_without_parts_there_is_nothing_to_remove(tmp_path: Path) -> None:
    assert prune_parts(tmp_path, 5, 10 * DAY_S, dry_run=False).parts == 0
    assert not (tmp_path / FILE_NAME).exists()


def test_entries_by_a_clock_that_was_ahead_are_as_old_as_what_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with writing(tmp_path) as connection:
        for sequence, day in enumerate((1, 99, 2, 99, 8, 2), 1):
            written_at(monkeypatch, day * DAY_S)
            add_part(connection, make_part(sequence))
        assert last_old(connection, 5 * DAY_S, 10 * DAY_S, 1000) == 3
        assert last_old(connection, 5 * DAY_S, 10 * DAY_S, 1) == 1
        assert last_old(connection, 0.5 * DAY_S, 10 * DAY_S, 1000) is None


def test_the_lanes_remove_once_the_clock_is_steady(records: Path) -> None:
    retention = PartsRetention(records, 5)
    now_utc = 10 * DAY_S
    with closing(sqlite3.connect(records / FILE_NAME, isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        retention.tidy(connection, 0.0, now_utc)
        assert checked(records).removed == 0
        retention.tidy(connection, STEADY_S + 1, now_utc + STEADY_S + 1)
    assert checked(records).removed == 4


def test_a_beginning_that_was_changed_stays(records: Path, caplog: pytest.LogCaptureFixture) -> None:
    """To be found; the lanes go on."""
    changed(records, "DROP TRIGGER journal_no_update; UPDATE journal SET body = '{}' WHERE number = 4")
    with pytest.raises(BrokenRecordError, match="entry 4 is not what was written"):
        prune_parts(records, 5, 10 * DAY_S, dry_run=False)
    retention = PartsRetention(records, 5)
    with closing(sqlite3.connect(records / FILE_NAME, isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        retention.tidy(connection, 0.0, 10 * DAY_S)
        retention.tidy(connection, STEADY_S, 10 * DAY_S + STEADY_S)
    assert "old parts are not removed" in caplog.text
    assert counted(records, "SELECT count(*) FROM parts") == 6


def test_the_journal_is_append_only_again_behind_a_removal(records: Path) -> None:
    prune_parts(records, 5, 10 * DAY_S, dry_run=False)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        changed(records, "DELETE FROM journal WHERE number = 8")


_FREE = "DROP TRIGGER journal_no_update; DROP TRIGGER journal_no_delete;"


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("DELETE FROM removals", "entry 3 is not what was written"),
        ("UPDATE removals SET entry = 8", "entry 8 is no removal"),
        (
            _FREE + "UPDATE journal SET body = replace(body, '\"parts\":3', '\"parts\":2') WHERE kind = 'removal'",
            "entry 10",
        ),
        (_FREE + "DELETE FROM journal WHERE number = 1; DELETE FROM lots", "what stayed of entries 1 to 6"),
        (_FREE + "UPDATE journal SET body = replace(body, 'fine', 'poor') WHERE number = 2", "what stayed of entries"),
        (_FREE + "DELETE FROM journal WHERE number = 7", "entry 7 is not what was written"),
        ("UPDATE parts SET corrected = 7 WHERE number = 8", "the correction of part entry 8"),
    ],
)
def test_what_was_changed_of_it_is_named(records: Path, change: str, found: str) -> None:
    prune_parts(records, 5, 10 * DAY_S, dry_run=False)
    changed(records, change)
    with pytest.raises(BrokenRecordError, match=found):
        check_parts(records)


def test_parts_that_are_missing_at_the_beginning_of_a_lane_are_seen(tmp_path: Path) -> None:
    """However well the chain is made anew."""
    with writing(tmp_path) as connection:
        for sequence in (3, 4):
            add_part(connection, make_part(sequence))
    with pytest.raises(BrokenRecordError, match="lane a: of its numbers 2 are missing"):
        check_parts(tmp_path)


@pytest.mark.parametrize(("said", "found"), [(2, "its numbers 1 are missing"), (4, "never were")])
def test_a_removal_with_other_counts_is_seen(
    records: Path, monkeypatch: pytest.MonkeyPatch, said: int, found: str
) -> None:
    """Written by the program's own means, so that the chain holds."""
    monkeypatch.setattr(
        "vision_line.records.side_journal.canonical",
        lambda body: canonical(body).replace('"parts":3', f'"parts":{said}'),
    )
    prune_parts(records, 5, 10 * DAY_S, dry_run=False)
    with pytest.raises(BrokenRecordError, match=f"lane a: .*{found}"):
        check_parts(records)


def test_a_file_from_before_there_were_removals(records: Path) -> None:
    """It is read as it is, and brought up to date by the first that writes."""
    changed(records, "DROP TABLE removals; PRAGMA user_version = 1")
    assert checked(records).removed == 0
    with reading(records) as reader:
        assert reader is not None
        assert last_sequence(reader, "a") == 5
    assert prune_parts(records, 5, 10 * DAY_S, dry_run=False).parts == 4
    assert checked(records).removed == 4
