# SPDX-License-Identifier: AGPL-3.0-or-later
"""Tables of files beside evidence: one mechanism checks them, bounds them, and makes rows and files agree."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from vision_line.errors import BrokenRecordError, RunError
from vision_line.records import stored_files
from vision_line.records.corrected_time import read_timeline
from vision_line.records.entries import Entry
from vision_line.records.file_budget import REMOVED_AT_ONCE, FileBudget
from vision_line.records.file_tables import CLIPS, FILE_TABLES, FileTable
from vision_line.records.log import SqliteLog
from vision_line.records.reconciliation import mark_lost, reconcile_files
from vision_line.records.removal import prune
from vision_line.records.retention import DAY_S, RowAge, remove_batch
from vision_line.records.schema import FILE_NAME, RecordConnection, open_reader, open_writer, transaction
from vision_line.records.stored_files import StorageUsage, kept_files

from .test_journal import verified

NOW = time.time()
OpenLog = Callable[..., SqliteLog]
TABLES = [pytest.param(table, id=name) for name, table in FILE_TABLES.items() if name != "evidence"]

#: Values for the columns that may not be NULL, in every table of files.
_TEXTS = ("camera", "station", "recipe", "clip_id", "near_miss_id", "class", "codec", "note")


def add_row(connection: RecordConnection, records: Path, table: FileTable, number: int, at_utc: float) -> Path:
    """Write a file of 1000 bytes and its row, as row `number` of run 1; return the file's path."""
    path = f"{table.folder}/2026-01-31/cam01/1-{table.number}-{number}.{'mp4' if table is CLIPS else 'jpg'}"
    data = bytes([number % 256]) * 1000
    (records / path).parent.mkdir(parents=True, exist_ok=True)
    (records / path).write_bytes(data)
    chosen: dict[str, Any] = {"run": 1, "path": path, "sha256": sha256(data).hexdigest(), "bytes": 1000}
    chosen |= {table.number: number, table.key[-1]: number if table.key[-1] == "sequence" else f"n{number}"}
    chosen |= {"events": f'["e{number}"]', "detections": "[]", "probability": 1.0}
    columns = connection.execute('SELECT name, type, "notnull" FROM pragma_table_info(?)', (table.table,)).fetchall()
    row: dict[str, Any] = {}
    for name, kind, is_needed in columns:
        if name in chosen:
            row[name] = chosen[name]
        elif name.endswith("_utc") and name != "deleted_utc":
            row[name] = at_utc
        elif is_needed:
            row[name] = "" if kind == "TEXT" else 0
    places = ", ".join("?" * len(row))
    with transaction(connection):
        connection.execute(f"INSERT INTO {table.table} ({', '.join(row)}) VALUES ({places})", list(row.values()))
    return records / path


@pytest.fixture
def ended(open_log: OpenLog, records: Path) -> Path:
    """Records of one run that has ended."""
    open_log().close()
    return records


def test_every_table_of_files_is_as_it_is_described(ended: Path) -> None:
    """Columns that the description names are there, so that no table is forgotten by what keeps files."""
    with closing(open_reader(ended)) as connection:
        for table in FILE_TABLES.values():
            names = {row["name"] for row in connection.execute("SELECT name FROM pragma_table_info(?)", (table.table,))}
            own = {table.number, *table.key, *table.paths, *table.hashes}
            assert own | {"run", "bytes", "created_utc", "deleted_utc", "deleted_why", "missing"} <= names


@pytest.mark.parametrize("table", TABLES)
def test_a_changed_file_and_a_lost_one_are_named(ended: Path, table: FileTable) -> None:
    """By the table and the row."""
    with closing(open_writer(ended / FILE_NAME)) as connection:
        path = add_row(connection, ended, table, 1, NOW)
    found = verified(ended, images=True).images
    assert found is not None
    assert (found.images, found.clips) == ((0, 1) if table is CLIPS else (1, 0))

    path.write_bytes(b"another")
    with pytest.raises(BrokenRecordError, match=rf"^{table.table} .*is not what was recorded"):
        verified(ended, images=True)
    path.unlink()
    with pytest.raises(BrokenRecordError, match=rf"^{table.table} .*is missing, and was not removed"):
        verified(ended, images=True)


