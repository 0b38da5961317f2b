# SPDX-License-Identifier: AGPL-3.0-or-later
"""How the desk reads records that come, grow, are another version's, or take too long."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.fakes.desk import desk_over

from vision_line.desk.record_reader import NoRecordsError, RecordReader
from vision_line.errors import RunError
from vision_line.records.schema import FILE_NAME, SCHEMA_VERSION, open_writer

FOREVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def test_a_record_directory_may_come_later(tmp_path: Path) -> None:
    """The desk may be there before the first run."""
    later = tmp_path / "later"
    with desk_over(later) as desk:
        desk.sign_in()
        waiting = desk.client.get("/")
        assert waiting.status_code == 503
        assert "no records yet" in waiting.text
        later.mkdir()
        with closing(open_writer(later / FILE_NAME)):
            assert desk.client.get("/").status_code == 200


def test_nothing_can_be_written(records: Path) -> None:
    with RecordReader(records).open() as connection, pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("DELETE FROM events")


def test_a_statement_ends_after_the_limit(records: Path) -> None:
    with pytest.raises(RunError, match=r"takes more than 0\.05 s"), RecordReader(records, 0.05).open() as connection:
        connection.execute(FOREVER).fetchall()


def test_the_writer_can_fold_its_log_back_while_the_desk_is_open(records: Path) -> None:
    """Each statement of the desk is a transaction of its own, so that none keeps the log from ending."""
    with closing(open_writer(records / FILE_NAME)) as writer, RecordReader(records).open() as connection:
        connection.execute("SELECT * FROM events").fetchall()
        writer.execute("INSERT INTO removals VALUES (1, 1.0, 'events', 1, 0.0, 1.0, 'prune')")
        busy, in_log, folded = writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert (busy, in_log, folded) == (0, 0, 0)


@pytest.mark.parametrize(("version", "says"), [(1, "an older version"), (SCHEMA_VERSION + 1, "a newer vision-line")])
def test_another_version_is_one_sentence(records: Path, version: int, says: str) -> None:
    with closing(sqlite3.connect(records / FILE_NAME)) as other:
        other.execute(f"PRAGMA user_version={version}")
    with desk_over(records) as desk:
        desk.sign_in()
        answer = desk.client.get("/")
        assert answer.status_code == 503
        assert says in answer.text


def test_no_directory_is_no_crash(tmp_path: Path) -> None:
    with pytest.raises(NoRecordsError, match="no records yet"), RecordReader(tmp_path / "none").open():
        pass
