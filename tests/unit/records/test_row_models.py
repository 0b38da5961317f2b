# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which model a row is of: by its recipe at its camera, else the run's own; also of runs that named none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.desk_records import DeskRecords, writing

from vision_line.records.columns import Table
from vision_line.records.query import Selection
from vision_line.records.table_export import Format, export

OWN, CAPS = "1" * 64, "2" * 64


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[DeskRecords]:
    with writing(tmp_path) as made:
        made.connection.execute("PRAGMA synchronous=OFF")
        yield made


def models_of(rows: DeskRecords, table: Table) -> list[tuple[str, str, str]]:
    """Return camera, recipe and model of each exported row."""
    output = rows.directory / "exported.jsonl"
    export(rows.directory, table, Format.JSONL, Selection(), output)
    said = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    return [(one["camera"], one["recipe"], one["model_sha256"]) for one in said]


def test_a_row_is_of_the_model_of_its_recipe_at_its_camera(rows: DeskRecords) -> None:
    """Not by time: the clock may have been set. Not at a camera where the recipe does not count, nor in another run."""
    before = rows.run(-1000, -500, "a")
    rows.event(before, "a", -900, recipe="caps")
    run = rows.run(0, None)
    for camera, since_s, recipe, model in (
        ("a", 0, "", ("pcb", OWN)),
        ("b", 0, "", ("pcb", OWN)),
        ("a", 100, "caps", ("caps", CAPS)),
        ("b", 100, "caps", ("pcb", OWN)),
        ("a", 200, "", ("pcb", OWN)),
    ):
        rows.camera(run, camera, since_s, recipe=recipe, model=model)
    for at_s, camera, recipe in ((10, "a", ""), (20, "a", "caps"), (130, "b", "caps"), (250, "a", "")):
        rows.event(run, camera, at_s, recipe=recipe)
    assert models_of(rows, Table.EVENTS) == [
        ("a", "caps", OWN),
        ("a", "", OWN),
        ("a", "caps", CAPS),
        ("b", "caps", OWN),
        ("a", "", OWN),
    ]
    assert [model for _, _, model in models_of(rows, Table.CAMERAS)] == [OWN, OWN, OWN, CAPS, OWN, OWN]
    rows.near_miss(run, "a", 120, recipe="caps")
    assert models_of(rows, Table.NEAR_MISSES) == [("a", "caps", CAPS)]
