# SPDX-License-Identifier: AGPL-3.0-or-later
"""The cause where a camera runs without obstacle and still gets too few inspections."""

from __future__ import annotations

from collections import deque

from vision_line.frames import DropCause
from vision_line.inspection.coverage.causes import CAPACITY, DAMAGED, DECODING, LATE, RATE_CAP, SLOW
from vision_line.inspection.coverage.minutes import CameraCounts
from vision_line.inspection.coverage.window import Need

#: Number of samples over the evaluated span.
_RESOLUTION = 16
#: Shorter spans have too few frames to evaluate.
_LEAST_SPAN_S = 1.0


class FrameFlow:
    """Counters of recent frames, over the time for which a part stays in view. Pure."""

    __slots__ = ("_cap_fps", "_fps", "_samples", "_span_s")

    def __init__(self, need: Need) -> None:
        self._samples: deque[tuple[float, CameraCounts]] = deque()
        self.require(need)

    def require(self, need: Need) -> None:
        """Evaluate against another need from now on."""
        self._fps, self._cap_fps = need.fps, need.cap_fps
        self._span_s = max(need.proves_after_s, _LEAST_SPAN_S)

    def note(self, at_s: float, counts: CameraCounts) -> None:
        """Add the camera's counters at `at_s`."""
        samples = self._samples
        if len(samples) > 1 and at_s - samples[-2][0] < self._span_s / _RESOLUTION:
            samples.pop()
        samples.append((at_s, counts))
        while len(samples) > 2 and samples[1][0] <= at_s - self._span_s:
            samples.popleft()

    def cause(self) -> str:
        """Return the bottleneck: the camera, `inspect_fps`, decoding or the device."""
        if len(self._samples) < 2:
            return CAPACITY
        (from_s, before), (to_s, now) = self._samples[0], self._samples[-1]
        needed = self._fps * (to_s - from_s)
        arrived, inspected = now.arrived - before.arrived, now.inspected - before.inspected
        if arrived <= max(needed, inspected + 1):  # one may be in flight
            return SLOW
        if arrived - _dropped(before, now, DropCause.CORRUPT) < needed or self._is_damaged_since_inspection():
            return DAMAGED
        if self._is_capped(inspected, to_s - from_s) and _dropped(before, now, DropCause.RATE_CAP):
            return RATE_CAP
        behind, shed = _dropped(before, now, DropCause.BEHIND), _dropped(before, now, DropCause.SHED)
        # Where frames come late, those that were just not late enough to be skipped turn stale with the shortest wait.
        late = behind + shed + (_dropped(before, now, DropCause.STALE) if behind else 0)
        if not late or arrived - late >= needed:
            return CAPACITY
        return DECODING if shed else LATE

    def _is_damaged_since_inspection(self) -> bool:
        """Whether most frames since the last inspection were damaged, though enough were whole before it."""
        now = self._samples[-1][1]
        before = next(counts for _, counts in self._samples if counts.inspected == now.inspected)
        arrived = now.arrived - before.arrived
        return arrived > 1 and 2 * _dropped(before, now, DropCause.CORRUPT) > arrived

    def _is_capped(self, inspected: int, over_s: float) -> bool:
        """Whether the camera was inspected as often as its `inspect_fps` allows."""
        return self._cap_fps is not None and inspected >= int(self._cap_fps * over_s) - 1


def _dropped(before: CameraCounts, now: CameraCounts, *causes: DropCause) -> int:
    return sum(now.dropped.get(cause, 0) - before.dropped.get(cause, 0) for cause in causes)
