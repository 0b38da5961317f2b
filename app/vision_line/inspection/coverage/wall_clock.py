# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which UTC time a moment of the monotonic clock bears, and when somebody set the wall clock or the machine slept."""

from __future__ import annotations

from vision_line.frames import ClockStep

#: Two readings of the clocks that agree to this are taken for the same: a thread may be held between them.
JITTER_S = 0.02
#: A clock that is off by more was set; by less it drifts or is slewed, and is followed.
STEP_S = 0.5


class WallClock:
    """Labels monotonic seconds with UTC, by one offset between two steps of the wall clock. Pure.

    On Linux adjustments by NTP slew both clocks alike, so that what changes their distance is a step, or a sleep of the
    machine, during which the monotonic clock stands still. `asleep_s` is how long it has slept in all.
    """

    def __init__(self, now_s: float, now_utc: float, asleep_s: float | None = None) -> None:
        """Begin with what the clocks say now; without `asleep_s` the first reading tells how long it slept before."""
        self.steps = 0
        self._offset_s = now_utc - now_s
        self._asleep_s = asleep_s

    def utc_of(self, at_s: float) -> float:
        """Return what the wall clock, as it is set now, would have said at `at_s`."""
        return at_s + self._offset_s

    def read(self, now_s: float, now_utc: float, asleep_s: float) -> tuple[float, ClockStep | None]:
        """Take in the clocks; return how long the machine slept since the last reading, and the step if there is one.

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
