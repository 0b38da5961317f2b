# SPDX-License-Identifier: AGPL-3.0-or-later
"""A run on a GPU has room for its cameras, and makes more while it inspects when `streams.toml` names more."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.fakes.gpu_libraries.videos import encoded
from tests.fakes.machine import CudaMachine
from tests.fakes.tiny_model import build_tiny_model
from tests.fakes.waiting import until

from vision_line.config.load import load_config
from vision_line.devices.cuda import engine_cache, pipeline
from vision_line.errors import ExitCode
from vision_line.runtime.options import RunOptions
from vision_line.runtime.program import run_program
from vision_line.telemetry.snapshot import Snapshot

pytestmark = pytest.mark.alone


def write_streams(path: Path, cameras: Sequence[str]) -> None:
    """Configure cameras that show one video again and again."""
    each = '[[stream]]\nname = "{}"\nurl = "file:line.mkv"\nloop = true\n'
    text = "config_version = 1\n" + "".join(map(each.format, cameras))
    beside = path.with_suffix(".new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def of_each(snapshot: Snapshot) -> dict[str, int]:
    """Return the number of the newest inspected frame of each camera."""
    return {camera.name: camera.sequence or 0 for camera in snapshot.cameras}


def all_go_on(now: dict[str, int], before: dict[str, int]) -> bool:
    """Return whether each of three cameras was inspected three times since `before`."""
    return len(now) == 3 and all(number > before.get(name, 0) + 2 for name, number in now.items())


def test_more_cameras_in_the_file_get_room(
    cuda_machine: CudaMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """From batches of one to batches of four, while all that come are inspected and none is refused."""
    for module in (engine_cache, pipeline):
        monkeypatch.setattr(module, "cache_folder", lambda: cuda_machine.cache)
    model = tmp_path / "tiny.onnx"
    model.write_bytes(build_tiny_model(batch="n"))
    (tmp_path / "line.mkv").write_bytes(encoded("libx264", frames=50).getvalue())
    streams = tmp_path / "streams.toml"
    write_streams(streams, ["cam01"])
    options = RunOptions(streams, device="cuda", model=model, record=tmp_path / "records")
    graphs: list[int] = []

    async def screen(get_snapshot: Callable[[], Snapshot]) -> None:
        await until(lambda: of_each(get_snapshot()).get("cam01", 0) > 2, get_snapshot)
        graphs.append(cuda_machine.driver.live()["executable graphs"])
        write_streams(streams, ["cam01", "cam02", "cam03"])
        await until(lambda: "batches of up to 4" in caplog.text, lambda: caplog.text)
        graphs.append(cuda_machine.driver.live()["executable graphs"])
        before = of_each(get_snapshot())
        await until(lambda: all_go_on(of_each(get_snapshot()), before), get_snapshot)
        os.kill(os.getpid(), signal.SIGINT)

    with caplog.at_level(logging.INFO):
        outcome = asyncio.run(run_program(options, load_config(streams), [], screen))

    assert outcome.exit_code == ExitCode.INTERRUPTED
    first, more = graphs
    assert first in (3, 2 * 3), "of three slots for 1 frame, of one shape, or of both where no frame came in time"
    assert more == 3 * first, "for 1, 2 and 4 frames"
    assert "cannot be converted" not in caplog.text
    assert "batches stay smaller" not in caplog.text
