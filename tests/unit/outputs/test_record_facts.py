# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which model found an event, as outputs are said: its recipe's, else the run's own."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from tests.fakes.desk_records import writing

from vision_line.outputs.journal_source import JournalSource


def test_an_event_has_its_model(tmp_path: Path) -> None:
    with writing(tmp_path) as rows:
        run = rows.run(0, None, "a")
        rows.camera(run, "a", 100, recipe="caps", model=("caps", "2" * 64))
        for at_s, recipe in ((50, ""), (150, "caps")):
            rows.event(run, "a", at_s, recipe=recipe)
    with closing(JournalSource(tmp_path)) as source:
        reading = source.read(source.beginning(), 100)
        assert reading is not None
        said = [one.content for one, _ in reading.entries if one.kind == "event"]
    assert [(one["recipe"], one["model"], one["model_sha256"]) for one in said] == [
        ("", "pcb", "1" * 64),
        ("caps", "caps", "2" * 64),
    ]
