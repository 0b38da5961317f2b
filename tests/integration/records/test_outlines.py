# SPDX-License-Identifier: AGPL-3.0-or-later
"""Rotated boxes in the records: kept, chained into the journal, exported; and an image with upright ones has none."""

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
