# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which model found an event, as outputs are said: its recipe's, else the run's own."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from tests.fakes.desk_records import writing

from vision_line.outputs.journal_source import JournalSource
from vision_line.records.journal import Kind
from vision_line.records.schema import transaction


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


def test_a_simulated_run_is_said_also_once_its_settings_were_carried(tmp_path: Path) -> None:
    """Old entries of the journal go, and those in force are entered anew behind what is left."""
    with writing(tmp_path) as rows:
        run = rows.run(0, None, "a")
        rows.event(run, "a", 50)
        said = {"before": None, "after": {"cameras": 16}, "why": "start"}
        with transaction(rows.connection):
            rows.connection.journal.append(Kind.CARRIED, "configuration/section/simulator", said, run)
        rows.event(run, "a", 60)
    with closing(JournalSource(tmp_path)) as source:
        reading = source.read(source.beginning(), 100)
    assert reading is not None
    assert [one.content["is_simulated"] for one, _ in reading.entries if one.kind == "event"] == [True, True]