@pytest.mark.parametrize("table", TABLES)
def test_a_start_marks_what_is_lost_and_removes_what_no_row_names(
    ended: Path, open_log: OpenLog, table: FileTable
) -> None:
    """Of a run that died; files that are not a run's, or a living run's, stay."""
    with closing(open_writer(ended / FILE_NAME)) as connection:
        connection.execute("UPDATE runs SET ended_utc = NULL, end_cause = NULL")
        kept, lost = (add_row(connection, ended, table, number, NOW) for number in (1, 2))
        lost.unlink()
        others = [kept.with_name(name) for name in (f"2-other{kept.suffix}", "1-note.txt", "mine.mp4")]
        orphan, partial = kept.with_name(f"1-orphan{kept.suffix}"), ended / table.folder / ".partial"
        for path in (*others, orphan, partial):
            path.write_bytes(b"x")
        usages = reconcile_files(connection, ended, NOW)
        (why,) = connection.execute(f"SELECT deleted_why FROM {table.table} WHERE {table.number} = 2").fetchone()

    assert usages[table.table] == StorageUsage(1, 1000)
    assert why == "lost"
    assert [path.exists() for path in (kept, *others, orphan, partial)] == [True] * 4 + [False] * 2


@pytest.mark.parametrize("table", TABLES)
def test_the_oldest_go_first_within_the_space(ended: Path, table: FileTable) -> None:
    """Whatever their times say; each is entered with the reason."""
    with closing(open_writer(ended / FILE_NAME)) as connection:
        paths = [add_row(connection, ended, table, number, NOW - number) for number in range(1, 5)]
        entered: list[Entry] = []
        problems: list[str] = []
        budget = FileBudget(
            *(table, ended, StorageUsage(4, 4000), entered.append, problems.append), max_bytes=4000, age=RowAge(0)
        )
        assert budget.make_room(1500)
    assert [path.exists() for path in paths] == [False, False, True, True]
    assert (budget.size, budget.deleted, problems) == (2000, 2, [])
    assert [getattr(entry, "why", None) for entry in entered] == [table.max_why] * 2


