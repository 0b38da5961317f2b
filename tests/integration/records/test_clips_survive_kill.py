# SPDX-License-Identifier: AGPL-3.0-or-later
"""`kill -9` at any moment: no clip's row without its whole file, no file without a row after the next start."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from contextlib import closing
from hashlib import sha256
from pathlib import Path

from vision_line.config.models import RecordSettings
from vision_line.records.log import SqliteLog
from vision_line.records.schema import open_reader

from .conftest import CLASSES, run_record
from .test_journal import verified

CHILD = Path(__file__).with_name("clipping_child.py")
KILLS = 6


def kill_while_clipping(records: Path, after_s: float) -> None:
    """Let a child write for `after_s` beyond its first clips, and kill it."""
    with subprocess.Popen([sys.executable, str(CHILD), str(records)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "under way\n"
        alarm = threading.Timer(after_s, child.kill)
        alarm.start()
        child.stdout.readlines()
        alarm.join()


def check_rows(records: Path) -> set[str]:
    """Check that each row has its whole file; return the paths."""
    with closing(open_reader(records)) as connection:
        rows = connection.execute("SELECT path, sha256, bytes, missing FROM clips").fetchall()
    for row in rows:
        if row["path"] is None:
            assert row["missing"]
        else:
            data = (records / row["path"]).read_bytes()
            assert (sha256(data).hexdigest(), len(data)) == (row["sha256"], row["bytes"])
    return {row["path"] for row in rows if row["path"] is not None}


def test_rows_and_clips_agree_after_repeated_kills(records: Path) -> None:
    """After each kill at a random moment, and after the start behind the last: then every event is accounted for."""
    moment = random.Random(5)
    for _ in range(KILLS):
        kill_while_clipping(records, moment.uniform(0.0, 0.7))
        check_rows(records)
    SqliteLog(records, run_record(), RecordSettings(min_free_mb=1), CLASSES).close()

    paths = check_rows(records)
    assert {path.relative_to(records).as_posix() for path in (records / "clips").rglob("*") if path.is_file()} == paths
    assert len(paths) >= KILLS
    with closing(open_reader(records)) as connection:
        events = {(row["run"], row["event_id"]) for row in connection.execute("SELECT run, event_id FROM events")}
        rows = connection.execute("SELECT run, events FROM clips").fetchall()
    assert events <= {(row["run"], name) for row in rows for name in json.loads(row["events"])}
    found = verified(records, images=True).images
    assert found is not None
    assert (found.clips, found.unsettled, found.lost) == (len(paths), 0, 0)
