# SPDX-License-Identifier: AGPL-3.0-or-later
"""A number that an operator reads and acts on, held still while what it is made of jumps."""

from __future__ import annotations

from collections import deque
from statistics import median_low

#: What is shown follows the median of so many seconds.
WINDOW_S = 30.0


class SteadyNumber:
    """Follows a jumping number down, and up by two or more: for a number that promises something, such as room.

    What jumps by one around a value is shown as the lower of both, and stays.
    """

    def __init__(self) -> None:
        """Begin without a number."""
        self._recent: deque[tuple[float, int]] = deque()  # when (monotonic seconds), number
        self._shown: int | None = None

    def show(self, number: int, now_s: float) -> int:
        """Return what to show now that `number` is measured."""
        if self._recent and now_s - self._recent[-1][0] > WINDOW_S:
            self._shown = None  # nobody has read it for so long
        self._recent.append((now_s, number))
        while now_s - self._recent[0][0] > WINDOW_S:
            self._recent.popleft()
        usual = median_low(number for _, number in self._recent)
        if self._shown is None or usual < self._shown or usual > self._shown + 1:
            self._shown = usual
        return self._shown
