# SPDX-License-Identifier: AGPL-3.0-or-later
"""What has changed between two moments of a line, in plain words: also by which model a camera is inspected."""

from __future__ import annotations

from tests.fakes.desk_records import BEGAN_UTC, DeskRecords

from vision_line.desk.charts.line_state import read_line_state
from vision_line.desk.record_reader import RecordReader


def test_a_recipe_with_another_model_is_a_change(rows: DeskRecords) -> None:
    """The run's own model adds no key: what was approved before stays what it was."""
    run = rows.run(0, 1000, "a")
    rows.camera(run, "a", 100, model=("pcb", "1" * 64))
    rows.camera(run, "a", 200, recipe="caps", model=("caps", "2" * 64))
    with RecordReader(rows.directory).open() as connection:
        old, then, now = (
            read_line_state(connection, lambda camera, _station: camera == "a", BEGAN_UTC + at_s)
            for at_s in (50, 150, 250)
        )
    assert old.settings_sha256 == then.settings_sha256 != now.settings_sha256
    assert now.settings["a"]["model"] == "caps (222222222222)"
