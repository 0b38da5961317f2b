# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whole runs over simulated cameras, killed at random moments, one after the other into the same records.

What a reader saw before a kill is there after it, and the records hold with their images: after each kill, and once the
next run has started on them. Run: python -m benchmarks.kills [KILLS] [SEED]; 5 to 10 s each. It ends at the first loss,
and leaves the folder.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from benchmarks.rounds import Report
from vision_line.records.journal_check import Expected
from vision_line.records.schema import FILE_NAME
from vision_line.records.verification import Verified, verify
from vision_line.simulator.clips import ensure_clips

CAMERAS = 4
PORT = 28_654
KILLS = 100
#: How far a run is when it is killed: it is drawn which of them is waited for.
EARLY, STARTING, INSPECTING = STATES = "before it was in the records", "starting", "inspecting"
#: When it is killed, after its launch or after it has come so far.
EARLY_S, LATEST_S = 3.0, 4.0
START_S = 120.0
READ_EVERY_S = 0.02
CONSOLE = Console(stderr=True)
#: Many events and frames for review, and few files that are kept: removal goes on all the time.
STREAMS = """config_version = 1
[simulator]
cameras = {cameras}
port = {port}
[record]
min_free_mb = 1
evidence_max_mb = 1
[clips]
pre_s = 1
post_s = 1
max_mb = 2
[review]
audit_per_hour = 3600
max_mb = 1
[defaults]
dwell_s = 1.0
min_hits = 2
{streams}"""
_STREAM = '[[stream]]\nname = "cam{0:02d}"\nurl = "rtsp://127.0.0.1:{1}/cam{0:02d}"\n'
_SEEN = """SELECT (SELECT coalesce(max(run), 0) FROM runs), number, digest FROM journal ORDER BY number DESC LIMIT 1"""
_ROWS = """SELECT (SELECT count(*) FROM detections), (SELECT count(*) FROM events),
    (SELECT count(*) FROM evidence WHERE path IS NOT NULL), (SELECT count(*) FROM evidence WHERE deleted_utc > 0)"""


@dataclass(slots=True)
class Seen:
    """The newest entry that a reader saw: of which run, its number and its digest."""

    run: int = 0
    number: int = 0
    digest: str | None = None


@dataclass(slots=True)
class Reader:
    """Reads the records again and again while a run writes them."""

    records: Path
    seen: Seen = field(default_factory=Seen)

    def read(self) -> Seen:
        """Return what is committed; before the first commit what was seen last."""
        with contextlib.suppress(sqlite3.OperationalError), closing(opened(self.records)) as connection:  # no file yet
            row = connection.execute(_SEEN).fetchone()
            if row is not None:
                self.seen = Seen(row[0], row[1], row[2].hex())
        return self.seen

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read beside the block."""
        over = threading.Event()

        def keep_on() -> None:
            while not over.wait(READ_EVERY_S):
                self.read()

        thread = threading.Thread(target=keep_on)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def opened(records: Path) -> sqlite3.Connection:
    """Return a connection that only reads."""
    return sqlite3.connect(f"file:{records / FILE_NAME}?mode=ro", uri=True)


def holds(records: Path, seen: Seen) -> Verified:
    """Check the records with their images, and that what was seen is there.

    Raises:
        BrokenRecordError: it is not so.
    """
    return verify(records, Expected(seen.digest), lambda _done, _total: None, images=True)


def launched(folder: Path) -> subprocess.Popen[bytes]:
    """Return a whole run, as a user starts it."""
    command = [sys.executable, "-m", "vision_line", "--streams", "streams.toml", "--headless", "--record", "records"]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)


def kill_once(folder: Path, drawn: random.Random) -> str:
    """Start a run, kill it at some moment, check the records, and return how far it had come."""
    reader = Reader(folder / "records")
    before = reader.read()
    state = drawn.choice(STATES)
    with launched(folder) as run, reader.reading():
        try:
            if state == EARLY:
                time.sleep(drawn.uniform(0.0, EARLY_S))
            else:
                wait_for(lambda: reader.seen.run > before.run, run)
                if before.digest is not None:
                    holds(reader.records, before)  # as the run before left them, after this one's start
                if state == INSPECTING:
                    wait_for(lambda: _inspects(reader.records, reader.seen.run), run)
                time.sleep(drawn.uniform(0.0, LATEST_S))
            if run.poll() is not None:
                raise RuntimeError(f"the run ended with exit code {run.returncode}; see {folder / 'log'}")
        finally:
            run.kill()
            run.wait()
    if reader.seen.digest is not None:
        holds(reader.records, reader.seen)
    if reader.seen.run == before.run:
        return EARLY
    return INSPECTING if _inspects(reader.records, reader.seen.run) else STARTING


def wait_for(condition: Callable[[], bool], run: subprocess.Popen[bytes]) -> None:
    """Wait until `condition` holds while `run` lives.

    Raises:
        RuntimeError: it ended before, or needs longer than any start takes.
    """
    due_s = time.monotonic() + START_S
    while not condition():
        if run.poll() is not None or time.monotonic() > due_s:
            raise RuntimeError("the run does not come so far")
        time.sleep(READ_EVERY_S)


def _inspects(records: Path, run: int) -> bool:
    with closing(opened(records)) as connection:
        return connection.execute("SELECT 1 FROM detections WHERE run = ?", (run,)).fetchone() is not None


def prepare(folder: Path, port: int) -> None:
    """Write the configuration, with the cameras' videos ready; their server listens on `port`."""
    ensure_clips(CAMERAS, 1)
    streams = "".join(_STREAM.format(number, port) for number in range(1, CAMERAS + 1))
    text = STREAMS.format(cameras=CAMERAS, port=port, streams=streams)
    (folder / "streams.toml").write_text(text, encoding="utf-8")


def kill_again_and_again(folder: Path, kills: int, drawn: random.Random) -> Counter[str]:
    """Kill so many runs of what `prepare` wrote, and return in which states they were.

    Raises:
        BrokenRecordError: something that was committed is lost, or the records do not hold.
        RuntimeError: a run ended by itself.
    """
    states: Counter[str] = Counter()
    for number in range(1, kills + 1):
        state = kill_once(folder, drawn)
        states[state] += 1
        CONSOLE.print(f"kill {number}/{kills}, {state}: the records hold", highlight=False)
    return states


def main() -> None:
    """Kill, and publish; the folder of a failure stays."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else KILLS
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(10_000)
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    CONSOLE.print(f"seed {seed}, in {folder}", highlight=False)
    prepare(folder, PORT)
    states = kill_again_and_again(folder, kills, random.Random(seed))
    report, reader = Report("kills", {"seed": seed}), Reader(folder / "records")
    entries = holds(reader.records, reader.read()).journal.head.number
    with closing(opened(reader.records)) as connection:
        detections, events, images, removed = connection.execute(_ROWS).fetchone()
    for state, times in states.items():
        report.add(killed=state, times=times, lost=0)
    report.facts["left"] = {
        "entries": entries,
        "detections": detections,
        "events": events,
        "images": images,
        "images removed": removed,
    }
    report.publish()
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
