# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where the belt is, by the counts of its encoder. Pure.

Counts have 32 bits and wrap around. A position is how far the belt came since the first count, in millimetres; it never
falls.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from math import inf

#: So many counts are kept: more than a minute of a PLC that tells each 10 ms.
_KEPT = 8192
_WRAP = 2**32
#: A belt that is so much faster than its fastest was not measured, but counted anew: half faster for as long as a count
#: may be late, and this.
_FASTER, _JITTER_S = 1.5, 0.04
_ROOM_MM = 20.0


class Belt:
    """The counts of one lane, in their order."""

    def __init__(self, mm_per_count: float, fastest_mm_per_s: float, pause_s: float) -> None:
        """`pause_s` is how long the encoder may be silent while the belt moves.

        After a longer silence a count is believed only as far as the belt can come in `pause_s`: nobody could tell more
        from one that is wrong, and parts would be where no camera sees them.
        """
        self._mm_per_count = mm_per_count
        self._fastest = fastest_mm_per_s
        self._pause_s = pause_s
        self._count: int | None = None
        self._begun_mm = 0.0  # where it was when the encoder began
        self._times: deque[float] = deque(maxlen=_KEPT)
        self._positions: deque[float] = deque(maxlen=_KEPT)

    @property
    def horizon_s(self) -> float:
        """Up to when it is known where the belt was."""
        return self._times[-1] if self._times else -inf

    @property
    def position_mm(self) -> float:
        """Where it was then."""
        return self._positions[-1] if self._positions else 0.0

    def add(self, count: int, at_s: float) -> bool:
        """Take a count; return whether it goes on from the one before: else the encoder began anew.

        One that is not newer than the last is passed over.
        """
        if self._count is None:
            self._begin(count, at_s)
            return True
        passed_s = at_s - self.horizon_s
        if passed_s <= 0:
            return True
        moved_mm = self._moved_mm(count)
        if not -_ROOM_MM <= moved_mm <= self._farthest_mm(passed_s):
            self._begin(count, at_s)
            return False
        if moved_mm < 0:  # it trembles: it is taken to be where it was, which it is once it has come back there
            moved_mm = 0.0
        else:
            self._count = count
        self._append(at_s, self.position_mm + moved_mm)
        return True

    def agrees(self, position_mm: float, at_s: float) -> bool:
        """Whether the belt can have been at a position at a moment, by the other counts of that time."""
        counted_mm = self.position_at(at_s)
        return counted_mm is None or abs(position_mm - counted_mm[1]) <= self._farthest_mm(self._pause_s)

    def knows(self, position_mm: float) -> bool:
        """Whether all that the belt did from a position on was counted: not before the encoder began."""
        return position_mm >= max(self._begun_mm, self._positions[0] if self._positions else 0.0)

    def position_of(self, count: int) -> float | None:
        """Return the position of a count near the last one, None without one."""
        return None if self._count is None else self.position_mm + self._moved_mm(count)

    def position_at(self, at_s: float) -> tuple[float, float] | None:
        """Return between which positions the belt was; None where that is not known any more, or not yet."""
        if not self._times or not self._times[0] <= at_s <= self.horizon_s:
            return None
        index = bisect_left(self._times, at_s)
        later_mm = self._positions[index]
        return (later_mm if self._times[index] == at_s else self._positions[index - 1]), later_mm

    def reached_s(self, position_mm: float) -> tuple[float, float] | None:
        """Return between which moments the belt reached a position, None: it has not yet."""
        if not self._times or position_mm > self.position_mm:
            return None
        index = bisect_left(self._positions, position_mm)
        return self._times[max(index - 1, 0)], self._times[index]

    def earliest_s(self, position_mm: float) -> float:
        """Return when the belt reached a position, or will at the earliest."""
        reached = self.reached_s(position_mm)
        if reached is not None:
            return reached[0]
        return self.horizon_s + (position_mm - self.position_mm) / self._fastest

    def _farthest_mm(self, passed_s: float) -> float:
        """Return how far the belt can have come between two counts."""
        moving_s = min(passed_s, self._pause_s)
        return self._fastest * (moving_s + (_FASTER - 1) * min(passed_s, _JITTER_S)) + _ROOM_MM

    def _moved_mm(self, count: int) -> float:
        counts = (count - (self._count or 0)) % _WRAP
        return (counts - _WRAP if counts >= _WRAP // 2 else counts) * self._mm_per_count

    def _begin(self, count: int, at_s: float) -> None:
        """Begin anew behind what was: positions of before stay in the past."""
        self._count, self._begun_mm = count, self.position_mm
        self._append(at_s, self.position_mm)

    def _append(self, at_s: float, position_mm: float) -> None:
        if len(self._positions) > 1 and self._positions[-2] == position_mm:  # it stands: its first and last moment do
            self._times[-1] = at_s
            return
        self._times.append(at_s)
        self._positions.append(position_mm)
