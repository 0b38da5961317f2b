# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the journal costs a row and a frame, how fast a long one is verified, and what a writer that is killed leaves.

Run: python -m benchmarks.journal [ENTRIES] [PAIRS] [KILLS] [SECONDS]; CPU times, so that neighbours hardly matter. With
1000000 entries the time of verifying is measured, else scaled. SECONDS are of each round of the control plane.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from itertools import zip_longest
from pathlib import Path

import numpy as np

from benchmarks.control_plane import CAMERAS, COLOUR, FPS, measure
from benchmarks.rounds import Report, interleave
from vision_line.config.models import RecordSettings
from vision_line.frames import DefectEvent, Detections, EventPhase, Frame, Inspection, Verdict
from vision_line.records import log
from vision_line.records.entries import CameraRecord, Entry, EventsEntry, RunRecord, inspected_entry
from vision_line.records.journal_check import Expected
from vision_line.records.log import SqliteLog
from vision_line.records.rows import INSERT_RUN, RowMaker, run_row
from vision_line.records.schema import FILE_NAME, RecordConnection, open_reader, open_writer, transaction
from vision_line.records.verification import Verified, verify

ROWS = 10_000
GROUP = 40  # entries of a commit: a line's in 200 ms
LIMIT_US = 40.0
VERIFY_ENTRIES = 1_000_000
LIMIT_S = 30.0
#: What an inspected frame takes of two cores at 280 a second; how much of the rate the journal may cost, in percent.
FRAME_US, LIMIT_SHARE = 2 / 280 * 1e6, 1.0
CLASSES = ("open", "short")
RUN = RunRecord("0", 0.0, "", "m", "", "int8", "cpu", "here", (CameraRecord("cam01", "", "", ""),))
CHILD = "child"


def inspection(sequence: int) -> Inspection:
    """Return an inspected frame with one detection."""
    now_s, now_utc = time.monotonic(), time.time()
    frame = Frame("cam01", sequence, (1920, 1080), COLOUR, np.zeros((48, 64, 3), np.uint8), now_s, now_utc, now_s)
    found = Detections(
        np.array([[411.23, 212.5, 430.77, 240.01]], np.float32), np.array([0.9137], np.float32), np.array([0], np.int32)
    )
    return Inspection(frame, found, now_s, now_s)


def event(sequence: int) -> DefectEvent:
    """Return a new event of an inspected frame."""
    now_s, now_utc = time.monotonic(), time.time()
    box = (411.23, 212.5, 430.77, 240.01)
    return DefectEvent(
        *(f"{sequence:032x}", EventPhase.NEW, "cam01", 0, "open", Verdict.REJECT, 0.9137, 0.9271, box, sequence, 3),
        *(now_s, now_utc, now_s, now_utc),
    )


def events(start: int) -> list[Entry]:
    """Return a commit's entries, an event each."""
    return [EventsEntry((event(number),)) for number in range(start, start + GROUP)]


def detections(start: int) -> list[Entry]:
    """Return a commit's entries, a detection each."""
    return [inspected_entry(inspection(number), ()) for number in range(start, start + GROUP)]


def without_journal(path: Path) -> RecordConnection:
    """Return a writer's connection on which nothing reports what changes."""
    connection = open_writer(path)
    sql = "SELECT name FROM sqlite_temp_schema WHERE type = 'trigger'"
    for (name,) in connection.execute(sql).fetchall():
        connection.execute(f"DROP TRIGGER temp.{name}")
    return connection


def opened(path: Path, *, journalled: bool) -> tuple[RecordConnection, RowMaker]:
    """Return a new record file with a run."""
    connection = open_writer(path) if journalled else without_journal(path)
    with transaction(connection):
        run = connection.execute(INSERT_RUN, run_row(RUN, CLASSES, evidence=False)).lastrowid
    return connection, RowMaker(run or 0, CLASSES, RUN.cameras)


def commit(connection: RecordConnection, maker: RowMaker, group: list[Entry]) -> None:
    """Do what the writer's thread does with a group."""
    with transaction(connection):
        for entry in group:
            for sql, rows in maker.statements(entry):
                connection.executemany(sql, rows)


def cpu_us_a_row(groups: list[list[Entry]], *, journalled: bool) -> float:
    """Return the processor time of writing a row, in microseconds."""
    with tempfile.TemporaryDirectory() as folder:
        connection, maker = opened(Path(folder) / FILE_NAME, journalled=journalled)
        with closing(connection):
            started_s = time.process_time()
            for group in groups:
                commit(connection, maker, group)
            return (time.process_time() - started_s) / (len(groups) * GROUP) * 1e6


def cost(report: Report, name: str, make: Callable[[int], list[Entry]], pairs: int) -> None:
    """Measure writing rows of one kind with and without the journal."""
    groups = [make(start) for start in range(0, ROWS, GROUP)]
    contenders = {
        "with": partial(cpu_us_a_row, groups, journalled=True),
        "without": partial(cpu_us_a_row, groups, journalled=False),
    }
    rounds = interleave(contenders, pairs, "us")
    added = statistics.median(a - b for a, b in zip(rounds.values["with"], rounds.values["without"], strict=True))
    report.add(measured=f"journal of {name}", value=round(added, 1), unit="us of CPU a row", limit=LIMIT_US)
    report.facts[name] = {way: round(rounds.median(way), 1) for way in contenders}


