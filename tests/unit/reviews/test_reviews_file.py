# SPDX-License-Identifier: AGPL-3.0-or-later
"""`reviews.sqlite` of an older version: it is read as it is, and brought up to date by who writes."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from vision_line.errors import RunError
from vision_line.records.side_chain import chain_problem
from vision_line.records.side_journal import entries
from vision_line.reviews.account_entries import AccountChange, users_problem
from vision_line.reviews.answer_journal import answer_counts, answers_problem, current_answers
from vision_line.reviews.reviews_file import FILE_NAME, SCHEMA_VERSION, reading, writing


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return a directory with a file of the first version: two users, four entries."""
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.executescript((Path(__file__).parent / "old_files" / "reviews1.sql").read_text())
    return tmp_path


def objects(directory: Path) -> set[tuple[str, str, str]]:
    with closing(sqlite3.connect(directory / FILE_NAME)) as connection:
        return {tuple(row) for row in connection.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_schema")}


def version(directory: Path) -> int:
    with closing(sqlite3.connect(directory / FILE_NAME)) as connection:
        (number,) = connection.execute("PRAGMA user_version").fetchone()
    return int(number)


def test_an_old_file_is_read_and_stays_as_it_is(old: Path) -> None:
    """It has no answers; users and journal are what they were. A folder that cannot be written is enough."""
    before = (old / FILE_NAME).read_bytes()
    with reading(old) as connection:
        assert connection is not None
        assert not list(current_answers(connection))
        assert answer_counts(connection).answers == 0
        assert (chain_problem(connection), users_problem(connection), answers_problem(connection)) == ("", "", "")
        assert len(entries(connection, AccountChange)) == 4
    assert (old / FILE_NAME).read_bytes() == before


def test_an_old_file_is_brought_up_to_date_by_who_writes(old: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """It is then as a new one, with everything that it had."""
    with writing(old) as connection:
        assert len(entries(connection, AccountChange)) == 4
        assert not list(current_answers(connection))
    assert version(old) == SCHEMA_VERSION
    new = tmp_path_factory.mktemp("new")
    with writing(new):
        pass
    assert objects(old) == objects(new)
    assert stat.S_IMODE((new / FILE_NAME).stat().st_mode) == 0o600
    with reading(old) as reader:
        assert reader is not None
        assert (chain_problem(reader), users_problem(reader)) == ("", "")


def test_what_fails_leaves_an_old_file_old(old: Path) -> None:
    """The way to the new version is part of the transaction."""

    class FailedError(Exception):
        pass

    with pytest.raises(FailedError), writing(old):
        raise FailedError
    assert version(old) == 1
    assert not [name for _, name, _ in objects(old) if name.startswith("answers")]


def test_a_newer_file_is_left_alone(old: Path) -> None:
    with closing(sqlite3.connect(old / FILE_NAME)) as connection:
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    with pytest.raises(RunError, match="newer vision-line"), reading(old):
        pass
    with pytest.raises(RunError, match="newer vision-line"), writing(old):
        pass
