# SPDX-License-Identifier: AGPL-3.0-or-later
"""Maps the monotonic clock to UTC, and detects steps of the wall clock and sleep of the machine."""

from __future__ import annotations

from vision_line.frames import ClockStep

#: Readings of the clocks that agree to this are equal: a thread may be suspended between them.
JITTER_S = 0.02
#: A larger difference is a step; a smaller one is drift or slew, which is followed.
STEP_S = 0.5


class WallClock:
    """Labels monotonic seconds with UTC, by one offset between two steps of the wall clock. Pure.

    On Linux NTP slews both clocks alike, so a change of their difference is a step, or a sleep of the machine, during
    which the monotonic clock stands still. `asleep_s` is the total time of sleep.
    """

    def __init__(self, now_s: float, now_utc: float, asleep_s: float | None = None) -> None:
        """Start with the present clocks; without `asleep_s` the first reading gives the sleep so far."""
        self.steps = 0
        self._offset_s = now_utc - now_s
        self._asleep_s = asleep_s

    def utc_of(self, at_s: float) -> float:
        """Return the time of the wall clock, as it is set now, at `at_s`."""
        return at_s + self._offset_s

    def read(self, now_s: float, now_utc: float, asleep_s: float) -> tuple[float, ClockStep | None]:
        """Read the clocks; return the time of sleep since the last reading, and a step if there is one.

        Call it several times a second.
        """
        slept_s = 0.0 if self._asleep_s is None else asleep_s - self._asleep_s
        slept_s = slept_s if slept_s > STEP_S else 0.0
        self._asleep_s = asleep_s
        self._offset_s += slept_s
        off_s = now_utc - now_s - self._offset_s
        if abs(off_s) <= JITTER_S:
            return slept_s, None
        from_utc = self.utc_of(now_s)
        self._offset_s += off_s
        if abs(off_s) <= STEP_S:
            return slept_s, None
        self.steps += 1
        return slept_s, ClockStep(self.steps, now_s, from_utc, now_utc)
