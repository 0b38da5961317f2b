# SPDX-License-Identifier: AGPL-3.0-or-later
"""The program's pulse: the clocks, read together, and whether the program got a processor since the last beat."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

#: Clocks that were read within this time belong together; a thread that was held in between reads them again.
TOGETHER_S = 0.005
TRIES = 5
#: A beat that comes so much later than due, while the program used less than this share of a processor, was kept from
#: coming: the process was stopped, or starved.
LATE_S = 1.0
IDLE_SHARE = 0.25
CORES = os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Beat:
    """One reading: both clocks, and how long the machine slept since it was started."""

    s: float
    utc: float
    asleep_s: float


class Pulse:
    """Is asked for the clocks every `period_s` or more often, by one thread."""

    def __init__(self, period_s: float) -> None:
        """Begin now."""
        self._period_s = period_s
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
        return (since_s, now_s) if was_paused(now_s - since_s, used_s, self._period_s, CORES) else None


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
