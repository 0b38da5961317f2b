# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether a connection's frames are still those that a relay, a recorder or the camera had stored before it."""

from __future__ import annotations

from math import isfinite

from vision_line.ingest.age import FrameAge

#: Frames are held back no longer than this: timestamps that always run too fast look like an endless backlog.
LONGEST_S = 5.0
#: This share of the limit, by which frames came sooner, shows that a backlog was not at its end.
FALL_SHARE = 0.5
LEAST_FALL_S = 0.1  # more than the jitter of most paths


class Opening:
    """One connection's beginning, until frames come no more quickly than they were taken. Pure.

    A pause on the way looks like the end. So it begins again where frames come sooner still.
    """

    def __init__(self, limit_s: float) -> None:
        """Begin before the first frame. `limit_s` is how late one may come; without a limit nothing is held."""
        self._fall_s = max(FALL_SHARE * limit_s, LEAST_FALL_S)
        self._known_s = 0.0  # what was known of the fall at the newest end of a backlog
        self._is_open = isfinite(limit_s)
        self._left_s = LONGEST_S
        self._before_s: float | None = None

    def holds(self, arrived_s: float, age: FrameAge) -> bool:
        """Return whether this frame may be one of a backlog; `age` has seen it."""
        before_s, self._before_s = self._before_s, arrived_s
        if before_s is None:
            return self._is_open
        if self._is_open:
            self._left_s -= arrived_s - before_s
        fell = age.fell_s - self._known_s > self._fall_s
        was_open, self._is_open = self._is_open, age.is_quick and self._left_s > 0.0 and (self._is_open or fell)
        self._known_s = age.fell_s if was_open else min(self._known_s, age.fell_s)
        return self._is_open
