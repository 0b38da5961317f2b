# SPDX-License-Identifier: AGPL-3.0-or-later
"""The journal's newest number is announced once it can be read, and never one that cannot."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tests.integration.records.conftest import CLASSES, Line, run_record

from vision_line.config.models import RecordSettings
from vision_line.records.log import SqliteLog
from vision_line.records.schema import FILE_NAME


def newest(records: Path) -> int:
    with closing(sqlite3.connect(records / FILE_NAME)) as connection:
        (number,) = connection.execute("SELECT max(number) FROM journal").fetchone()
    return int(number)


def test_each_commit_is_announced_when_it_can_be_read(
    records: Path, line: Line, wait_until: Callable[[Callable[[], bool]], None]
) -> None:
    """The last one, which ends the run, too."""
    announced: list[tuple[int, int]] = []
    settings = RecordSettings(min_free_mb=1, evidence=False)
    log = SqliteLog(
        records, run_record(), settings, CLASSES, on_commit=lambda number: announced.append((number, newest(records)))
    )
    for sequence in range(5):
        inspection = line.inspection(sequence)
        log.write_inspection(inspection, [line.event(inspection, f"e{sequence}")])
        count = len(announced)
        wait_until(lambda count=count: len(announced) > count)  # type: ignore[misc]
    log.close()

    numbers = [number for number, _ in announced]
    assert all(number == readable for number, readable in announced)
    assert numbers == sorted(numbers)
    assert numbers[-1] == newest(records)
