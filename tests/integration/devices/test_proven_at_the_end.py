# SPDX-License-Identifier: AGPL-3.0-or-later
"""The last frames of a run are not believed unseen: its engines are proven once more when the last result is there."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from functools import partialmethod
from pathlib import Path

import openvino as ov
import pytest
from tests.fakes.gpu_libraries.videos import encoded
from tests.fakes.waiting import WAIT_S, until

from vision_line.config.load import load_config
from vision_line.devices.cpu import proven_engines
from vision_line.devices.cpu.openvino_engine import run_images
from vision_line.devices.model.heads import HeadOutput, SegmentOutput
from vision_line.devices.model.proof import Images
from vision_line.errors import RunError
from vision_line.runtime.engine_watch import EngineWatch
from vision_line.runtime.options import RunOptions
from vision_line.runtime.program import run_program
from vision_line.telemetry.snapshot import Snapshot


def a_run(folder: Path) -> RunOptions:
    """Return the options of a run over one video, which ends with it."""
    (folder / "line.mkv").write_bytes(encoded("libx264", frames=50).getvalue())
    streams = folder / "streams.toml"
    streams.write_text(
        'config_version = 1\n[[stream]]\nname = "cam01"\nurl = "file:line.mkv"\n',
        encoding="utf-8",
    )
    return RunOptions(streams, device="cpu", record=folder / "records")


def doubts(folder: Path) -> list[dict[str, object]]:
    """Return what the records say that may be wrong."""
    (file,) = (folder / "records").glob("*.sqlite")
    with closing(sqlite3.connect(file)) as records:
        rows = records.execute("SELECT body FROM journal WHERE kind = 'doubt'").fetchall()
    return [json.loads(body) for (body,) in rows]


@pytest.mark.parametrize("turns_wrong", [False, True])
def test_an_engine_that_turned_wrong_before_the_end_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turns_wrong: bool
) -> None:
    """Long before the next proof is due. One that is right ends as ever."""
    options = a_run(tmp_path)

    def wrong(network: ov.CompiledModel, images: Images) -> list[HeadOutput]:
        right = run_images(network, images)
        return [output * 0 for output in right if not isinstance(output, SegmentOutput)]

    async def screen(get_snapshot: Callable[[], Snapshot]) -> None:
        await until(lambda: any(camera.sequence for camera in get_snapshot().cameras), get_snapshot)
        if turns_wrong:
            monkeypatch.setattr(proven_engines, "run_images", wrong)
        await asyncio.Event().wait()

    def run() -> int:
        return asyncio.run(run_program(options, load_config(options.streams), [], screen)).exit_code

    if not turns_wrong:
        assert run() == 0
        assert not doubts(tmp_path)
        return
    with pytest.raises(RunError, match=r"computes wrongly now.* may be wrong"):
        run()
    (doubt,) = doubts(tmp_path)
    assert "computes wrongly now" in str(doubt["why"])


def test_a_second_signal_waits_for_no_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """However long it takes: whoever asks twice wants the end."""
    options = a_run(tmp_path)
    begun, over = threading.Event(), threading.Event()
    monkeypatch.setattr(EngineWatch, "prove_last", partialmethod(EngineWatch.prove_last, timeout_s=WAIT_S))

    def hang(_network: ov.CompiledModel, _images: Images) -> list[HeadOutput]:
        begun.set()
        over.wait(WAIT_S)
        return []

    async def screen(get_snapshot: Callable[[], Snapshot]) -> None:
        await until(lambda: any(camera.sequence for camera in get_snapshot().cameras), get_snapshot)
        monkeypatch.setattr(proven_engines, "run_images", hang)
        os.kill(os.getpid(), signal.SIGINT)
        await until(begun.is_set)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    asyncio.run(run_program(options, load_config(options.streams), [], screen))
    over.set()
    for thread in [each for each in threading.enumerate() if each.name == "engine proof"]:
        thread.join()

    assert "stopped at once: what was inspected since" in caplog.text
    assert "did not end their last proof" not in caplog.text
    assert not doubts(tmp_path)
