# SPDX-License-Identifier: AGPL-3.0-or-later
"""One plain line per second, for an output that is not a terminal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import IO

from vision_line.frames import CameraState
from vision_line.screens.device_lines import device_words
from vision_line.screens.headline import clock
from vision_line.screens.lines import LineWriter, sink_on
from vision_line.telemetry.snapshot import Snapshot
from vision_line.words import one_line

logger = logging.getLogger(__name__)

#: Status lines that are queued for a reader; older ones are useless.
NEWEST = 2


def plain_line(snapshot: Snapshot) -> str:
    """Return the line's state in one line without colours. Pure."""
    totals, log = snapshot.totals, snapshot.log
    running = sum(camera.state is CameraState.RUNNING for camera in snapshot.cameras)
    latency = totals.latency_ms
    parts = [
        f"{clock(snapshot.uptime_s)} {running}/{snapshot.expected} running",
        f"in {totals.fps_in:.1f} fps, inspected {totals.fps_inspected:.1f}, dropped {totals.fps_dropped:.1f}",
        "p50 – p99 – ms" if latency is None else f"p50 {latency.p50:.0f} p99 {latency.p99:.0f} ms",
        f"behind {max((camera.behind_s for camera in snapshot.cameras), default=0.0):.1f} s",
        f"defects {totals.events}",
        *map(device_words, snapshot.devices),
        "log ok" if log.writable else f"log STOPPED ({log.reason})",
        *filter(None, [snapshot.fleet]),
    ]
    parts += [f"ALARM {alarm}" for alarm in snapshot.alarms]
    if snapshot.notices:
        parts.append("; ".join(snapshot.notices))
    return one_line(" | ".join(parts))


async def run_status_lines(get_snapshot: Callable[[], Snapshot], stream: IO[str], period_s: float = 1.0) -> None:
    """Write a status line to `stream` every `period_s` until cancelled.

    Lines that nobody reads are lost, since only the newest matters; the start of a loss is logged.
    """
    writer = LineWriter(sink_on(stream), NEWEST)
    last_problem = ""
    try:
        while True:
            writer.put(plain_line(get_snapshot()))
            await asyncio.sleep(period_s)
            if writer.problem and not last_problem:
                logger.warning("status lines are lost: %s", writer.problem)
            last_problem = writer.problem
    finally:
        writer.close()