def test_old_files_go_also_where_nothing_new_is_kept(
    ended: Path, open_log: OpenLog, wait_until: Callable[[Callable[[], bool]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`keep_days` is for what earlier runs left too, with clips, review or evidence switched off since."""
    monkeypatch.setattr("vision_line.records.retention.STEADY_S", 0.0)
    with closing(open_writer(ended / FILE_NAME)) as connection:
        rows = [(table, days) for table in FILE_TABLES.values() for days in (9, 1) if table.table != "evidence"]
        paths = [add_row(connection, ended, table, 10 - days, NOW - days * DAY_S) for table, days in rows]
    old = [path for path, (_, days) in zip(paths, rows, strict=True) if days > 4]
    log = open_log(evidence=False, keep_days=4)
    wait_until(lambda: not any(path.exists() for path in old))
    log.close()
    assert sum(path.exists() for path in paths) == len(paths) - len(old)
    verified(ended, images=True)


def test_few_files_are_gone_before_their_rows_say_so(ended: Path) -> None:
    """Where much has to go at once, as in a smaller space, a kill leaves no more than a start can explain."""
    count = 2 * REMOVED_AT_ONCE
    with closing(open_writer(ended / FILE_NAME)) as connection:
        paths = [add_row(connection, ended, CLIPS, number, NOW) for number in range(1, count + 1)]
        entered: list[Entry] = []
        usage = StorageUsage(count, count * 1000)
        budget = FileBudget(CLIPS, ended, usage, entered.append, lambda _: None, max_bytes=1000, age=RowAge(0))
        assert not budget.make_room(1000)
        assert not budget.make_room(1000)
        assert sum(not path.exists() for path in paths) == REMOVED_AT_ONCE

        with transaction(connection):
            connection.execute("UPDATE clips SET deleted_utc = ? WHERE clip <= ?", (NOW, len(entered)))
        assert budget.make_room(1000)
    assert budget.deleted == count


@pytest.mark.parametrize("table", TABLES)
def test_room_is_made_behind_a_row_that_went(ended: Path, table: FileTable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a higher row is lost, retention may remove the one whose files went last: the next ones go all the same."""
    monkeypatch.setattr(stored_files, "WINDOW", 2)
    with closing(open_writer(ended / FILE_NAME)) as connection:
        paths = [add_row(connection, ended, table, number, NOW - 9 * DAY_S) for number in range(1, 7)]
        paths.pop().unlink()
        with transaction(connection):
            usage = mark_lost(connection, ended, table, NOW)
        problems: list[str] = []
        budget = FileBudget(table, ended, usage, lambda _: None, problems.append, max_bytes=5000, age=RowAge(0))
        assert budget.make_room(2000)
        with transaction(connection):
            connection.executemany(table.mark_deleted, [(NOW, table.max_why, number) for number in (1, 2)])
        with transaction(connection):
            cutoff_utc = NOW - 4 * DAY_S
            assert remove_batch(connection, read_timeline(connection, NOW), cutoff_utc, 0, NOW) is not None
        left = [number for (number,) in connection.execute(f"SELECT {table.number} FROM {table.table} ORDER BY 1")]
        assert left == [3, 4, 5, 6]
        assert budget.make_room(4000)
    assert [path.exists() for path in paths] == [False] * 4 + [True]
    assert problems == []


@pytest.mark.parametrize("table", TABLES)
def test_pruning_removes_files_then_rows(ended: Path, table: FileTable) -> None:
    """Old ones, and each says so; young ones stay."""
    with closing(open_writer(ended / FILE_NAME)) as connection:
        old, young = (add_row(connection, ended, table, n, NOW - days * DAY_S) for n, days in ((1, 9), (2, 1)))
    tried = prune(ended, 4, 0, NOW, dry_run=True)
    assert old.exists()
    done = prune(ended, 4, 0, NOW, dry_run=False)

    assert (tried.files, done.files, done.images) == (1, 1, 0)
    assert [(part.table, part.rows) for part in done.removed] == [(table.table, 1)]
    assert (old.exists(), young.exists()) == (False, True)
    verified(ended, images=True)
    with closing(open_reader(ended)) as reader:
        reader.row_factory = None
        assert [number for number, _ in kept_files(reader, table)] == [2]


@pytest.mark.parametrize("table", TABLES)
def test_a_folder_that_leads_elsewhere_is_refused(
    ended: Path, open_log: OpenLog, tmp_path: Path, table: FileTable
) -> None:
    """Its files would all be taken for removed."""
    (tmp_path / "disk").mkdir()
    (ended / table.folder).symlink_to(tmp_path / "disk")
    with pytest.raises(RunError, match="leads out of the record directory"):
        open_log()


def test_events_without_a_clip_are_explained_after_a_kill(ended: Path, line: Any, open_log: OpenLog) -> None:
    """Those that were to have one: by the run's verdicts, and where no row speaks of them."""
    log = open_log(evidence=False)
    for number, name in enumerate(("told", "untold")):
        seen = line.inspection(number)
        log.write_inspection(seen, [line.event(seen, name)])
    log.close()
    with closing(open_writer(ended / FILE_NAME)) as connection:
        with transaction(connection):
            connection.execute(
                "UPDATE runs SET ended_utc = NULL, end_cause = NULL, clips = 'warn reject' WHERE run = 2"
            )
        add_row(connection, ended, CLIPS, 1, NOW)
        connection.execute("""UPDATE clips SET run = 2, events = '["else", "told"]'""")
    open_log(evidence=False).close()

    with closing(sqlite3.connect(ended / FILE_NAME)) as connection:
        sql = "SELECT clip_id, events, camera, missing FROM clips WHERE missing IS NOT NULL"
        rows = connection.execute(sql).fetchall()
    assert rows == [("untold", '["untold"]', "cam01", "the program ended before the clip was written")]


def test_what_hinders_the_removal_of_old_files_hinders_no_new_one(
    ended: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It passes by itself, and inspection does not wait for it: it is in the log, and no problem of the writer's."""
    monkeypatch.setattr("vision_line.records.retention.STEADY_S", 0.0)
    with closing(open_writer(ended / FILE_NAME)) as connection:
        path = add_row(connection, ended, CLIPS, 1, NOW)
        entered: list[Entry] = []
        problems: list[str] = []
        usage = StorageUsage(1, 1000)
        budget = FileBudget(CLIPS, ended, usage, entered.append, problems.append, max_bytes=4000, age=RowAge(1))
    (ended / FILE_NAME).rename(ended / "elsewhere")
    budget.expire()

    assert problems == []
    assert path.exists()
    assert "what is old cannot be removed now" in caplog.text
    assert not budget.make_room(4000)
    assert len(problems) == 1
