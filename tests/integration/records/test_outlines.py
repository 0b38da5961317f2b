# SPDX-License-Identifier: AGPL-3.0-or-later
"""Rotated boxes and masks in the records: kept, chained into the journal, exported; an upright box has none of it."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vision_line.errors import BrokenRecordError
from vision_line.frames import MaskFigures, Masks
from vision_line.records.columns import Table
from vision_line.records.journal_check import Expected
from vision_line.records.log import SqliteLog
from vision_line.records.query import Selection
from vision_line.records.schema import FILE_NAME
from vision_line.records.table_export import Format, export
from vision_line.records.verification import verify

OUTLINE = [4.0, 10.0, 16.0, 14.0, 12.0, 30.0, 0.0, 26.0]


@pytest.fixture
def rotated(open_log: Callable[..., SqliteLog], records: Path, line: Any, wait_until: Callable[..., None]) -> Path:
    """Records of a run in which the second event's box is rotated."""
    log = open_log()
    for number, outlines in enumerate((None, np.array(OUTLINE, np.float32).reshape(1, 4, 2))):
        seen = line.inspection(number, 1, data=line.frame_data())
        seen = replace(seen, detections=replace(seen.detections, outlines=outlines))
        outline = None if outlines is None else tuple(OUTLINE)
        log.write_inspection(seen, [replace(line.event(seen, f"e{number}"), outline=outline)])
        wait_until(lambda files=3 * (number + 1): len(list(records.rglob("*.jpg"))) == files)
    log.close()
    return records


def exported(records: Path, table: Table, file_format: Format, output: Path) -> Path:
    export(records, table, file_format, Selection(), output)
    return output


@pytest.mark.parametrize("table", [Table.DETECTIONS, Table.EVENTS])
def test_tables_are_exported_with_corners(rotated: Path, tmp_path: Path, table: Table) -> None:
    """As a JSON list in text; empty where a box is upright."""
    rows = exported(rotated, table, Format.CSV, tmp_path / "rows.csv").read_text("utf-8-sig")
    found = [row["outline"] for row in csv.DictReader(rows.splitlines())]

    assert found[0] == ""
    assert json.loads(found[1]) == OUTLINE


def test_coco_has_the_rotated_box_as_a_polygon(rotated: Path, tmp_path: Path) -> None:
    """With its own area, in the upright box around it."""
    coco = json.loads(exported(rotated, Table.EVENTS, Format.COCO, tmp_path / "c.json").read_text("utf-8"))
    upright, turned = coco["annotations"]

    assert (upright["segmentation"], upright["area"]) == ([], 320)
    assert turned["segmentation"] == [OUTLINE]
    assert turned["area"] == pytest.approx(208)
    assert turned["bbox"] == [0, 10, 16, 20]


def test_the_journal_holds_corners_too(rotated: Path) -> None:
    """They are chained as all else is: who turns a box is found. Rows without them are as they always were."""
    verify(rotated, Expected(), lambda _done, _total: None, images=True)
    with closing(sqlite3.connect(rotated / FILE_NAME)) as connection, connection:
        bodies = connection.execute("SELECT body FROM journal WHERE kind = 'detections' ORDER BY number")
        formats = {json.loads(body)["format"] for (body,) in bodies}
        connection.execute("UPDATE detections SET outline = replace(outline, '26.0', '27.0')")

    assert formats <= {1, 2}
    assert 2 in formats
    with pytest.raises(BrokenRecordError, match="a detection of"):
        verify(rotated, Expected(), lambda _done, _total: None, images=False)


POLYGON = (4.0, 10.0, 16.0, 12.0, 9.0, 18.0, 12.0, 30.0, 0.0, 26.0)
FIGURES = MaskFigures(140.0, 8.5, 19.25)


