# SPDX-License-Identifier: AGPL-3.0-or-later
"""When a clip shows its frames: as they arrived, strictly rising, whatever the camera's clock says. Pure."""

from __future__ import annotations

from heapq import heappushpop

#: Ticks a second.
CLOCK_HZ = 90_000
#: The deepest reordering that H.264 and H.265 know (16 frames), and what a frame's turn is spaced by at the beginning.
REORDERED = 16
#: A camera's clock that goes back or ahead by more was set.
JUMP_S = 2.0


class ClipClock:
    """Gives each frame of a clip, in the order of decoding, its times of presentation and of decoding in ticks.

    Frames that are shown as they come have both from their arrival. Where they are not, the camera's own times keep
    their order, and the times of decoding are those of presentation in rising order, so many frames earlier as may be
    reordered.
    """

    def __init__(self, *, reorders: bool) -> None:
        """Begin at 0."""
        self.reorders = reorders
        self._began_s: float | None = None
        self._newest = -1
        self._waiting: list[int] | None = None
        if reorders:
            self._waiting = list(range(REORDERED))  # a heap, as it is sorted
        self._offset_s = 0.0
        self._newest_pts_s = 0.0

    def stamp(self, arrived_s: float, pts_s: float | None) -> tuple[int, int]:
        """Return presentation and decoding time of the next frame."""
        if self._waiting is None or pts_s is None:
            self._began_s = arrived_s if self._began_s is None else self._began_s
            at = self._risen(round((arrived_s - self._began_s) * CLOCK_HZ))
            return at, at
        at = REORDERED + round(self._steady_s(pts_s) * CLOCK_HZ)
        decoded = self._risen(heappushpop(self._waiting, at))
        return max(at, decoded), decoded

    def _risen(self, at: int) -> int:
        self._newest = max(self._newest + 1, at)
        return self._newest

    def _steady_s(self, pts_s: float) -> float:
        """Return the camera's time since the clip's beginning, without what its clock was set by."""
        if self._began_s is None:
            self._began_s = self._newest_pts_s = pts_s
        if abs(pts_s - self._newest_pts_s) > JUMP_S:
            self._offset_s += self._newest_pts_s + 0.04 - pts_s
        self._newest_pts_s = pts_s
        return max(0.0, pts_s + self._offset_s - self._began_s)
