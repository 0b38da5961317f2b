# SPDX-License-Identifier: AGPL-3.0-or-later
"""Evidence for ever: what is known in memory of kept images is bounded, and the oldest still go first."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vision_line.records import stored_files as kept
from vision_line.records.evidence_files import reconcile
from vision_line.records.file_tables import EVIDENCE
from vision_line.records.log import SqliteLog
from vision_line.records.schema import FILE_NAME, open_reader, open_writer
from vision_line.records.stored_files import WINDOW, StorageUsage, StoredFile, StoredFiles

OpenLog = Callable[..., SqliteLog]
WaitUntil = Callable[[Callable[[], bool]], None]


def evidence_file(number: int) -> StoredFile:
    return StoredFile(1, (f"e{number}",), (f"evidence/e{number}.jpg", f"evidence/e{number}.overlay.jpg"), 10, 0.0, None)


@pytest.fixture
def writer(tmp_path: Path) -> Any:
    """Open a record file with one run; closed after the test."""
    with closing(open_writer(tmp_path / FILE_NAME)) as connection:
        values = {"run_id": "'r'", "started_utc": "0", "evidence": "1"}
        for name in ("version", "config_sha256", "model_name", "model_sha256", "precision", "device", "host"):
            values[name] = "''"
        values["classes"] = "'[]'"
        connection.execute(f"INSERT INTO runs ({', '.join(values)}) VALUES ({', '.join(values.values())})")
        yield connection


def commit(connection: sqlite3.Connection, numbers: range) -> None:
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO evidence (run, event_id, path, overlay_path, sha256, bytes, created_utc)"
        " VALUES (?, ?, ?, ?, '', ?, ?)",
        # The clock is set back by a second with every image.
        [(p.run, *p.key, *p.paths, p.size, -float(n)) for n in numbers for p in [evidence_file(n)]],
    )
    connection.execute("COMMIT")


def drain(evidence: StoredFiles) -> list[object]:
    ids: list[object] = []
    while found := evidence.oldest():
        ids.append(found.key[0])
        evidence.drop_oldest()
    return ids


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path, writer: Any) -> None:
    """Ten thousand images are counted, a window of them is known, and all come out in the order of their rows."""
    count = 10_000
    evidence = StoredFiles(EVIDENCE, tmp_path, StorageUsage())
    known = []
    for number in range(count):
        evidence.add(evidence_file(number))
        known.append(evidence.known)
    commit(writer, range(count))

    assert max(known) == WINDOW
    assert evidence.size == 10 * count
    assert drain(evidence) == [f"e{number}" for number in range(count)]
    assert (evidence.size, evidence.known) == (0, 0)


def test_images_whose_rows_are_not_committed_come_later(
    tmp_path: Path, writer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past the window nothing is known until the rows are there; then each comes once, in order."""
    monkeypatch.setattr(kept, "WINDOW", 4)
    evidence = StoredFiles(EVIDENCE, tmp_path, StorageUsage())
    for number in range(10):
        evidence.add(evidence_file(number))

    assert drain(evidence) == ["e0", "e1", "e2", "e3"]
    commit(writer, range(3))  # the row of the last one removed, e3, still waits
    assert drain(evidence) == []
    commit(writer, range(3, 6))
    assert drain(evidence) == ["e4", "e5"]
    commit(writer, range(6, 10))
    assert drain(evidence) == ["e6", "e7", "e8", "e9"]
    assert evidence.size == 0


def test_a_window_that_holds_all_again_needs_no_file(
    tmp_path: Path, writer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With few images left, new ones are known at once: their rows need not be waited for."""
    monkeypatch.setattr(kept, "WINDOW", 3)
    commit(writer, range(2))
    evidence = StoredFiles(EVIDENCE, tmp_path, StorageUsage(2, 20))
    assert evidence.oldest() == evidence_file(0)
    evidence.add(evidence_file(2))
    (tmp_path / FILE_NAME).unlink()

    assert drain(evidence) == ["e0", "e1", "e2"]


def test_a_start_reads_rows_by_the_window(tmp_path: Path, writer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row is looked at, also where there are more of them than are read at once."""
    monkeypatch.setattr(kept, "WINDOW", 4)
    commit(writer, range(11))
    (tmp_path / "evidence").mkdir()
    for number in (0, 3, 4, 9, 10):
        (tmp_path / evidence_file(number).paths[0]).write_bytes(b"")

    assert reconcile(writer, tmp_path, 7.0) == StorageUsage(5, 50)
    assert writer.execute("SELECT count(*) FROM evidence WHERE deleted_utc = 7.0").fetchone() == (6,)


def write_events(log: SqliteLog, line: Any, count: int, first: int) -> None:
    for number in range(first, first + count):
        image = np.random.default_rng(number).integers(0, 256, (300, 400, 3), np.uint8)
        seen = line.inspection(number, data=image, size_wh=(400, 300))
        log.write_inspection(seen, [line.event(seen, f"e{number}")])


def rows_of(records: Path) -> list[tuple[str, bool]]:
    with closing(open_reader(records)) as connection:
        sql = "SELECT event_id, deleted_utc IS NOT NULL FROM evidence WHERE missing IS NULL ORDER BY evidence"
        return [(event_id, bool(deleted)) for event_id, deleted in connection.execute(sql)]


def bytes_of(records: Path) -> int:
    return sum(path.stat().st_size for path in (records / "evidence").rglob("*.jpg"))


def test_the_space_is_kept_over_restarts_with_a_small_window(
    open_log: OpenLog, line: Any, records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three runs on one directory: the oldest images go first, whichever run wrote them, and the space is kept."""
    monkeypatch.setattr(kept, "WINDOW", 2)
    for run in range(3):
        log = open_log(evidence_max_mb=1)
        write_events(log, line, 9, first=100 * run)
        log.close()
        assert bytes_of(records) == log.status().evidence_bytes <= 1_000_000

    ids, deleted = zip(*rows_of(records), strict=True)
    assert ids == tuple(f"e{100 * run + number}" for run in range(3) for number in range(9))
    assert deleted == tuple(sorted(deleted, reverse=True))
    assert 20 < sum(deleted) < 27


def test_room_is_made_once_the_rows_are_committed(
    open_log: OpenLog, line: Any, records: Path, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another process locks the file no image is lost and the space is kept; afterwards all is caught up."""
    monkeypatch.setattr(kept, "WINDOW", 2)
    log = open_log(evidence_max_mb=1)
    with closing(sqlite3.connect(records / FILE_NAME, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        write_events(log, line, 20, first=0)
        wait_until(lambda: log.status().evidence_deleted == 2)  # the window; then the rows have to be waited for
        assert bytes_of(records) <= 1_000_000
        other.execute("ROLLBACK")
    wait_until(lambda: len(rows_of(records)) == 20)
    log.close()

    deleted = [gone for _, gone in rows_of(records)]
    assert deleted == sorted(deleted, reverse=True)
    assert sum(deleted) == log.status().evidence_deleted > 10
    assert bytes_of(records) == log.status().evidence_bytes <= 1_000_000
