# SPDX-License-Identifier: AGPL-3.0-or-later
"""CSV comes back as text, whatever it holds."""

from __future__ import annotations

import csv
import json
from io import BytesIO, StringIO

from hypothesis import given
from hypothesis import strategies as st

from vision_line.records.columns import COLUMNS, ColumnType, ExportColumn
from vision_line.records.formats import spreadsheet_text, write_csv, write_jsonl
from vision_line.words import printable

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
CONTROLS = {*map(chr, range(32)), *map(chr, range(127, 160))} - {"\t", "\n"}
COLUMN = ExportColumn("words", ColumnType.TEXT, "", "")


@given(words=st.lists(TEXT, min_size=1, max_size=5))
def test_text_survives_csv(words: list[str]) -> None:
    """Quotes, line ends, commas and every script come back, save the mark before what would be a formula."""
    output = BytesIO()
    write_csv(output, [COLUMN, COLUMN], [[(word, word) for word in words]])

    rows = list(csv.reader(StringIO(output.getvalue().decode("utf-8-sig"), newline="")))
    assert rows == [["words", "words"], *([spreadsheet_text(word)] * 2 for word in words)]


@given(TEXT)
def test_no_text_begins_like_a_formula(text: str) -> None:
    """A spreadsheet runs no cell, and a terminal none; text that is no formula stays as it is."""
    cell = spreadsheet_text(text)

    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"))
    assert not CONTROLS & set(cell)
    assert cell.removeprefix("'") == printable(text).removeprefix("'")


@given(TEXT)
def test_json_lines_hold_the_text_itself_and_no_control_characters(text: str) -> None:
    """A program reads what was recorded; a terminal shows escapes."""
    output = BytesIO()
    write_jsonl(output, [COLUMN], [[(text,)]])
    line = output.getvalue().decode()

    assert json.loads(line)["words"] == text
    assert not CONTROLS & set(line)
    assert line.count("\n") == 1


def test_column_names_are_unique() -> None:
    """Within a table no two columns have one name, and each has a meaning."""
    for columns in COLUMNS.values():
        names = [column.name for column in columns]
        assert len(set(names)) == len(names)
        assert all(column.meaning for column in columns)
