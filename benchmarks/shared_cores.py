# SPDX-License-Identifier: AGPL-3.0-or-later
"""A few cores and the threads that want them, in virtual time: every runnable thread gets its share, as on Linux."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from benchmarks.virtual_time import VirtualTime

#: Work that is less than this is done: sums of shares are not exact.
_DONE_S = 1e-9


@dataclass(slots=True)
class _Running:
    """One thread's piece of work."""

    left_s: float
    weight: float
    then: Callable[[], None]
    rate: float = 0.0


class SharedCores:
    """Shares cores among threads in proportion to their weights, none more than a core (generalized processor sharing).

    A core's scheduler does so over some milliseconds; what a thread gains by waking up is left out. A nice value of 5
    is a weight of 0.33 (the kernel's table: 335 against 1024).
    """

    def __init__(self, time: VirtualTime, cores: float) -> None:
        """Start idle."""
        self._time = time
        self._cores = cores
        self._running: list[_Running] = []
        self._at_s = 0.0
        self._plan = 0

    def work(self, seconds: float, then: Callable[[], None], weight: float = 1.0) -> None:
        """Let a thread that is idle now work for so long, as if alone on a core, and call `then`."""
        self._advance()
        self._running.append(_Running(seconds, weight, then))
        self._share_out()

    def _advance(self) -> None:
        passed_s, self._at_s = self._time.now_s - self._at_s, self._time.now_s
        for thread in self._running:
            thread.left_s -= thread.rate * passed_s

    def _share_out(self) -> None:
        cores, weight = self._cores, sum(thread.weight for thread in self._running)
        for thread in sorted(self._running, key=lambda thread: -thread.weight):
            thread.rate = min(1.0, cores * thread.weight / weight)
            cores, weight = cores - thread.rate, weight - thread.weight
        self._plan += 1
        if self._running:
            next_s = min(max(0.0, thread.left_s) / thread.rate for thread in self._running)
            self._time.at(self._at_s + next_s, partial(self._finish, self._plan))

    def _finish(self, plan: int) -> None:
        if plan != self._plan:
            return  # shares have changed since
        self._advance()
        done = [thread for thread in self._running if thread.left_s <= _DONE_S]
        self._running = [thread for thread in self._running if thread.left_s > _DONE_S]
        self._share_out()
        for thread in done:
            thread.then()
