# SPDX-License-Identifier: AGPL-3.0-or-later
"""Keeps the coverage ledger up to date while a run lasts: with the clocks, the program's pauses and the log."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from vision_line.frames import CoverageMinute, NotInspected
from vision_line.inspection.coverage.ledger import CoverageLedger
from vision_line.inspection.coverage.minutes import CameraCounts
from vision_line.records.log import SqliteLog
from vision_line.runtime.pulse import Beat, Pulse
from vision_line.scheduler import SchedulerUpdate
from vision_line.telemetry.metrics import RunMetrics

logger = logging.getLogger(__name__)

#: How often the ledger is brought up to date.
TICK_S = 0.2


class LedgerUpdater:
    """Owns the run's ledger, and hands its rows to the log and the metrics; lives in the event loop's thread."""

    def __init__(self, log: SqliteLog, metrics: RunMetrics) -> None:
        """Begin with a ledger without cameras, for a device that is not ready yet."""
        self._log = log
        self._metrics = metrics
        self._ledger = CoverageLedger(device_ready=False)
        self._pulse = Pulse(TICK_S)

    def open_intervals(self) -> list[NotInspected]:
        """Return the intervals that last at this moment."""
        return self._ledger.open_intervals()

    def awake(self) -> CoverageLedger:
        """Return the ledger for a change to it; first it is told of a time in which the program did not run.

        What comes then shows what that time has done, and must not be judged without knowing of it.
        """
        if pause := self._pulse.pause():
            logger.warning(
                "the program did not run for %.1f s (stopped, suspended or no CPU time): nothing was inspected",
                pause[1] - pause[0],
            )
            self._ledger.paused(*pause)
        return self._ledger

    def device_is_ready(self) -> None:
        """Take in that inspection begins now."""
        self.awake().device_is_ready(time.monotonic())

    def stop(self) -> None:
        """Take in that the program drains from now on."""
        self.awake().stop(time.monotonic())

    def note(self, update: SchedulerUpdate) -> None:
        """Take in what the scheduler has inspected."""
        ledger = self.awake()
        for frame in update.inspected_frames:
            ledger.inspected(frame.camera, frame.captured_s)
        ledger.log_writable(update.log_writable, update.at_s)

    async def run(self, counts: Callable[[], Mapping[str, CameraCounts]]) -> None:
        """Bring the ledger up to date until cancelled; `counts` gives the cameras' counters."""
        while True:
            ledger, beat = self.awake(), self._pulse.beat()
            self._record(beat, ledger.tick(beat.s, beat.utc, counts(), beat.asleep_s))
            self._metrics.committed(self._log.take_latencies_ms(), beat.s)
            await asyncio.sleep(TICK_S)

    def close(self, counts: Mapping[str, CameraCounts]) -> None:
        """End every interval and minute as it stands, and record it."""
        ledger, beat = self.awake(), self._pulse.beat()
        self._record(beat, ledger.close(beat.s, beat.utc, counts, beat.asleep_s))

    def _record(self, beat: Beat, rows: tuple[list[CoverageMinute], list[NotInspected]]) -> None:
        """Hand the ledger's rows to the log, and only then say that they tell of all up to now."""
        steps = self._ledger.take_clock_steps()
        for step in steps:
            self._metrics.clock_stepped(step)
            logger.warning("%s", step)
        self._log.write_clock_steps(steps)
        self._metrics.not_inspected(rows[1], beat.s)
        self._log.write_coverage(*rows)
        self._log.alive(beat.utc)
