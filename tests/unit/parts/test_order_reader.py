# SPDX-License-Identifier: AGPL-3.0-or-later
"""Wishes are noticed when they are entered, and only then; of many only those that can count are read."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.fakes.restoring import copied_over, elsewhere

from vision_line.errors import RunError
from vision_line.parts.order_reader import OrderReader
from vision_line.parts.orders import RECIPE, Asked, ask_lot, ask_recipe
from vision_line.parts.parts_file import FILE_NAME

BY = Asked("the shift", "command")


def values(reader: OrderReader) -> list[tuple[str, str]]:
    """Return lane and recipe of what is new."""
    news = reader.news()
    assert news is not None
    return [(order.lane, order.value) for order in news]


def test_a_file_that_is_not_there_yet_is_found(tmp_path: Path) -> None:
    reader = OrderReader(tmp_path, RECIPE)
    assert reader.news() is None
    (tmp_path / FILE_NAME).touch()  # as it is before its first transaction
    assert reader.news() is None
    ask_recipe(tmp_path, "7", BY)
    assert values(reader) == [("*", "7")]
    assert reader.news() is None
    ask_recipe(tmp_path, "8", BY, "left")
    assert values(reader) == [("left", "8"), ("*", "7")]
    reader.close()


def test_the_newest_of_each_lane_and_recipe_is_read(tmp_path: Path) -> None:
    for number in range(6):
        ask_recipe(tmp_path, f"{number % 2}", BY)
        ask_lot(tmp_path, "1", BY)
    reader = OrderReader(tmp_path, RECIPE)
    assert values(reader) == [("*", "1"), ("*", "0")]
    reader.close()


def test_a_file_in_its_place_is_read_in_its_place(tmp_path: Path) -> None:
    """A backup that was put back, for example."""
    ask_recipe(tmp_path, "7", BY)
    reader = OrderReader(tmp_path, RECIPE)
    assert values(reader) == [("*", "7")]
    other = tmp_path / "other"
    other.mkdir()
    ask_recipe(other, "9", BY)
    for side in ("-wal", "-shm"):
        (tmp_path / f"{FILE_NAME}{side}").unlink(missing_ok=True)
    (other / FILE_NAME).replace(tmp_path / FILE_NAME)
    assert values(reader) == [("*", "9")]
    reader.close()


def test_what_cannot_be_read_is_said_and_tried_again(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"no SQLite file at all, but long enough to be taken for one" * 20)
    reader = OrderReader(tmp_path, RECIPE)
    for _ in range(2):
        with pytest.raises(RunError):
            reader.news()
    (tmp_path / FILE_NAME).unlink()
    ask_recipe(tmp_path, "7", BY)
    assert values(reader) == [("*", "7")]
    reader.close()


@pytest.mark.parametrize("body", ["{}", "no JSON at all", '{"recipe": "7", "by": "x"}', "[]"])
@pytest.mark.parametrize("lane", ["*", "left"])
def test_a_wish_that_is_not_what_was_written_is_said_until_another_one_counts(
    tmp_path: Path, body: str, lane: str
) -> None:
    """Nobody knows what was wished: what was in force before is not what counts now."""
    ask_recipe(tmp_path, "7", BY, "right")
    spoilt = ask_recipe(tmp_path, "8", BY, lane)
    with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as other:
        other.execute("DROP TRIGGER journal_no_update")
        other.execute("UPDATE journal SET body = ? WHERE number = ?", (body, spoilt.number))
    reader = OrderReader(tmp_path, RECIPE)
    for lane_of_another in ("", "right"):
        if lane_of_another:
            ask_recipe(tmp_path, "9", BY, lane_of_another)
        with pytest.raises(RunError, match=f"entry {spoilt.number}, the recipe that was asked for, is not what was"):
            reader.news()
    ask_recipe(tmp_path, "10", BY, lane)
    assert values(reader) == [(lane, "10"), ("right", "9"), ("right", "7")]
    reader.close()


ASK = """
import sys
from pathlib import Path
from vision_line.parts.orders import Asked, ask_recipe
ask_recipe(Path(sys.argv[1]), "9", Asked("the shift", "command"))
"""


def test_a_backup_that_is_copied_over_the_file_is_read(tmp_path: Path) -> None:
    """The file's inode stays; its log is made anew, and the wishes in it must not be missed."""
    ask_recipe(tmp_path, "7", BY)
    shutil.copy(tmp_path / FILE_NAME, tmp_path / "backup.sqlite")
    ask_recipe(tmp_path, "8", BY)
    reader = OrderReader(tmp_path, RECIPE)
    assert values(reader) == [("*", "8"), ("*", "7")]
    copied_over(tmp_path / "backup.sqlite", tmp_path / FILE_NAME)
    elsewhere(ASK, tmp_path)
    assert values(reader) == [("*", "9"), ("*", "7")]
    reader.close()
