# SPDX-License-Identifier: AGPL-3.0-or-later
"""Smoothing of a number that an operator acts on."""

from __future__ import annotations

from collections import deque
from statistics import median_low

#: The shown number follows the median of this time.
WINDOW_S = 30.0


class SteadyNumber:
    """Follows a noisy number down at once, and up only by two or more: for a number that promises capacity.

    A number that alternates between two neighbours is shown as the lower one.
    """

    def __init__(self) -> None:
        """Begin without a number."""
        self._recent: deque[tuple[float, int]] = deque()  # when (monotonic seconds), number
        self._shown: int | None = None

    def show(self, number: int, now_s: float) -> int:
        """Return what to show now that `number` is measured."""
        if self._recent and now_s - self._recent[-1][0] > WINDOW_S:
            self._shown = None  # it was not read for this long
        self._recent.append((now_s, number))
        while now_s - self._recent[0][0] > WINDOW_S:
            self._recent.popleft()
        usual = median_low(number for _, number in self._recent)
        if self._shown is None or usual < self._shown or usual > self._shown + 1:
            self._shown = usual
        return self._shown
