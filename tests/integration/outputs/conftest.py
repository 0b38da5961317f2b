# SPDX-License-Identifier: AGPL-3.0-or-later
"""A record file that is written to, and the outputs' service over it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from tests.fakes.desk_records import DeskRecords, writing
from tests.fakes.waiting import until

from vision_line.config.output_load import LoadedOutputs, load_outputs
from vision_line.errors import ConfigError
from vision_line.outputs.output_service import OutputService
from vision_line.parts.line_commands import PartAsked
from vision_line.telemetry.output_status import OutputState, known_outputs

COMMAND = (sys.executable, "-m", "vision_line", "outputs")


class Line:
    """Records of a run with two cameras, and a file of outputs."""

    def __init__(self, directory: Path, rows: DeskRecords) -> None:
        self.directory = directory
        self.rows = rows
        self.streams = directory / "streams.toml"
        self.run = rows.run(0, None, "cam1", "cam2")
        self._at_s = 0.0
        self.parts: list[PartAsked] = []

    def send_part(self, part: PartAsked) -> int:
        """Take a part as `vision-line lanes` does; it has one lane."""
        if part.lane != "lane1":
            raise ConfigError("there is no such lane")
        self.parts.append(part)
        return len(self.parts)

    def configure(self, text: str) -> None:
        """Write the outputs."""
        self.streams.write_text(text, encoding="utf-8")

    def event(self, camera: str = "cam1", **values: str) -> str:
        """Add an event, and return its id."""
        self._at_s += 1
        return f"event {self.rows.event(self.run, camera, self._at_s, **values)}"

    @asynccontextmanager
    async def serving(self, loaded: LoadedOutputs | None = None) -> AsyncIterator[OutputService]:
        """Serve the outputs while the block runs: those that were loaded, else of the file as it is now."""
        service = OutputService(self.directory, self.send_part)
        task = asyncio.create_task(service.run(loaded or load_outputs(self.streams), asyncio.Event()))
        try:
            yield service
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled():
            task.result()


async def until_state(line: Line, state: str, error: str = "", name: str = "") -> OutputState:
    """Wait until an output, of this name or the only one, is noted to be so, and return its state."""

    def found() -> OutputState | None:
        states = [one.state for one in known_outputs(line.directory) if name in ("", one.name)]
        known = states[0] if states else None
        return known if known and known.state == state and error in (known.error or "") else None

    state_now: OutputState = await until(found, lambda: known_outputs(line.directory))
    return state_now


@contextmanager
def serving(streams: Path, directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Serve the outputs of a file by a process of their own while the block runs."""
    command = [*COMMAND, "--streams", str(streams), "--record", str(directory)]
    process = subprocess.Popen(command, text=True, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        sys.stderr.write(said)  # pytest shows it where a test fails


@pytest.fixture(autouse=True)
def quick_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have states noted often, so that nobody waits for them."""
    monkeypatch.setattr("vision_line.outputs.output_service.TURN_S", 0.1)


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    """Yield records that are written to; their commits need not outlive the power."""
    folder = tmp_path / "records"
    folder.mkdir()
    with writing(folder) as rows:
        rows.connection.execute("PRAGMA synchronous=OFF")
        yield Line(folder, rows)
