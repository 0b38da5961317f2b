# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who has which item before them now: two people at once get different ones. In memory; a restart forgets them all.

A lease ends by itself. Whoever was slower than that is not turned away: their answer counts beside the other's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

#: How long an item that was handed out is kept from others, in seconds.
LEASE_S = 600.0


class ReviewLeases:
    """All leases; from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[str, tuple[str, float]] = {}

    def take(self, key: str, person: str) -> bool:
        """Give an item to a person for a while, again if they have it; False: another has it."""
        now_s = self._clock()
        with self._lock:
            holder, until_s = self._held.get(key, (person, now_s))
            if holder != person and until_s > now_s:
                return False
            if len(self._held) > 1000:
                self._held = {one: held for one, held in self._held.items() if held[1] > now_s}
            self._held[key] = (person, now_s + LEASE_S)
        return True

    def end(self, key: str) -> None:
        """Let others have an item: it was answered."""
        with self._lock:
            self._held.pop(key, None)
