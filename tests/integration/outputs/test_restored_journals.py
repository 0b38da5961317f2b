# SPDX-License-Identifier: AGPL-3.0-or-later
"""A backup that is copied over a file which outputs follow: they say `fork`, and then what is entered into it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.fakes.desk_records import writing
from tests.fakes.made_parts import enter_part
from tests.fakes.restoring import copied_over, elsewhere

from vision_line.config.output_settings import OutputSettings
from vision_line.outputs.chained_source import ChainedSource
from vision_line.outputs.cursor_file import CursorFile
from vision_line.outputs.follower import Follower
from vision_line.outputs.journal_sources import JournalSources
from vision_line.outputs.notification import Notification
from vision_line.parts.parts_file import FILE_NAME as PARTS
from vision_line.records.schema import FILE_NAME as RECORDS

A_RUN = """
import sys
from pathlib import Path
from tests.fakes.desk_records import writing
with writing(Path(sys.argv[1])) as rows:
    rows.event(rows.run(100.0, None, "cam1"), "cam1", 101.0, verdict="warn")
"""
A_PART = """
import sys
from pathlib import Path
from tests.fakes.made_parts import enter_part
enter_part(Path(sys.argv[1]))
"""


@pytest.fixture
def sources(tmp_path: Path) -> Iterator[JournalSources]:
    with closing(JournalSources(tmp_path)) as made:
        yield made


def taken(follower: Follower) -> list[Notification]:
    found: list[Notification] = []
    while (batch := follower.next(20)) is not None:
        follower.done(batch)
        found += batch.messages
    return found


def after_a_restore(source: ChainedSource, directory: Path, name: str, program: str) -> list[Notification]:
    """Return what an output that had all hears when the backup is in its place and a program has written into it."""
    with closing(CursorFile(directory)) as cursors:
        follower = Follower(OutputSettings(name="plant", since="all", kinds=["event", "part"]), source, cursors)
        assert taken(follower)
        copied_over(directory / "backup.sqlite", directory / name)
        elsewhere(program, directory)
        return taken(follower)


def test_records_that_were_copied_over_are_followed(tmp_path: Path, sources: JournalSources) -> None:
    """The inode of the file stays; the log that the output reads is gone from the folder."""
    with writing(tmp_path) as rows:
        run = rows.run(0, None, "cam1")
        rows.event(run, "cam1", 1.0)
    shutil.copy(tmp_path / RECORDS, tmp_path / "backup.sqlite")
    with writing(tmp_path) as rows:
        for number in range(9):
            rows.event(run, "cam1", 2.0 + number)
    fork, *again, new = after_a_restore(sources.records, tmp_path, RECORDS, A_RUN)

    assert fork.kind == "fork"
    assert [said.content["verdict"] for said in again] == ["reject"]
    assert (new.id.partition(":")[0], new.content["verdict"]) == ("run at 100.0", "warn")


def test_parts_that_were_copied_over_are_followed(tmp_path: Path, sources: JournalSources) -> None:
    enter_part(tmp_path)
    shutil.copy(tmp_path / PARTS, tmp_path / "backup.sqlite")
    for _ in range(3):
        enter_part(tmp_path)
    fork, *parts = after_a_restore(sources.parts, tmp_path, PARTS, A_PART)

    assert fork.kind == "fork"
    assert [said.content["sequence"] for said in parts] == [1, 2]
