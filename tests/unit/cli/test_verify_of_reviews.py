# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line verify` checks what people decided too, where there is any."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.fakes.answers import make_answer
from tests.fakes.desk_records import writing as writing_records

from vision_line.cli.verify import verify_records
from vision_line.errors import BrokenRecordError, ExitCode
from vision_line.reviews.answer_journal import append_answer
from vision_line.reviews.reviews_file import FILE_NAME, writing


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Return records of which nobody decided anything."""
    with writing_records(tmp_path):
        pass
    return tmp_path


def test_what_people_decided_is_checked_and_counted(records: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without it there is no word of it; the last line is the head of the records in both cases."""
    verify_records(records, None, None, pictures=False)
    assert FILE_NAME not in (before := capsys.readouterr().out)
    with writing(records) as connection:
        append_answer(connection, make_answer())
        append_answer(connection, make_answer(person="vera"))
    verify_records(records, None, None, pictures=False)
    *_, reviews, head = capsys.readouterr().out.splitlines()
    assert reviews.startswith(f"{FILE_NAME}: 2 entries hold, 2 answers of 2 people for 1 items; its newest is ")
    assert head == before.splitlines()[-1]


def test_what_was_changed_is_exit_code_5(records: Path) -> None:
    with writing(records) as connection:
        append_answer(connection, make_answer())
    with closing(sqlite3.connect(records / FILE_NAME)) as connection:
        connection.execute("UPDATE answers SET verdict = 'overruled'")
        connection.commit()
    with pytest.raises(BrokenRecordError, match="answer 1 is not as the entries say") as broken:
        verify_records(records, None, None, pictures=False)
    assert broken.value.exit_code == ExitCode.BROKEN
