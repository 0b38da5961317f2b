# SPDX-License-Identifier: AGPL-3.0-or-later
"""Statements of the writer, made of names of tables and columns; and numbers as they are stored."""

from __future__ import annotations

import json
from collections.abc import Sequence

from vision_line.frames import Outline

#: Written precision: what float32 holds beyond it is noise, and would show as 0.8999999761581421.
SCORE_DIGITS = 4
BOX_DIGITS = 2


def insert_sql(table: str, columns: Sequence[str], *, key: Sequence[str] = (), keep: Sequence[str] = ()) -> str:
    """Return an INSERT; with `key`, a row of the same key takes the new values, save those of `keep`."""
    places = ", ".join("?" * len(columns))
    sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608  names, of this package
    if not key:
        return sql
    changes = ", ".join(f"{column}=excluded.{column}" for column in columns if column not in {*key, *keep})
    return f"{sql} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes}"


def rounded(values: Sequence[float], digits: int) -> list[float]:
    """Return numbers of float32 as they are stored."""
    return [round(float(value), digits) for value in values]


def outline_text(outline: Outline | None) -> str | None:
    """Return the corners of a rotated box as they are stored, a JSON list x, y, x, y ...; None: it is upright."""
    return None if outline is None else json.dumps(rounded(outline, BOX_DIGITS))
