# SPDX-License-Identifier: AGPL-3.0-or-later
"""Is the headline ever green while defects are missed? The demo on a terminal, alone or beside busy loops on all cores.

The dashboard is read from the terminal as a person reads it, twice a second. Defects that crossed the view wholly
while the headline was green are scored against what the cameras truly showed, and the frames with detections by the
cameras' own clock. Run: python -m benchmarks.headline [MINUTES] [CAMERAS] [--busy]
"""

from __future__ import annotations

import argparse
import os
import pty
import select
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path

import pyte

from benchmarks.contenders import COMMAND
from benchmarks.rounds import Report
from benchmarks.scoring import LoggedDetection, Score, load_truth, read_sent_log, score_events
from vision_line.simulator.clips import ensure_clips

COLUMNS, LINES = 140, 45
GREEN = "•"
MARKS = f"{GREEN}▲■○"
CHECK_EVERY_S = 0.5
#: A screen older than this shows nothing: a dashboard that hangs is not green.
SCREEN_FRESH_S = 3.0
#: An event needs this long after its defect has left the view.
EVENT_S = 2.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which the headline was green, UTC seconds."""

    from_utc: float
    until_utc: float

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.until_utc - self.from_utc


class Terminal:
    """A pseudo-terminal with the dashboard on it, read as it comes."""

    def __init__(self, command: list[str], folder: Path) -> None:
        """Start `command` in `folder`."""
        self._screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self._screen)
        self._drawn_s = 0.0
        self._master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(LINES)}
        self.process = subprocess.Popen(
            command, cwd=folder, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)

    def read_for(self, seconds: float) -> None:
        """Take what the program draws for a while."""
        deadline_s = time.monotonic() + seconds
        while (left_s := deadline_s - time.monotonic()) > 0:
            if select.select([self._master], [], [], left_s)[0]:
                try:
                    self._stream.feed(os.read(self._master, 65536))
                except OSError:  # EIO: the program has ended
                    return
                self._drawn_s = time.monotonic()

    def headline(self) -> str:
        """Return the dashboard's headline as it stands on the screen, empty where there is none, or an old one."""
        if time.monotonic() - self._drawn_s > SCREEN_FRESH_S:
            return ""
        lines = (line.strip() for line in self._screen.display[:8])
        return next((line for line in lines if line and line[0] in MARKS), "")

    def close(self) -> None:
        """Leave no process behind."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)


@contextmanager
def busy_cores() -> Iterator[None]:
    """Keep a busy loop on every core."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in os.sched_getaffinity(0)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


@contextmanager
def no_load() -> Iterator[None]:
    """Leave the cores alone."""
    yield


def write_demo(folder: Path, cameras: int) -> None:
    """Write the demo's configuration, with a log of what the simulator sends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    text = f'config_version = 1\n[simulator]\ncameras = {cameras}\nport = {port}\nsent_log = "sent.jsonl"\n'
    text += "[defaults]\ndwell_s = 4.0\nmin_hits = 7\n"
    for number in range(1, cameras + 1):
        text += f'[[stream]]\nname = "cam{number:02d}"\nurl = "rtsp://127.0.0.1:{port}/cam{number:02d}"\n'
    (folder / "streams.toml").write_text(text, encoding="utf-8")


def watch(folder: Path, minutes: float) -> tuple[list[Stretch], dict[str, float]]:
    """Run the demo and return the green stretches, and the seconds of each mark that the headline showed."""
    shown: dict[str, float] = dict.fromkeys(MARKS, 0.0)
    stretches: list[Stretch] = []
    terminal = Terminal([str(COMMAND), "--streams", "streams.toml", "--record", "records"], folder)
    try:
        until_s = time.monotonic() + minutes * 60
        began_utc: float | None = None
        while time.monotonic() < until_s and terminal.process.poll() is None:
            terminal.read_for(CHECK_EVERY_S)
            headline, now_utc = terminal.headline(), time.time()
            if headline:
                shown[headline[0]] += CHECK_EVERY_S
            if headline.startswith(GREEN):
                began_utc = began_utc or now_utc
            elif began_utc is not None:
                stretches.append(Stretch(began_utc, now_utc))
                began_utc = None
        if began_utc is not None:
            stretches.append(Stretch(began_utc, time.time() - EVENT_S))
        terminal.process.send_signal(signal.SIGTERM)
        while terminal.process.poll() is None:
            terminal.read_for(0.2)
    finally:
        terminal.close()
    return stretches, shown


def scored(folder: Path, stretches: list[Stretch], cameras: int) -> list[Score]:
    """Score each stretch that is long enough for anything to cross."""
    with closing(sqlite3.connect(folder / "records" / "records.sqlite")) as connection:
        rows = connection.execute(
            "SELECT event_id, camera, class, arrived_utc - behind_ms / 1e3, x1, y1, x2, y2"
            " FROM detections WHERE event_id IS NOT NULL"
        ).fetchall()
    found = [LoggedDetection(row[0], row[1], row[2], row[3], (row[4], row[5], row[6], row[7])) for row in rows]
    sent = read_sent_log(folder / "sent.jsonl")
    truths = {clip.camera: load_truth(clip.truth) for clip in ensure_clips(cameras, 1)}
    return [score_events(found, sent, truths, s.from_utc, s.until_utc) for s in stretches]


def oldest_while_green(folder: Path, stretches: list[Stretch]) -> float:
    """Return the greatest age of an inspected frame with detections, seconds, by the camera's own clock."""
    with closing(sqlite3.connect(folder / "records" / "records.sqlite")) as connection:
        rows = connection.execute(
            "SELECT arrived_utc, arrived_utc - camera_utc FROM detections WHERE camera_utc IS NOT NULL"
        ).fetchall()
    ages = [age for at, age in rows if any(s.from_utc <= at <= s.until_utc for s in stretches)]
    return max(ages, default=0.0)


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.headline", description=__doc__)
    parser.add_argument("minutes", nargs="?", type=float, default=10.0)
    parser.add_argument("cameras", nargs="?", type=int, default=16)
    parser.add_argument("--busy", action="store_true", help="beside a busy loop on every core")
    options = parser.parse_args()
    ensure_clips(options.cameras, 1)
    report = Report("headline_busy" if options.busy else "headline")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_demo(folder, options.cameras)
        with busy_cores() if options.busy else no_load():
            stretches, shown = watch(folder, options.minutes)
        scores = scored(folder, stretches, options.cameras)
        oldest_s = oldest_while_green(folder, stretches)
        whole = scored(folder, [Stretch(stretches[0].from_utc if stretches else 0.0, time.time())], options.cameras)[0]
    passes, found = sum(score.passes for score in scores), sum(score.found for score in scores)
    report.facts |= {
        "seconds by mark": {mark: round(seconds, 1) for mark, seconds in shown.items()},
        "whole run: defects crossed": whole.passes,
        "whole run: found": whole.found,
    }
    report.add(
        minutes=options.minutes,
        cameras=options.cameras,
        busy=options.busy,
        green_s=round(sum(stretch.seconds for stretch in stretches), 1),
        crossed_while_green=passes,
        found=found,
        recall=round(found / passes, 4) if passes else "-",
        oldest_picture_s=round(oldest_s, 3),
    )
    report.publish()


if __name__ == "__main__":
    main()