@pytest.fixture
def masked(open_log: Callable[..., SqliteLog], records: Path, line: Any, wait_until: Callable[..., None]) -> Path:
    """Records of a run in which the second event has a mask, and the third one without a pixel."""
    log = open_log()
    for number, outline in enumerate((None, POLYGON, None)):
        figures = FIGURES if outline else MaskFigures(0.0, 8.0, 20.0)
        masks = Masks(np.array([figures], np.float32), (outline,)) if number else None
        seen = line.inspection(number, 1, data=line.frame_data())
        seen = replace(seen, detections=replace(seen.detections, masks=masks))
        event = replace(line.event(seen, f"e{number}"), outline=outline, mask=figures if number else None)
        log.write_inspection(seen, [event])
        wait_until(lambda files=3 * (number + 1): len(list(records.rglob("*.jpg"))) == files)
    log.close()
    return records


@pytest.mark.parametrize("table", [Table.DETECTIONS, Table.EVENTS])
def test_tables_are_exported_with_masks(masked: Path, tmp_path: Path, table: Table) -> None:
    """Area and middle as numbers, the polygon as rotated boxes' corners; empty where there is no mask."""
    rows = exported(masked, table, Format.CSV, tmp_path / "rows.csv").read_text("utf-8-sig")
    upright, found, empty = csv.DictReader(rows.splitlines())
    names = ("area_px", "centre_x", "centre_y")

    assert [upright[name] for name in (*names, "outline")] == [""] * 4
    assert [float(found[name]) for name in names] == list(FIGURES)
    assert json.loads(found["outline"]) == list(POLYGON)
    assert [float(empty[name]) for name in names] == [0, 8, 20]
    assert empty["outline"] == ""


def test_coco_has_the_mask_as_a_polygon(masked: Path, tmp_path: Path) -> None:
    """With the mask's own area, which counts holes and further parts."""
    coco = json.loads(exported(masked, Table.EVENTS, Format.COCO, tmp_path / "c.json").read_text("utf-8"))

    assert [one["segmentation"] for one in coco["annotations"]] == [[], [list(POLYGON)], []]
    assert [one["area"] for one in coco["annotations"]] == [320, 140, 0]


def test_the_journal_holds_masks_too(masked: Path) -> None:
    """In a format of their own; who changes an area is found."""
    verify(masked, Expected(), lambda _done, _total: None, images=True)
    with closing(sqlite3.connect(masked / FILE_NAME)) as connection, connection:
        bodies = connection.execute("SELECT body FROM journal WHERE kind = 'detections' ORDER BY number")
        formats = {json.loads(body)["format"] for (body,) in bodies}
        connection.execute("UPDATE detections SET area_px = 141 WHERE area_px = 140")

    assert formats <= {1, 3}
    assert 3 in formats
    with pytest.raises(BrokenRecordError, match="a detection of"):
        verify(masked, Expected(), lambda _done, _total: None, images=False)


@pytest.mark.parametrize("column", ["area_px", "centre_x", "centre_y"])
def test_a_part_of_a_mask_that_nobody_found_is_found(masked: Path, column: str) -> None:
    """Also without the rest of it: the row of an upright box has nothing there."""
    with closing(sqlite3.connect(masked / FILE_NAME)) as connection, connection:
        changed = connection.execute(f"UPDATE detections SET {column} = 7 WHERE area_px IS NULL")

    assert changed.rowcount == 1
    with pytest.raises(BrokenRecordError, match="a detection of"):
        verify(masked, Expected(), lambda _done, _total: None, images=False)


def test_a_mask_that_was_left_out_is_empty_beside_others(
    open_log: Callable[..., SqliteLog], records: Path, line: Any, tmp_path: Path
) -> None:
    """The box is there, in a group of detections with masks; the journal holds it as it is."""
    masks = Masks(np.array([FIGURES, [np.nan] * 3], np.float32), (POLYGON, None))
    log = open_log()
    seen = line.inspection(0, 2)
    log.write_inspection(replace(seen, detections=replace(seen.detections, masks=masks)), [])
    log.close()
    rows = exported(records, Table.DETECTIONS, Format.CSV, tmp_path / "rows.csv").read_text("utf-8-sig")
    found, left_out = csv.DictReader(rows.splitlines())

    assert [found["area_px"], left_out["area_px"]] == ["140.0", ""]
    assert [left_out[name] for name in ("centre_x", "centre_y", "outline")] == [""] * 3
    assert float(left_out["x1"]) == 20
    verify(records, Expected(), lambda _done, _total: None, images=False)
