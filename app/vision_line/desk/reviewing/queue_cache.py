# SPDX-License-Identifier: AGPL-3.0-or-later
"""Queues that take long to make are used again for a while, so that reviewing costs at most a twentieth of a core."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from vision_line.desk.local_time import ChosenTime
from vision_line.desk.reviewing.review_turn import Queue

#: A queue that took less processor time than this is made anew each time, in seconds.
QUICK_S = 0.1
#: It is used for so many times the time that it took.
_WORTH = 20
_MOST = 4


class QueueCache:
    """The newest slow queues by their time; from any thread, one of which makes one at a time."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, used_s: Callable[[], float] = time.thread_time
    ) -> None:
        self._clock = clock
        self._used_s = used_s
        self._lock = threading.Lock()
        self._kept: dict[ChosenTime, tuple[Queue, float]] = {}

    def get(self, of: ChosenTime, make: Callable[[], Queue]) -> Queue:
        """Return the queue of a time; what `make` raises comes through."""
        with self._lock:
            kept = self._kept.get(of)
            if kept is not None and kept[1] > self._clock():
                return kept[0]
            self._kept.pop(of, None)
            began_s = self._used_s()
            queue = make()
            took_s = self._used_s() - began_s
            if took_s > QUICK_S:
                self._kept[of] = (queue, self._clock() + took_s * _WORTH)
                self._kept = dict(list(self._kept.items())[-_MOST:])
        return queue
