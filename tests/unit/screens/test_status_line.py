# SPDX-License-Identifier: AGPL-3.0-or-later
"""The plain status line, and writing it."""

from __future__ import annotations

import asyncio
import io
import logging
import os
from collections.abc import Callable
from dataclasses import replace

import pytest

from vision_line.ports import LogStatus
from vision_line.screens.status_line import plain_line, run_status_lines
from vision_line.screens.styles import short_time
from vision_line.telemetry.snapshot import Snapshot

Maker = Callable[[int], Snapshot]


def test_line_says_it_all(well_line: Maker) -> None:
    """One line holds uptime, cameras, rates, latency, defects and the log."""
    expected = (
        "12:07 4/4 running | in 100.0 fps, inspected 33.0, dropped 66.2 | p50 61 p99 181 ms | behind 0.0 s | defects 10"
        " | log ok"
    )

    assert plain_line(well_line(4)) == expected


def test_line_shows_troubles(troubled_line: Maker) -> None:
    """Every alarm and a stopped log stand in the line: who reads a log has no other place to look."""
    stopped = replace(troubled_line(4), log=LogStatus(writable=False, reason="disk full"))

    assert "1/4 running" in plain_line(stopped)
    assert "log STOPPED (disk full)" in plain_line(stopped)
    assert plain_line(stopped).endswith(" | ".join(f"ALARM {alarm}" for alarm in stopped.alarms))
    assert len(stopped.alarms) > 1


def test_line_shows_notices(well_line: Maker) -> None:
    """What is amiss beside the inspection stands at the end of the line."""
    line = replace(well_line(4), notices=("overlay: 10 of 100 frames are missing from the videos", "more"))

    assert plain_line(line).endswith("log ok | overlay: 10 of 100 frames are missing from the videos; more")


def test_line_before_the_first_result(well_line: Maker) -> None:
    """Without a result yet there is no latency to tell."""
    line = well_line(1)

    assert "p50 – p99 – ms" in plain_line(replace(line, totals=replace(line.totals, latency_ms=None)))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0s"), (9.94, "9.9s"), (9.96, "10s"), (59.4, "59s"), (59.6, "1m"), (3599, "1h"), (47 * 3600, "47h")],
)
def test_short_times(seconds: float, text: str) -> None:
    """Ages take at most five characters."""
    assert short_time(seconds) == text


async def test_a_closed_pipe_loses_the_lines(well_line: Maker, caplog: pytest.LogCaptureFixture) -> None:
    """When the reader of the pipe goes away, that is logged once, and the lines are lost."""
    reader, writer = os.pipe()
    os.close(reader)
    made: list[Snapshot] = []
    ten = asyncio.Event()

    def snapshot() -> Snapshot:
        made.append(well_line(1))
        if len(made) == 10:
            ten.set()
        return made[-1]

    with os.fdopen(writer, "w") as stream, caplog.at_level(logging.WARNING):
        task = asyncio.create_task(run_status_lines(snapshot, stream, period_s=0.01))
        async with asyncio.timeout(60):
            await ten.wait()
        task.cancel()
        await asyncio.wait({task})

    # Where the processors are busy, the line before may still be waited for.
    (said,) = [record.getMessage() for record in caplog.records]
    assert said in {"status lines are lost: Broken pipe", "status lines are lost: nobody reads them"}


async def test_lines_go_to_a_stream_in_memory(well_line: Maker) -> None:
    """Any text stream will do; the last line is there when the task was cancelled."""
    stream = io.StringIO()
    task = asyncio.create_task(run_status_lines(lambda: well_line(1), stream, period_s=60))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait({task})

    assert stream.getvalue() == plain_line(well_line(1)) + "\n"


async def test_errors_of_the_snapshot_come_out(well_line: Maker) -> None:
    """An error while the snapshot is made is raised, and the thread has ended."""
    reader, writer = os.pipe()

    def fail() -> Snapshot:
        raise LookupError("no such camera")

    with os.fdopen(reader), os.fdopen(writer, "w") as stream, pytest.raises(LookupError):
        await run_status_lines(fail, stream)
