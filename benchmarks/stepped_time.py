# SPDX-License-Identifier: AGPL-3.0-or-later
"""Virtual time of one box among several: it goes on by steps, so that all boxes and what is between them stay together.

Each box's scheduler has a thread and plays its own world. Only one thread of the simulation runs at a time: whoever
leads it lets a box play a step, and waits until that is done. So a seed gives the same plant on any machine.
"""

from __future__ import annotations

import threading
from math import inf

from benchmarks.virtual_time import VirtualTime


class SteppedTime(VirtualTime):
    """Stops at the end of each step, with the scheduler's thread in its wait."""

    def __init__(self) -> None:
        """Stand at zero, before the first step."""
        super().__init__()
        self._until_s = 0.0
        self._go = threading.Semaphore(0)
        self._there = threading.Semaphore(0)

    def await_arrival(self) -> None:
        """Wait until the scheduler's thread, which has begun, has nothing more to do in this step."""
        self._there.acquire()

    def step(self, until_s: float) -> None:
        """Let the box play until then."""
        self._until_s = until_s
        self._go.release()
        self._there.acquire()

    def release(self) -> None:
        """Let the scheduler's thread go, which was asked to end, from wherever in its work the last step ended."""
        self._until_s = inf
        self._go.release()

    def _play(self, until_s: float, *, until_notified: bool) -> None:
        while until_s > self._until_s:
            super()._play(self._until_s, until_notified=until_notified)
            if until_notified and self._notified:
                return
            self._there.release()
            self._go.acquire()
            if until_notified and self._notified:  # of a command that came between two steps
                return
        super()._play(until_s, until_notified=until_notified)
