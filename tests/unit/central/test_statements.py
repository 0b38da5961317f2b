# SPDX-License-Identifier: AGPL-3.0-or-later
"""The desk's statements as psycopg takes them, and rows as SQLite gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest

from vision_line.central.central_records import CentralRow, translated


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("SELECT 1 WHERE a = ? AND b IN (?, ?)", "SELECT 1 WHERE a = %s AND b IN (%s, %s)"),
        ("SELECT '?' WHERE key NOT LIKE 'audit/%' AND n = ?", "SELECT '?' WHERE key NOT LIKE 'audit/%%' AND n = %s"),
        ("SELECT 'it''s ?' || ?", "SELECT 'it''s ?' || %s"),
        ("SELECT a % 2 FROM t INDEXED BY t_by_a WHERE a > ?", "SELECT a %% 2 FROM t WHERE a > %s"),
    ],
)
def test_only_what_stands_outside_of_text_is_a_parameter(asked: str, sent: str) -> None:
    assert translated(asked) == sent


def test_a_row_is_asked_by_place_and_by_name() -> None:
    """As one of SQLite, also as a whole."""

    class Row(CentralRow):
        places: ClassVar[Mapping[str, int]] = {"camera": 0, "hits": 1}

    row = Row(("hall-1:cam01", 9))
    camera, hits = row
    assert (row[0], row["hits"], dict(row)) == (camera, hits, {"camera": "hall-1:cam01", "hits": 9})
