# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line prune --keep-days` takes old parts along, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fakes.desk_records import writing as writing_records
from tests.fakes.passed_parts import make_part

from vision_line.cli.prune import prune_records
from vision_line.parts.part_entries import add_part
from vision_line.parts.parts_check import check_parts
from vision_line.parts.parts_file import writing


def test_old_parts_go_with_old_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with writing_records(tmp_path):
        pass
    with monkeypatch.context() as at:
        at.setattr("vision_line.records.side_journal.time.time", lambda: 1000.0)
        with writing(tmp_path) as connection:
            add_part(connection, make_part(1, 100.0))
            add_part(connection, make_part(2, 101.0))
    prune_records(tmp_path, 30, None, None, dry_run=True)
    assert "parts: 2 would be removed, 1970-01-01T00:01:40" in capsys.readouterr().out
    prune_records(tmp_path, None, 100, None, dry_run=False)
    assert "parts" not in capsys.readouterr().out.replace(str(tmp_path), "")
    prune_records(tmp_path, 30, None, None, dry_run=False)
    assert "parts: 2 removed, 1970-01-01T00:01:40" in capsys.readouterr().out
    found = check_parts(tmp_path)
    assert found is not None
    assert (found.parts, found.removed) == (0, 2)
