# SPDX-License-Identifier: AGPL-3.0-or-later
"""How long to wait before a camera is opened again: exponential back-off with full jitter, as a pure function.

Full jitter (a wait drawn evenly from 0 to the current limit) keeps sixteen cameras behind one restarted switch from
knocking at the same moment. See M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from __future__ import annotations

from dataclasses import dataclass

from vision_line.errors import SLOW_RETRY_CODES, SourceErrorCode

FIRST_LIMIT_S = 0.5
QUICK_CAP_S = 4.0
SLOW_CAP_S = 30.0
SLOW_FLOOR_S = 1.0
HEALTHY_AFTER_S = 60.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """What is remembered between two attempts; `has_run` once the camera has given a frame."""

    failures: int = 0
    has_run: bool = False

    def after_run(self, ran_for_s: float) -> Backoff:
        """Return the memory after a connection that gave frames for `ran_for_s` seconds; a long one clears it."""
        if ran_for_s <= 0:
            return self
        return Backoff(0 if ran_for_s >= HEALTHY_AFTER_S else self.failures, has_run=True)

    def after_failure(self) -> Backoff:
        """Return the memory after one more lost or failed connection."""
        return Backoff(self.failures + 1, self.has_run)

    def wait_s(self, code: SourceErrorCode | None, chance: float) -> float:
        """Return the wait in seconds before the next attempt; `chance` is drawn evenly from 0..1.

        A camera that has run before is waited for at most `QUICK_CAP_S`, one that never has, or whose error no quick
        retry cures, up to `SLOW_CAP_S` (and then at least `SLOW_FLOOR_S`: a wrong password tried often locks accounts).
        """
        slow = code in SLOW_RETRY_CODES
        cap_s = QUICK_CAP_S if self.has_run and not slow else SLOW_CAP_S
        limit_s = min(cap_s, FIRST_LIMIT_S * 2.0 ** min(max(self.failures - 1, 0), 16))
        floor_s = SLOW_FLOOR_S if slow else 0.0
        return max(floor_s, limit_s * chance)
