# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who enters parts also removes old ones."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.fakes.passed_parts import make_part

from vision_line.lanes.parts_recorder import PartsRecorder
from vision_line.parts.part_entries import add_part
from vision_line.parts.parts_check import CheckedParts, check_parts
from vision_line.parts.parts_file import writing


def checked(directory: Path) -> CheckedParts:
    found = check_parts(directory)
    assert found is not None
    return found


def test_old_parts_go_while_it_waits_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as days are asked for; the lane counts on."""
    with monkeypatch.context() as at:
        at.setattr("vision_line.records.side_journal.time.time", lambda: 1000.0)
        with writing(tmp_path) as connection:
            for sequence in (1, 2):
                add_part(connection, make_part(sequence))
    monkeypatch.setattr("vision_line.records.retention.STEADY_S", 0.0)
    recorder = PartsRecorder(tmp_path, ["a"], lambda _: None)
    try:
        assert checked(tmp_path).removed == 0
        recorder.keep(30)
        while not checked(tmp_path).removed:
            time.sleep(0.01)
        assert recorder.last_part("a").sequence == 2
        assert recorder.problem == ""
    finally:
        recorder.close()
    assert (checked(tmp_path).removed, checked(tmp_path).parts) == (2, 0)
