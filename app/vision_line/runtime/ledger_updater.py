# SPDX-License-Identifier: AGPL-3.0-or-later
"""Keeps the coverage ledger up to date while a run lasts: with the clocks, the program's pauses and the log."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vision_line.cores import usable_cores
from vision_line.frames import CoverageMinute, NotInspected
from vision_line.inspection.coverage.ledger import CoverageLedger
from vision_line.inspection.coverage.minutes import CameraCounts
from vision_line.records.log import SqliteLog
from vision_line.scheduler import SchedulerUpdate
from vision_line.telemetry.metrics import RunMetrics

logger = logging.getLogger(__name__)

#: How often the ledger is brought up to date.
TICK_S = 0.2

#: Clocks that were read within this time belong together; a thread that was held in between reads them again.
TOGETHER_S = 0.005
TRIES = 5
#: A beat that comes so much later than due, while the program used less than this share of a processor, was kept from
#: coming: the process was stopped, or starved.
LATE_S = 1.0
IDLE_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Beat:
    """One reading: both clocks, and how long the machine slept since it was started."""

    s: float
    utc: float
    asleep_s: float


class Pulse:
    """Is asked for the clocks every `period_s` or more often, by one thread."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._cores = usable_cores()
        self._last_s = time.monotonic()
        self._cpu_s = time.process_time()

    def beat(self) -> Beat:
        """Return the clocks."""
        return Beat(*_clocks())

    def pause(self) -> tuple[float, float] | None:
        """Return from when until when the program did not run, if that lies between the last call and this one."""
        now_s, cpu_s = time.monotonic(), time.process_time()
        since_s, used_s = self._last_s, cpu_s - self._cpu_s
        self._last_s, self._cpu_s = now_s, cpu_s
        return (since_s, now_s) if was_paused(now_s - since_s, used_s, self._period_s, self._cores) else None


def was_paused(passed_s: float, cpu_s: float, period_s: float, cores: int) -> bool:
    """Whether the program did not run for most of `passed_s`, in which it used `cpu_s` of processor time. Pure.

    An event loop that is late while other threads work is another matter: cameras are inspected meanwhile. What all
    `cores` can do within a period may have been done just before the pause, so it speaks for neither.
    """
    late_s = passed_s - period_s
    return late_s > LATE_S and cpu_s - period_s * cores < IDLE_SHARE * late_s


def _clocks() -> tuple[float, float, float]:
    """Return monotonic and UTC seconds of one moment, and how long the machine has slept."""
    for _ in range(TRIES):
        now_s = time.monotonic()
        utc, boot_s = time.time(), time.clock_gettime(time.CLOCK_BOOTTIME)
        if time.monotonic() - now_s < TOGETHER_S:
            break
    return now_s, utc, boot_s - now_s


class LedgerUpdater:
    """Owns the run's ledger, and hands its rows to the log and the metrics; lives in the event loop's thread."""

    def __init__(self, log: SqliteLog, metrics: RunMetrics) -> None:
        """Begin with a ledger without cameras, for a device that is not ready yet."""
        self._log = log
        self._metrics = metrics
        self._ledger = CoverageLedger(device_ready=False)
        self._building = False
        self._pulse = Pulse(TICK_S)

    def open_intervals(self) -> list[NotInspected]:
        """Return the intervals that last at this moment."""
        return self._ledger.open_intervals()

    def awake(self) -> CoverageLedger:
        """Return the ledger for a change to it; first it learns of a time in which the program did not run.

        What comes then shows what that time has done, and must not be assessed without knowing of it.
        """
        if pause := self._pulse.pause():
            logger.warning(
                "the program did not run for %.1f s (stopped, suspended or no CPU time): nothing was inspected",
                pause[1] - pause[0],
            )
            self._ledger.paused(*pause)
        return self._ledger

    def device_builds(self, building: bool) -> None:
        """Take in, with the next tick, whether an engine is being built; any thread."""
        self._building = building

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
            ledger.device_builds(self._building, beat.s)
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
