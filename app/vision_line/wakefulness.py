# SPDX-License-Identifier: AGPL-3.0-or-later
"""Since when this program has been running without a break: what waited meanwhile waited for us, not for others."""

from __future__ import annotations

from math import inf


class Wakefulness:
    """Watches a loop that comes by at least every `longest_s`. Pure: time comes with each call.

    A process that was stopped, a machine that slept and a thread that got no processor all look alike: much more time
    has passed than the loop would have waited. No silence and no delay of that time is anybody else's.
    """

    __slots__ = ("_last_s", "_longest_s", "_since_s")

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._last_s = inf
        self._since_s = -inf

    def since_s(self, now_s: float) -> float:
        """Return since when there was no break, on the clock of `now_s`; call it each time the loop comes by."""
        if now_s - self._last_s > self._longest_s:
            self._since_s = now_s
        self._last_s = now_s
        return self._since_s
