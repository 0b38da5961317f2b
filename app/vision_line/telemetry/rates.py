# SPDX-License-Identifier: AGPL-3.0-or-later
"""Rates over a sliding window, from differences of counters that only ever grow."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping


class SlidingRates:
    """Keeps samples of named counters and returns the rate of each. Used by one thread.

    Memory is bounded: samples closer than a `RESOLUTION`-th of the window replace each other.
    """

    RESOLUTION = 16

    def __init__(self, window_s: float = 5.0) -> None:
        """Start empty; rates cover the last `window_s` seconds, or less at the start."""
        self._window_s = window_s
        self._samples: deque[tuple[float, Mapping[str, float]]] = deque()

    def sample(self, now_s: float, counters: Mapping[str, float]) -> dict[str, float]:
        """Note the counters and return the growth of each per second; 0 at the first sample.

        A counter that was missing in the older sample counts as having been 0.
        """
        samples = self._samples
        while len(samples) > 1 and samples[1][0] <= now_s - self._window_s:
            samples.popleft()
        past_s, past = samples[0] if samples else (now_s, counters)
        if not samples or now_s - samples[-1][0] >= self._window_s / self.RESOLUTION:
            samples.append((now_s, dict(counters)))
        elapsed_s = now_s - past_s
        if elapsed_s <= 0:
            return dict.fromkeys(counters, 0.0)
        return {name: max(0.0, (value - past.get(name, 0)) / elapsed_s) for name, value in counters.items()}
