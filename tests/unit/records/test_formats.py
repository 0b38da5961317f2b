# SPDX-License-Identifier: AGPL-3.0-or-later
"""CSV comes back as text, whatever it holds."""

from __future__ import annotations

import csv
from io import BytesIO, StringIO

from hypothesis import given
from hypothesis import strategies as st

from vision_line.records.columns import COLUMNS, Column, Kind
from vision_line.records.formats import spreadsheet_text, write_csv

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
COLUMN = Column("words", Kind.TEXT, "", "")


@given(words=st.lists(TEXT, min_size=1, max_size=5))
def test_text_survives_csv(words: list[str]) -> None:
    """Quotes, line ends, commas and every script come back, save the mark before what would be a formula."""
    output = BytesIO()
    write_csv(output, [COLUMN, COLUMN], [[(word, word) for word in words]])

    rows = list(csv.reader(StringIO(output.getvalue().decode("utf-8-sig"), newline="")))
    assert rows == [["words", "words"], *([spreadsheet_text(word)] * 2 for word in words)]


@given(TEXT)
def test_no_text_begins_like_a_formula(text: str) -> None:
    """A spreadsheet runs no cell; text that is no formula stays as it is."""
    cell = spreadsheet_text(text)

    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert cell.removeprefix("'") == text.removeprefix("'") or cell == text


def test_column_names_are_unique() -> None:
    """Within a table no two columns have one name, and each has a meaning."""
    for columns in COLUMNS.values():
        names = [column.name for column in columns]
        assert len(set(names)) == len(names)
        assert all(column.meaning for column in columns)
