# SPDX-License-Identifier: AGPL-3.0-or-later
"""Numbers that come again, a changed journal, names that are no text: honest records hold, runs say what stops them."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from vision_line.config.load import load_config
from vision_line.errors import RunError
from vision_line.frames import CameraState, EventPhase, NotInspected, StateChange
from vision_line.records import journal_removal
from vision_line.records.corrected_time import read_timeline
from vision_line.records.entries import ConfigurationEntry, CoverageEntry, inspected_entry
from vision_line.records.log import SqliteLog
from vision_line.records.retention import remove_batch
from vision_line.records.schema import FILE_NAME, transaction
from vision_line.runtime.configuration_record import configuration_change

from .test_journal import NOW, Recorder, broken, changed

OpenLog = Callable[..., SqliteLog]


def interval(name: str, camera: str = "cam01", *, withdrawn: bool = False) -> NotInspected:
    return NotInspected(name, camera, "log", 1.0, NOW, 2.0, NOW + 1, withdrawn=withdrawn)


@pytest.mark.parametrize("then", [interval("i2", "cam02"), interval("i1")])
def test_an_interval_withdrawn_and_another_begun_in_one_commit(tmp_path: Path, then: NotInspected) -> None:
    """SQLite gives the number that became free to the new one: the journal says so in that order."""
    recorder = Recorder(tmp_path / "records")
    recorder.write([CoverageEntry((), (interval("i1"),))])
    recorder.write([CoverageEntry((), (interval("i1", withdrawn=True),)), CoverageEntry((), (then,))])
    recorder.end()

    with closing(sqlite3.connect(recorder.records / FILE_NAME)) as connection:
        assert connection.execute("SELECT interval, interval_id FROM not_inspected").fetchall() == [
            (1, then.interval_id)
        ]
    assert broken(recorder.records) == ""


def write_event(recorder: Recorder, name: str) -> None:
    recorder.count += 1
    seen = recorder.line.inspection(recorder.count, 0, arrived_utc=recorder.utc)
    for phase in (EventPhase.NEW, EventPhase.END):
        recorder.write([inspected_entry(seen, [recorder.line.event(seen, name, phase)])])


def remove_older(recorder: Recorder, cutoff_utc: float) -> None:
    with transaction(recorder.connection):
        remove_batch(recorder.connection, read_timeline(recorder.connection, recorder.utc), cutoff_utc, 0, recorder.utc)


def test_an_entry_is_not_carried_for_another_row_of_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a removed event was is not what the next event of its number is."""
    monkeypatch.setattr(journal_removal, "SPARED_S", 0.0)
    recorder = Recorder(tmp_path / "records")
    write_event(recorder, "e1")
    recorder.state()
    recorder.utc = time.time() + 60
    recorder.state()
    monkeypatch.setattr(journal_removal, "MOST_ENTRIES", 0)
    remove_older(recorder, recorder.utc - 30)  # the event, not yet its entries
    write_event(recorder, "e2")
    monkeypatch.setattr(journal_removal, "MOST_ENTRIES", 5)
    monkeypatch.setattr(journal_removal, "ENTRIES_PER_ROW", 5)
    remove_older(recorder, recorder.utc - 30)  # the first state
    recorder.end()

    with closing(sqlite3.connect(recorder.records / FILE_NAME)) as connection:
        assert connection.execute("SELECT event, event_id FROM events").fetchall() == [(1, "e2")]
        (first,) = connection.execute("SELECT min(number) FROM journal").fetchone()
    assert first > 5
    assert broken(recorder.records) == ""


#: What somebody may do to the journal, and whether the next run still records.
CHANGED = {
    "no group's key": ("UPDATE journal SET key = 'x' WHERE kind = 'detections'", ""),
    "no group's number": ("UPDATE journal SET key = '1/2' WHERE kind = 'detections'", ""),
    "no beginning": ('UPDATE journal SET body = \'{"through":"x"}\' WHERE number = 1', ""),
    "no text": ("UPDATE journal SET body = CAST(x'ff' AS TEXT) WHERE number = 3", ""),
    "the last number": (
        "INSERT INTO journal VALUES (9223372036854775807, 0, 'x', 'y', 0.0, '[]', x'00')",
        "newest entry has number 9223372036854775807",
    ),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_changed_journal_stops_no_run_without_saying_why(tmp_path: Path, name: str) -> None:
    """It records on, old rows can still be removed, and the beginning stays; or it names what is wrong."""
    sql, words = CHANGED[name]
    recorder = Recorder(tmp_path / "records")
    recorder.several()
    recorder.later()
    changed(recorder.records, sql)
    if words:
        with pytest.raises(RunError, match=words):
            recorder.several()
        return
    recorder.several()
    recorder.minutes()
    remove_older(recorder, recorder.utc)
    recorder.end()


def test_a_fault_of_the_journal_is_the_reason_that_inspection_stops(
    open_log: OpenLog, wait_until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not that a thread is gone: what it was."""
    log = open_log()

    def fault(*_: object) -> None:
        raise LookupError("no such entry")

    monkeypatch.setattr(log._writer._connection.journal, "flush", fault)  # type: ignore[union-attr]
    log.write_states([StateChange("cam01", CameraState.RUNNING, 1.0, NOW)])
    wait_until(lambda: "LookupError: no such entry" in log.status().reason)
    with pytest.raises(RunError, match="LookupError: no such entry"):
        log.close()


def test_a_setting_that_is_no_text_is_entered_once(open_log: OpenLog, records: Path) -> None:
    """Wherever it comes from, the run goes on, and the next start finds it unchanged."""
    entry = ConfigurationEntry("start", {"model": {"name": os.fsdecode(b"\xff")}}, "", {})
    for _ in range(2):
        log = open_log()
        log.write_configuration(entry)
        log.close()

    with closing(sqlite3.connect(records / FILE_NAME)) as connection:
        assert connection.execute("SELECT count(*) FROM journal WHERE kind = 'configuration'").fetchone() == (1,)
    assert broken(records) == ""


def test_a_name_that_is_no_text_is_entered(open_log: OpenLog, records: Path, tmp_path: Path) -> None:
    """A byte of a path that is not UTF-8 is written out."""
    path = tmp_path / os.fsdecode(b"\xff.toml")
    path.write_text('config_version = 1\n[[stream]]\nname = "cam01"\nurl = "rtsp://127.0.0.1/1"\n')
    log = open_log()
    log.write_configuration(configuration_change(load_config(path, {}))[0])
    log.close()

    with closing(sqlite3.connect(records / FILE_NAME)) as connection:
        (body,) = connection.execute("SELECT body FROM journal WHERE kind = 'configuration'").fetchone()
    assert r"\\xff.toml" in body
    assert broken(records) == ""
