# SPDX-License-Identifier: AGPL-3.0-or-later
"""The installed `vision-line` command on the simulator's cameras, each run in a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.ports import free_port
from tests.fakes.waiting import wait_for

COMMAND = Path(sys.executable).parent / "vision-line"

#: Variable by which the processes of this test run are told from others.
_RUN_MARK = "VISION_LINE_TEST_RUN"


class LineRun:
    """One run of the command in `folder`, with its output, its records and its summary."""

    def __init__(self, folder: Path, cameras: int) -> None:
        self.folder = folder
        self.port = free_port()
        self.streams = folder / "streams.toml"
        self.summary_path = folder / "summary.json"
        self.records = folder / "records"
        self.sent_log = folder / "sent.jsonl"
        self.output = folder / "output.txt"
        self.names = [f"cam{number:02d}" for number in range(1, cameras + 1)]
        self.prefix: list[str] = []  # a command that starts the command
        self.process: subprocess.Popen[bytes] | None = None
        self.write_streams(self.names)

    def write_streams(self, names: list[str], extra: str = "", defaults: str = "dwell_s = 4.0\nmin_hits = 7") -> None:
        """Write a configuration whose simulator serves all cameras, and which inspects those of `names`."""
        text = (
            f"config_version = 1\n[simulator]\ncameras = {len(self.names)}\nport = {self.port}\n"
            f'sent_log = "{self.sent_log}"\n[defaults]\n{defaults}\n'
        )
        for name in names:
            text += f'[[stream]]\nname = "{name}"\nurl = "rtsp://127.0.0.1:{self.port}/{name}"\n'
        partial = self.streams.with_suffix(".partial")
        partial.write_text(text + extra, encoding="utf-8")
        partial.replace(self.streams)

    def start(self, *options: str) -> None:
        """Start the command."""
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    *self.prefix,
                    COMMAND,
                    "--streams",
                    self.streams,
                    "--summary",
                    self.summary_path,
                    "--headless",
                    *options,
                ],
                cwd=self.folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )

    def run(self, *options: str, within_s: float = 120.0) -> int:
        """Start the command and wait for its end; return its exit code."""
        self.start(*options)
        return self.wait(within_s)

    def wait(self, within_s: float = 90.0) -> int:
        """Wait for the end and return the exit code."""
        assert self.process is not None
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            pytest.fail(f"still running after {within_s} s:\n{self.text()[-3000:]}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def text(self) -> str:
        """Return what the command wrote so far."""
        return self.output.read_text(encoding="utf-8") if self.output.exists() else ""

    def summary(self) -> dict[str, Any]:
        """Return the summary of a run that has ended."""
        found: dict[str, Any] = json.loads(self.summary_path.read_text(encoding="utf-8"))
        return found

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Return rows of the record file; none while it is not there yet."""
        path = self.records / "records.sqlite"
        if not path.exists():
            return []
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
            try:
                return connection.execute(sql).fetchall()
            except sqlite3.OperationalError as exc:
                if "no such table" in str(exc):
                    return []
                raise

    def wait_for_detections(self, n: int = 1) -> None:
        """Wait until `n` detections have been committed, or fail when the command has ended before."""

        def is_committed() -> bool:
            rows = self.query("SELECT count(*) FROM detections")
            if rows and rows[0][0] >= n:
                return True
            if self.process is not None and self.process.poll() is not None:
                pytest.fail(f"ended with {self.process.returncode} before {n} detections:\n{self.text()[-2000:]}")
            return False

        wait_for(is_committed, f"{n} committed detections")

    def close(self) -> None:
        """End the command surely."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(60)


@pytest.fixture
def make_run(tmp_path: Path) -> Iterator[Callable[[int], LineRun]]:
    """Give a function that prepares a run of n simulated cameras."""
    runs: list[LineRun] = []

    def make(cameras: int) -> LineRun:
        folder = tmp_path / f"run{len(runs)}"
        folder.mkdir()
        runs.append(LineRun(folder, cameras))
        return runs[-1]

    yield make
    for run in runs:
        run.close()


@pytest.fixture(scope="module")
def main_run(tmp_path_factory: pytest.TempPathFactory) -> LineRun:
    """Run 16 cameras for half a minute, once for all tests that only read what such a run leaves."""
    run = LineRun(tmp_path_factory.mktemp("main"), 16)
    assert run.run("--duration", "30", within_s=300) == 0, run.text()[-3000:]
    return run


@pytest.fixture(autouse=True)
def no_leaked_processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test after which a simulator's server that it caused is still alive."""
    monkeypatch.setenv(_RUN_MARK, str(os.getpid()))
    before = _servers()
    yield
    wait_for(lambda: not (_servers() - before), "every server process has ended", within_s=40)


def _servers() -> set[int]:
    """Return the simulator servers that this test run caused; one that somebody started beside it is none of ours."""
    mark = f"{_RUN_MARK}={os.getpid()}".encode()
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
                variables = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"vision_line.simulator.server" in command and mark in variables:
                found.add(int(entry.name))
    return found
