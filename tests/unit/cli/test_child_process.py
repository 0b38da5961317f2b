# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a process beside the run logs is in the run's log as it said it."""

from __future__ import annotations

import logging
import sys

import pytest

from vision_line.cli.child_process import ChildProcess

SAYS = """import sys
print("2026-11-29T04:00:00.123Z INFO    lanes: the line is there", file=sys.stderr)
print("2026-11-29T04:00:01.123Z ERROR   lanes: a reject was found too late", file=sys.stderr)
print("Segmentation fault", file=sys.stderr)
"""


def test_lines_keep_their_level_and_have_one_time(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    news: list[str] = []
    child = ChildProcess("lanes", [sys.executable, "-c", SAYS], news.append)
    child._thread.join(20)
    child.close()
    said = [(record.levelname, record.getMessage()) for record in caplog.records][:3]
    assert said == [
        ("INFO", "lanes: lanes: the line is there"),
        ("ERROR", "lanes: lanes: a reject was found too late"),
        ("WARNING", "lanes: Segmentation fault"),
    ]
    assert news == ["the lanes has ended (exit code 0); the line goes on without it"]
