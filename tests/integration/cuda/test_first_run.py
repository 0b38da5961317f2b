# SPDX-License-Identifier: AGPL-3.0-or-later
"""The first run on a GPU: the building of the engine is on the screen, and Ctrl-C ends it."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.fakes.gpu_libraries.videos import encoded
from tests.fakes.machine import CudaMachine

from vision_line.config.load import load_config
from vision_line.devices.cuda import engine_cache as engine_files
from vision_line.devices.cuda import pipeline
from vision_line.errors import ExitCode
from vision_line.inspection.coverage.causes import BUILDING
from vision_line.runtime.options import RunOptions
from vision_line.runtime.program import run_program
from vision_line.screens.dashboard import screen_lines
from vision_line.screens.status_line import plain_line
from vision_line.telemetry.snapshot import Snapshot

DEADLINE_S = 30.0
STEP = "building the engine for 320x192: building, step 1 of 2"

pytestmark = pytest.mark.alone


def test_the_build_is_shown_and_ctrl_c_ends_it(
    cuda_machine: CudaMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dashboard and status line name the step; the interrupted run leaves no engine."""
    for module in (engine_files, pipeline):
        monkeypatch.setattr(module, "cache_folder", lambda: cuda_machine.cache)
    cuda_machine.tensorrt.endless = True
    streams = tmp_path / "streams.toml"
    url = "rtsp://127.0.0.1:9/nobody"
    streams.write_text(f'config_version = 1\n[[stream]]\nname = "cam01"\nurl = "{url}"\n', encoding="utf-8")
    options = RunOptions(streams, device="cuda", record=tmp_path / "records")
    shown: list[Snapshot] = []

    async def screen(get_snapshot: Callable[[], Snapshot]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not (snapshot := get_snapshot()).notices:  # noqa: ASYNC110  that is how screens look
                await asyncio.sleep(0.01)
        shown.append(snapshot)
        os.kill(os.getpid(), signal.SIGINT)

    outcome = asyncio.run(run_program(options, load_config(streams), [], screen))

    assert outcome.exit_code == ExitCode.INTERRUPTED
    assert shown[0].notices == (STEP,)
    assert STEP in plain_line(shown[0])
    assert any(STEP in "".join(text for text, _ in line) for line in screen_lines(shown[0], 100, 24))
    assert cuda_machine.tensorrt.builds == 1
    assert list(cuda_machine.cache.rglob("*.engine")) == []


def test_what_is_not_inspected_meanwhile_has_the_build_as_its_cause(
    cuda_machine: CudaMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The camera's frames come and are decoded, and nothing is inspected; the records say why."""
    for module in (engine_files, pipeline):
        monkeypatch.setattr(module, "cache_folder", lambda: cuda_machine.cache)
    cuda_machine.tensorrt.endless = True
    (tmp_path / "line.mkv").write_bytes(encoded("libx264", frames=2000).getvalue())
    streams = tmp_path / "streams.toml"
    streams.write_text('config_version = 1\n[[stream]]\nname = "cam01"\nurl = "file:line.mkv"\n', encoding="utf-8")
    options = RunOptions(streams, device="cuda", record=tmp_path / "records")
    causes: list[str | None] = []

    async def screen(get_snapshot: Callable[[], Snapshot]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while BUILDING not in causes:
                causes.extend(camera.not_inspected for camera in get_snapshot().cameras)
                await asyncio.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    outcome = asyncio.run(run_program(options, load_config(streams), [], screen))

    assert outcome.exit_code == ExitCode.INTERRUPTED
    with closing(sqlite3.connect(next((tmp_path / "records").glob("*.sqlite")))) as records:
        recorded = {cause for (cause,) in records.execute("SELECT cause FROM not_inspected")}
    assert BUILDING in recorded
