# SPDX-License-Identifier: AGPL-3.0-or-later
"""A run over files ends where nothing can be recorded: a live line waits for the disk, and nobody waits for files."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from vision_line.ports import LogStatus
from vision_line.reinspection import file_line
from vision_line.reinspection.file_line import RecordingWatch, UnrecordableError
from vision_line.telemetry.snapshot import Snapshot

FULL = LogStatus(writable=False, reason="disk full: no space")


def seen(log: LogStatus) -> Snapshot:
    return Snapshot(version="", device="", model="", started_utc=0.0, now_utc=0.0, uptime_s=0.0, log=log)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_line, "UNRECORDED_S", 0.05)
    monkeypatch.setattr(file_line, "_GLANCE_S", 0.01)


def test_a_disk_that_stays_full_ends_the_run_and_is_named() -> None:
    watch = RecordingWatch(Path("/tmp/x"))
    with pytest.raises(UnrecordableError, match="/tmp/x: nothing can be recorded: disk full: no space; TMPDIR"):
        asyncio.run(asyncio.wait_for(watch(lambda: seen(FULL)), 40))


def test_a_disk_that_is_full_for_a_moment_ends_nothing() -> None:
    states: Iterator[LogStatus] = iter([FULL, LogStatus()] * 30)
    watch = RecordingWatch(Path("/tmp/x"))
    with pytest.raises(RuntimeError, match="StopIteration"):  # all of them were seen
        asyncio.run(asyncio.wait_for(watch(lambda: seen(next(states))), 40))


def test_what_could_not_be_recorded_at_the_end_is_known() -> None:
    async def cancelled() -> RecordingWatch:
        watch, state = RecordingWatch(Path("/tmp/x")), [LogStatus()]
        task = asyncio.create_task(watch(lambda: seen(state[0])))
        await asyncio.sleep(0)
        state[0] = FULL
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return watch

    assert "disk full" in asyncio.run(cancelled()).problem
