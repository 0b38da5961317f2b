# SPDX-License-Identifier: AGPL-3.0-or-later
"""The program's pulse: the clocks, read together, and whether the program got a processor since the last beat."""

from __future__ import annotations

import time
from dataclasses import dataclass

#: Clocks that were read within this time belong together; a thread that was held in between reads them again.
TOGETHER_S = 0.005
TRIES = 5
#: A beat that comes so much later than due, while the program used less than this share of a processor, was kept from
#: coming: the process was stopped, or starved.
LATE_S = 1.0
IDLE_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Beat:
    """One reading: both clocks, how long the machine slept since it was started, and since when the program paused."""

    s: float
    utc: float
    asleep_s: float
    paused_since_s: float | None = None


class Pulse:
    """Beats every `period_s` or so, as its owner asks; one thread."""

    def __init__(self, period_s: float) -> None:
        """Begin now."""
        self._period_s = period_s
        self._last_s = time.monotonic()
        self._cpu_s = time.process_time()

    def beat(self) -> Beat:
        """Return the clocks, and `paused_since_s` where the time since the last beat was a pause."""
        now_s, utc, asleep_s = _clocks()
        since_s, cpu_s = self._last_s, time.process_time()
        paused = was_paused(now_s - since_s, cpu_s - self._cpu_s, self._period_s)
        self._last_s, self._cpu_s = now_s, cpu_s
        return Beat(now_s, utc, asleep_s, since_s if paused else None)


def was_paused(passed_s: float, cpu_s: float, period_s: float) -> bool:
    """Whether the program did not run for most of `passed_s`, in which it used `cpu_s` of processor time. Pure.

    An event loop that is late while other threads work is another matter: cameras are inspected meanwhile.
    """
    return passed_s > period_s + LATE_S and cpu_s < IDLE_SHARE * passed_s


def _clocks() -> tuple[float, float, float]:
    """Return monotonic and UTC seconds of one moment, and how long the machine has slept."""
    for _ in range(TRIES):
        now_s = time.monotonic()
        utc, boot_s = time.time(), time.clock_gettime(time.CLOCK_BOOTTIME)
        if time.monotonic() - now_s < TOGETHER_S:
            break
    return now_s, utc, boot_s - now_s
