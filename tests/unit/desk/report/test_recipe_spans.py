# SPDX-License-Identifier: AGPL-3.0-or-later
"""A report shows by which recipe each camera was inspected from when on, back and forth."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from tests.fakes.desk_records import BEGAN_UTC, DeskRecords

from vision_line.desk.local_time import ChosenTime
from vision_line.desk.report.identity import read_cameras
from vision_line.records.schema import FILE_NAME


def test_each_change_over_in_the_time_is_shown(rows: DeskRecords) -> None:
    """Not what was over before it; and nothing twice where a run began with the recipe of the one before."""
    first = rows.run(0, 1000, "a", "b")
    for since_s, recipe in ((100, "7"), (300, "8"), (400, "7"), (500, "7"), (900, "")):
        rows.camera(first, "a", since_s, recipe=recipe)
    with closing(sqlite3.connect(rows.directory / FILE_NAME)) as connection:
        connection.row_factory = sqlite3.Row
        found = read_cameras(connection, ChosenTime(BEGAN_UTC + 200, BEGAN_UTC + 800))
    assert [(one.camera, one.recipe, one.since_utc - BEGAN_UTC) for one in found] == [
        ("a", "7", 100),
        ("a", "8", 300),
        ("a", "7", 400),
        ("b", "", 0),
    ]


def test_a_change_of_the_model_is_shown_too(rows: DeskRecords) -> None:
    """Rows of older versions name none: it was the run's own."""
    run = rows.run(0, 1000, "a")
    rows.camera(run, "a", 100, recipe="7", model=("caps", "2" * 64))
    with closing(sqlite3.connect(rows.directory / FILE_NAME)) as connection:
        connection.row_factory = sqlite3.Row
        found = read_cameras(connection, ChosenTime(BEGAN_UTC, BEGAN_UTC + 800))
    said = [(one.recipe, one.model_name, one.model_sha256[0]) for one in found]
    assert said == [("", "pcb", "1"), ("7", "caps", "2")]
