# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether the process works, and whether it inspects: each as the reasons why not. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vision_line.ports import LogStatus
from vision_line.telemetry.reading import Reading

#: A thread that has not moved for this long hangs; the slowest of them moves five times a second.
HANGS_AFTER_S = 5.0


@dataclass(slots=True)
class Heartbeats:
    """When what must move last did, monotonic seconds; each field is written by its own thread and read by any."""

    loop_s: float
    scheduler_s: float | None = None  # None: no device is open, so there is no scheduler
    is_ending: bool = False  # the run drains: the scheduler ends

    def problems(self, now_s: float) -> list[str]:
        """Return a sentence for each thread that hangs or has died."""
        return list(self._hanging(now_s))

    def _hanging(self, now_s: float) -> Iterator[str]:
        if (silent_s := now_s - self.loop_s) > HANGS_AFTER_S:
            yield f"the event loop has not moved for {silent_s:.0f} s"
        if self.scheduler_s is None or self.is_ending:
            return
        if (silent_s := now_s - self.scheduler_s) > HANGS_AFTER_S:
            yield f"the scheduler's thread has not moved for {silent_s:.0f} s"


def why_not_healthy(beats: Heartbeats, log: LogStatus, now_s: float) -> list[str]:
    """Return why the process does not work; empty: it does. A camera's trouble is none of it."""
    return [*beats.problems(now_s), *_log_problem(log)]


def why_not_ready(beats: Heartbeats, reading: Reading, now_s: float) -> list[str]:
    """Return why nothing is inspected, or nothing may be accepted; empty: at least one camera is, or none is due."""
    found = why_not_healthy(beats, reading.log, now_s)
    if beats.is_ending:
        found.append("the run is ending")
    elif beats.scheduler_s is None:
        found.append("the device is not open yet")
    return found or [*_uninspected(reading), *reading.refusals]


def _uninspected(reading: Reading) -> list[str]:
    return ["no camera is inspected"] if 0 < len(reading.expected) == len(reading.troubles) else []


def _log_problem(log: LogStatus) -> list[str]:
    return [] if log.writable else [f"records cannot be written: {log.reason or 'no reason given'}"]
