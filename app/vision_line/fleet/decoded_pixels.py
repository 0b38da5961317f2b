# SPDX-License-Identifier: AGPL-3.0-or-later
"""How many pixels of a camera are decoded a second, as a plan may count on it. Pure."""

from __future__ import annotations

import statistics
from collections import deque

#: A rate holds once it is the median of this long: after a pause frames come in a burst.
STEADY_S = 20.0
#: What differs by less is the same: each other rate is another question to the planner.
SAME_PERCENT = 10
#: A camera that sends less than before, as one in trouble does, is believed after this long.
LESS_AFTER_S = 600.0


class DecodedPixels:
    """The pixels of one camera. They rise within half a minute, and fall late, so that no plan counts on a pause."""

    def __init__(self) -> None:
        """Begin without knowing any."""
        self.a_second = 0  # 0: not known yet
        self._seen: deque[tuple[float, float]] = deque()
        self._last_enough_s = 0.0

    def note(self, pixels_s: float, now_s: float) -> None:
        """Take in what is decoded a second just now; `now_s` is monotonic, and goes up."""
        if not self._seen:
            self._last_enough_s = now_s
        self._seen.append((now_s, pixels_s))
        if now_s - self._seen[0][0] < STEADY_S:
            return
        steady = round(statistics.median(pixels for _, pixels in self._seen))
        while now_s - self._seen[0][0] >= STEADY_S:
            self._seen.popleft()
        margin = self.a_second * SAME_PERCENT // 100
        if steady > self.a_second + margin:
            self.a_second, self._last_enough_s = steady, now_s
        elif steady >= self.a_second - margin:
            self._last_enough_s = now_s
        elif now_s - self._last_enough_s >= LESS_AFTER_S:
            self.a_second, self._last_enough_s = steady, now_s
