# SPDX-License-Identifier: AGPL-3.0-or-later
"""`docs/records.md` is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vision_line.records import pending_evidence, schema, writer
from vision_line.records.columns import COLUMNS, ColumnType, Table

PAGE = Path(__file__).parents[3].joinpath("docs", "records.md").read_text("utf-8")


@pytest.mark.parametrize("table", Table)
def test_the_page_has_every_column(table: Table) -> None:
    """Each table's section lists exactly its columns with type and meaning, in order."""
    section = PAGE.split(f"\n### `{table}`\n", 1)[1].split("\n#", 1)[0]
    listed = re.findall(r"^\| `(\w+)` \| (\w+) \| (.+) \|$", section, re.MULTILINE)

    assert listed == [(column.name, str(column.kind), column.meaning) for column in COLUMNS[table]]


def test_the_page_explains_every_type() -> None:
    """Each column type has its row in the table of formats."""
    section = PAGE.split("\n## Column types\n", 1)[1].split("\n#", 1)[0]

    assert re.findall(r"^\| (\w+) \| .+ \|$", section, re.MULTILINE)[1:] == [str(kind) for kind in ColumnType]


@pytest.mark.parametrize(
    "fact",
    [
        f"  {schema.FILE_NAME} ",
        f"every {writer.GATHER_S * 1000:.0f} ms",
        f"{writer.STALLED_AFTER_S:.0f} s",
        f"{pending_evidence.QUEUE_EVENTS} images",
    ],
)
def test_the_page_states_the_facts(fact: str) -> None:
    """Names and numbers on the page are the code's."""
    assert fact in PAGE
