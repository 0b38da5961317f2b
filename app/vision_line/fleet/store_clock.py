# SPDX-License-Identifier: AGPL-3.0-or-later
"""How far the store's clock is from this machine's: the server that leads it dates what is written. Pure.

What boxes said before a power cut is as old as these dates say. Where the servers' clocks differ, and another one leads
afterwards, time in which nobody inspected would be too long or too short.
"""

from __future__ import annotations

from collections import deque

from vision_line.fleet.coordination import StoreEntry

#: Clocks that are further apart are an alarm, in seconds.
APART_S = 2.0
#: So many values are compared: each comes later than it was dated, and the one that came soonest counts.
_COMPARED = 5


class StoreClock:
    """Compares the dates of this node's own heartbeats with when they come back."""

    def __init__(self) -> None:
        """Begin with nothing known."""
        self._offsets_s = deque[float](maxlen=_COMPARED)
        self._revision = 0

    def note(self, echo: StoreEntry, now_utc: float) -> None:
        """Take in a heartbeat as the watch brought it; one that was seen before says nothing of now."""
        if echo.revision > self._revision and echo.created_s:
            self._offsets_s.append(echo.created_s - now_utc)
        self._revision = echo.revision

    @property
    def apart_s(self) -> float | None:
        """How far the store's clock is ahead of this machine's, in seconds, where that is an alarm."""
        if len(self._offsets_s) < _COMPARED:
            return None
        offset_s = max(self._offsets_s)
        return offset_s if abs(offset_s) > APART_S else None