def writer_us_a_frame(seconds: float, *, journalled: bool) -> float:
    """Return the processor time that the log's own thread takes for a frame of the control plane, in microseconds.

    All of the journal is done in that thread; the other threads' time would only add its unsteadiness.
    """
    if not journalled:
        vars(log)["open_writer"] = without_journal
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            SqliteLog(Path(folder), RUN, RecordSettings(evidence=False), CLASSES) as records,
        ):
            (ident,) = (thread.ident for thread in threading.enumerate() if thread.name == "detection-log")
            clock = time.pthread_getcpuclockid(ident or 0)
            before_s = time.clock_gettime(clock)
            asyncio.run(measure(seconds, tracking=True, log=records, telemetry=True, ledger=True))
            return 1e6 * (time.clock_gettime(clock) - before_s) / (seconds * FPS * CAMERAS)
    finally:
        vars(log)["open_writer"] = open_writer


def share(report: Report, pairs: int, seconds: float) -> None:
    """Measure what the journal takes of a line's rate: 64 cameras, a detection in a quarter of the frames."""
    contenders = {
        "with": partial(writer_us_a_frame, seconds, journalled=True),
        "without": partial(writer_us_a_frame, seconds, journalled=False),
    }
    rounds = interleave(contenders, pairs, "us of CPU a frame")
    added = statistics.median(a - b for a, b in zip(rounds.values["with"], rounds.values["without"], strict=True))
    part = 100 * added / FRAME_US
    report.add(
        measured="journal of a frame", value=round(added, 2), unit="us of CPU", limit=LIMIT_SHARE * FRAME_US / 100
    )
    report.add(measured="the same of a line's rate", value=round(part, 3), unit="%", limit=LIMIT_SHARE)
    report.facts["the log's thread, us of CPU a frame"] = {way: round(rounds.median(way), 2) for way in contenders}


def verified(folder: Path, head: str | None = None) -> Verified:
    """Check records with their images; raises where something does not hold."""
    return verify(folder, Expected(head), lambda _done, _total: None, images=True)


def verifying(report: Report, entries: int) -> None:
    """Measure verifying a journal of `entries` events."""
    with tempfile.TemporaryDirectory() as folder:
        connection, maker = opened(Path(folder) / FILE_NAME, journalled=True)
        with closing(connection):
            for start in range(0, entries, GROUP):
                commit(connection, maker, events(start))
        started_s, began_s = time.process_time(), time.monotonic()
        found = verified(Path(folder)).journal.head.number
        cpu_s, wall_s = time.process_time() - started_s, time.monotonic() - began_s
    a_million_s = round(cpu_s / found * VERIFY_ENTRIES, 1)
    report.add(measured=f"verify of {found} entries", value=a_million_s, unit="s of CPU a million", limit=LIMIT_S)
    report.facts[f"verify of {found} entries, s"] = {"CPU": round(cpu_s, 1), "wall": round(wall_s, 1)}


def write_until_killed(folder: Path) -> None:
    """Write detections, events and images without end, and say how many entries are committed."""
    log = SqliteLog(folder, RUN, RecordSettings(min_free_mb=1, evidence_max_mb=1), CLASSES)
    for sequence in range(1_000_000_000):
        log.write_inspection(inspection(sequence), [event(sequence)] if sequence % 25 == 0 else [])
        log.alive(time.time())
        if sequence % 20 == 0:
            sys.stdout.write(f"{log.status().committed} {RUN.run_id}\n")
            sys.stdout.flush()
        time.sleep(0.001)


def killed_after(folder: Path, after_s: float) -> tuple[int, str]:
    """Kill a writing process a while after its first words; return what it last said was committed, and its run."""
    command = [sys.executable, "-m", "benchmarks.journal", CHILD, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = [child.stdout.readline()]
        alarm = threading.Timer(after_s, child.kill)
        alarm.start()
        said += child.stdout
        alarm.join()
    committed, run_id = next(line for line in reversed(said) if line.endswith("\n")).split()
    return int(committed), run_id


#: Rows of a run, and images that it and those before it removed.
_KEPT = """SELECT (SELECT count(*) FROM detections d WHERE d.run = r.run) + (SELECT count(*) FROM evidence e
    WHERE e.run = r.run), (SELECT count(*) FROM evidence WHERE deleted_why = 'evidence_max_mb')
    FROM runs r WHERE run_id = ?"""


def kills(report: Report, times: int) -> None:
    """Kill a writer again and again: what it said was committed is there, and the records hold, those of before too."""
    moment, lost, removed, head = random.Random(3), 0, 0, None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for _ in range(times):
            committed, run_id = killed_after(folder, moment.uniform(0.0, 1.5))
            with closing(open_reader(folder)) as connection:
                kept, removed_now = connection.execute(_KEPT, (run_id,)).fetchone()
            kept += removed_now - removed + 1  # the one is the cameras' entry
            lost, removed = lost + max(0, committed - kept), removed_now
            head = verified(folder, head).journal.head.digest.hex()
        found = verified(folder, head).journal.head.number
    report.add(measured=f"kills: {times}, {found} entries hold", value=lost, unit="committed and lost", limit=0)


def main() -> None:
    """Measure all of it; with 0 for a number, not that."""
    if sys.argv[1:2] == [CHILD]:
        write_until_killed(Path(sys.argv[2]))
        return
    defaults = (100_000, 5, 5, 5)
    entries, pairs, times, seconds = (int(given or default) for given, default in zip_longest(sys.argv[1:5], defaults))
    report = Report("journal")
    if pairs:
        cost(report, "events", events, pairs)
        cost(report, "detections", detections, pairs)
    if pairs and seconds:
        share(report, pairs, seconds)
    if entries:
        verifying(report, entries)
    if times:
        kills(report, times)
    report.publish()


if __name__ == "__main__":
    main()
