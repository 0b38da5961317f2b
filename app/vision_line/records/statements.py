# SPDX-License-Identifier: AGPL-3.0-or-later
"""Statements of the writer, made of names of tables and columns; and numbers as they are stored."""

from __future__ import annotations

import json
from collections.abc import Sequence

from vision_line.frames import MaskFigures, Outline

#: Written precision: what float32 holds beyond it is noise, and would show as 0.8999999761581421.
SCORE_DIGITS = 4
BOX_DIGITS = 2

#: Of `MaskFigures`, as tables name them.
MASK_COLUMNS = ("area_px", "centre_x", "centre_y")


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
    """Return corners as they are stored, a JSON list x, y, x, y ...; None: there is only an upright box."""
    return None if outline is None else json.dumps(rounded(outline, BOX_DIGITS))


def mask_values(mask: MaskFigures | None) -> tuple[float | None, ...]:
    """Return the values of `MASK_COLUMNS`; None: there is no mask."""
    return (None,) * len(MASK_COLUMNS) if mask is None else tuple(rounded(mask, BOX_DIGITS))


def mask_object(mask: MaskFigures | None) -> dict[str, object]:
    """Return what a JSON object says of a mask; nothing where there is none."""
    if mask is None:
        return {}
    area, *centre = rounded(mask, BOX_DIGITS)
    return {"area_px": area, "centre": centre}
