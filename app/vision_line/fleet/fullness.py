# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether a running box can take no more cameras, whatever was measured before it ran. Pure."""

from __future__ import annotations

#: A box that cannot keep up for this long is full.
FULL_AFTER_S = 30.0
#: One that could all this time has room again.
ROOM_AFTER_S = 120.0


class Fullness:
    """Follows whether the box keeps up; a moment says nothing in either way."""

    def __init__(self) -> None:
        """Begin with room."""
        self.is_full = False
        self._since_s: float | None = None  # since when it has been the other way

    def note(self, *, lacks_capacity: bool, now_s: float) -> None:
        """Take in whether cameras are inspected too rarely because the box is too slow; `now_s` is monotonic."""
        if lacks_capacity == self.is_full:
            self._since_s = None
            return
        if self._since_s is None:
            self._since_s = now_s
        if now_s - self._since_s >= (ROOM_AFTER_S if self.is_full else FULL_AFTER_S):
            self.is_full, self._since_s = lacks_capacity, None
