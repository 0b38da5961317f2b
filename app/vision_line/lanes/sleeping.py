# SPDX-License-Identifier: AGPL-3.0-or-later
"""How long this machine slept: the belt went on meanwhile, and the monotonic clock stood.

What a machine that sorts was told grows old by the time that truly passes: the monotonic clock and the sleep.
"""

from __future__ import annotations

import time


def asleep_s() -> float:
    """Return how long this machine slept since it was started, in seconds."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()


def elapsed_s() -> float:
    """Return the time that passed since this machine was started, its sleep with it, in seconds."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
