# SPDX-License-Identifier: AGPL-3.0-or-later
"""`kill -9` at any moment: what was committed is there, the file is whole, images and rows agree."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from vision_line.records.columns import Table
from vision_line.records.file_budget import REMOVED_AT_ONCE
from vision_line.records.journal_check import Expected
from vision_line.records.log import SqliteLog
from vision_line.records.query import Selection
from vision_line.records.schema import open_reader
from vision_line.records.table_export import Format, export
from vision_line.records.verification import verify

CHILD = Path(__file__).with_name("writing_child.py")
REVIEWING_CHILD = Path(__file__).with_name("reviewing_child.py")
KILLS = 6


def said_until_killed(program: Path, records: Path, after_s: float) -> str:
    """Let a child write for `after_s` beyond its first commit, kill it, and return the last line that it wrote."""
    with subprocess.Popen([sys.executable, str(program), str(records)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = [child.stdout.readline()]
        alarm = threading.Timer(after_s, child.kill)
        alarm.start()
        said += child.stdout.readlines()
        alarm.join()
    return next(line for line in reversed(said) if line.endswith("\n"))


def kill_while_writing(records: Path, after_s: float) -> tuple[int, str]:
    """Return what a child that was killed had committed, and its run."""
    committed, run_id = said_until_killed(CHILD, records, after_s).split()
    return int(committed), run_id


def test_committed_records_survive_repeated_kills(
    records: Path, tmp_path: Path, open_log: Callable[..., SqliteLog]
) -> None:
    """After each of several kills at random moments the run holds at least what its process said was committed."""
    moment = random.Random(7)
    said: dict[str, int] = {}
    for _ in range(KILLS):
        committed, run_id = kill_while_writing(records, moment.uniform(0.0, 0.7))
        said[run_id] = committed
        with closing(open_reader(records)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            assert not connection.execute("PRAGMA foreign_key_check").fetchall()
            sql = "SELECT sequence FROM detections JOIN runs USING (run) WHERE run_id = ? ORDER BY sequence"
            found = [row["sequence"] for row in connection.execute(sql, (run_id,))]
            sql = "SELECT count(*) FROM evidence JOIN runs USING (run) WHERE run_id = ?"
            (images,) = connection.execute(sql, (run_id,)).fetchone()
        assert found == list(range(len(found)))  # in order and without a gap
        assert len(found) + images + 1 >= committed  # the one is the cameras' record

    assert len(said) == KILLS
    assert export(records, Table.DETECTIONS, Format.CSV, Selection(), tmp_path / "all.csv").rows > 0
    open_log().close()  # makes images and rows agree
    check_evidence(records)


def check_evidence(records: Path) -> None:
    """Every event has an evidence row: an image with the hash that the row says, or a reason."""
    with closing(open_reader(records)) as connection:
        rows = connection.execute(
            "SELECT e.path, e.overlay_path, e.sha256, e.missing, e.event_id AS known FROM events v"
            " LEFT JOIN evidence e ON e.run = v.run AND e.event_id = v.event_id"
        ).fetchall()
    assert rows
    for row in rows:
        assert row["known"] is not None
        if row["path"] is None:
            assert row["missing"]
        else:
            assert hashlib.sha256((records / row["path"]).read_bytes()).hexdigest() == row["sha256"]
            assert (records / row["overlay_path"]).is_file()
    assert sum(row["path"] is not None for row in rows) > len(rows) // 2


def test_no_row_for_review_is_without_its_whole_image(records: Path, open_log: Callable[..., SqliteLog]) -> None:
    """Right after each kill: what a committed row names is there; what none names, the next start removes."""
    moment = random.Random(5)
    for _ in range(KILLS):
        said_until_killed(REVIEWING_CHILD, records, moment.uniform(0.0, 0.7))
        assert kept_review_images(records) > 0
    open_log().close()

    with closing(open_reader(records)) as connection:
        named = {row["path"] for row in connection.execute(REVIEW_IMAGES)}
        states = {tuple(row) for row in connection.execute("SELECT deleted_why, missing FROM near_misses")}
    assert {str(path.relative_to(records)) for path in (records / "review").rglob("*.*")} == named
    assert ("review_max_mb", None) in states
    verify(records, Expected(), lambda _done, _total: None, images=True)


REVIEW_IMAGES = """SELECT path, sha256 FROM near_misses WHERE path IS NOT NULL AND deleted_utc IS NULL
    UNION ALL SELECT path, sha256 FROM audits WHERE path IS NOT NULL AND deleted_utc IS NULL"""


def kept_review_images(records: Path) -> int:
    """Return how many images rows name; all are whole, save for those that a killed run had begun to remove."""
    with closing(open_reader(records)) as connection:
        rows = connection.execute(REVIEW_IMAGES).fetchall()
    files = [(records / row["path"], row["sha256"]) for row in rows]
    there = [(path, digest) for path, digest in files if path.is_file()]
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == digest for path, digest in there)
    assert len(files) - len(there) <= REMOVED_AT_ONCE
    return len(there)
