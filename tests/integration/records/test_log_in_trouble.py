# SPDX-License-Identifier: AGPL-3.0-or-later
"""The log on a failing disk: it says so at once, keeps what it accepted, and goes on by itself when it can."""

from __future__ import annotations

import resource
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from vision_line.config.models import RecordSettings
from vision_line.frames import EventPhase
from vision_line.records.backlog import Backlog, BacklogLimits
from vision_line.records.entries import RunRecord, inspected_entry
from vision_line.records.log import SqliteLog
from vision_line.records.rows import INSERT_RUN, RowMaker, run_row
from vision_line.records.schema import open_reader, open_writer
from vision_line.records.writer import GroupWriter

OpenLog = Callable[..., SqliteLog]
WaitUntil = Callable[[Callable[[], bool]], None]


def can_mount() -> bool:
    """Say whether this process has CAP_SYS_ADMIN."""
    status = Path("/proc/self/status").read_text()
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> 21 & 1)


#: A file size limit stands for a full disk everywhere; where a file system can be mounted, a full one is used too.
DISKS = ("limit", "tmpfs") if can_mount() else ("limit",)


@dataclass(frozen=True)
class SmallDisk:
    """A directory, and the two acts of its drama."""

    directory: Path
    fill: Callable[[], None]
    make_room: Callable[[], None]


@pytest.fixture(params=DISKS)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk that fills up."""
    if request.param == "limit":
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        yield SmallDisk(
            tmp_path,
            lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard)),
            lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard)),
        )
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(tmp_path)], check=True)
    filler = tmp_path / "filler"
    try:
        yield SmallDisk(tmp_path, lambda: fill_up(filler, leave=100_000), filler.unlink)
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def fill_up(filler: Path, leave: int) -> None:
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65_536))
        except OSError:
            file.truncate(file.tell() - leave)


def open_on(directory: Path) -> SqliteLog:
    run = RunRecord("0", time.time(), "", "m", "", "int8", "cpu", "h")
    return SqliteLog(directory / "records", run, RecordSettings(min_free_mb=0), ["open", "short"])


def test_a_full_disk_stops_inspection_and_loses_nothing(disk: SmallDisk, line: Any, wait_until: WaitUntil) -> None:
    """Not writable with a reason while the disk is full; with room again every accepted record and image is there."""
    log = open_on(disk.directory)
    data = line.frame_data()
    disk.fill()
    accepted = 0

    def write_until_full() -> bool:
        nonlocal accepted
        seen = line.inspection(accepted, 30, data=data)
        log.write_inspection(seen, [line.event(seen, f"e{accepted}")] if accepted % 50 == 0 else [])
        accepted += 1
        return not log.status().writable

    wait_until(write_until_full)
    reason = log.status().reason
    for _ in range(20):  # what was in flight still comes
        write_until_full()
    disk.make_room()
    wait_until(lambda: log.status().writable and log.status().pending == 0)
    log.close()

    assert "full" in reason or "disk I/O" in reason or "too large" in reason
    with closing(open_reader(disk.directory / "records")) as connection:
        found = connection.execute("SELECT sequence, count(*) FROM detections GROUP BY sequence ORDER BY 1").fetchall()
        assert [tuple(row) for row in found] == [(sequence, 30) for sequence in range(accepted)]
        kept = connection.execute("SELECT path FROM evidence WHERE path IS NOT NULL").fetchall()
    assert len(kept) == len(range(0, accepted, 50))
    assert all((disk.directory / "records" / path).is_file() for (path,) in kept)


def test_too_little_free_space_stops_inspection(open_log: OpenLog, line: Any, wait_until: WaitUntil) -> None:
    """Below `min_free_mb` the log asks for no more results, and still commits what it has."""
    log = open_log(min_free_mb=10**9)
    seen = line.inspection(1)
    log.write_inspection(seen, [])

    assert not log.status().writable
    assert "MB must stay free" in log.status().reason
    wait_until(lambda: log.status().pending == 0)


def test_a_stalled_writer_stops_inspection_and_recovers(
    open_log: OpenLog, records: Path, line: Any, wait_until: WaitUntil
) -> None:
    """While another process locks the file nothing is lost and no caller waits; after 2 s the log says `stalled`."""
    log = open_log(evidence=False)
    wait_until(lambda: log.status().pending == 0)
    slowest_s = 0.0
    with closing(sqlite3.connect(records / "records.sqlite", isolation_level=None)) as intruder:
        intruder.execute("BEGIN IMMEDIATE")
        for sequence in range(100):
            seen = line.inspection(sequence)
            began_s = time.perf_counter()
            log.write_inspection(seen, [])
            slowest_s = max(slowest_s, time.perf_counter() - began_s)
        assert log.status().writable
        wait_until(lambda: not log.status().writable)
        assert log.status().reason.startswith("stalled: nothing committed for")
        assert log.status().pending == 100
    wait_until(lambda: log.status().writable and log.status().pending == 0)

    assert slowest_s < 1.0  # the lock is held for more than two seconds
    assert log.status().commit_latency_ms > 2000


def test_sqlite_full_is_retried_on_a_fresh_connection(tmp_path: Path, line: Any, wait_until: WaitUntil) -> None:
    """SQLITE_FULL is named, the group stays in the backlog, and is committed whole once there is room."""
    path = tmp_path / "records.sqlite"
    connection = open_writer(path)
    row = run_row(RunRecord("0", 0.0, "", "", "", "", "", ""), [], evidence=False)
    number = connection.execute(INSERT_RUN, row).lastrowid
    assert number is not None
    connection.execute("PRAGMA max_page_count=40")  # this connection's alone: the next one is free of it
    backlog = Backlog(BacklogLimits())
    writer = GroupWriter(path, connection, number, RowMaker(number, [], []), backlog, min_free_mb=0)
    for sequence in range(2000):
        seen = line.inspection(sequence, 5)
        backlog.put(inspected_entry(seen, []))
    writer.start()
    reasons: set[str] = set()

    def done() -> bool:
        reasons.add(writer.problem())
        return backlog.state().entries == 0

    wait_until(done)
    writer.close(10)

    assert any(reason.startswith("disk full: ") for reason in reasons)
    with closing(sqlite3.connect(path)) as reader:
        assert reader.execute("SELECT count(*) FROM detections").fetchone() == (10_000,)


def test_close_says_what_it_could_not_commit(tmp_path: Path, line: Any) -> None:
    """A close that runs out of time on a locked file tells how many records are lost: never in silence."""
    path = tmp_path / "records.sqlite"
    backlog = Backlog(BacklogLimits())
    writer = GroupWriter(path, open_writer(path), 1, RowMaker(1, [], []), backlog, min_free_mb=0)
    with closing(sqlite3.connect(path, isolation_level=None)) as intruder:
        intruder.execute("BEGIN IMMEDIATE")
        writer.start()
        seen = line.inspection(1)
        backlog.put(inspected_entry(seen, [line.event(seen, "e1", EventPhase.END)]))

        with pytest.raises(Exception, match="1 records could not be committed"):
            writer.close(0.5)
