# SPDX-License-Identifier: AGPL-3.0-or-later
"""How much of the processor tiles may take: as much as they are worth, and next to nothing where the line needs it."""

from __future__ import annotations

import os

#: A run that takes more of what it may is taken to need all of it, in percent; tiles are made of what it leaves.
BUSY_PERCENT = 60.0
#: What tiles may take then, of all cores.
BUSY_SHARE = 0.005


class TileBudget:
    """Says when the next tile may be made, from what the last ones cost. Times are the caller's, in seconds."""

    def __init__(self, cores: int = len(os.sched_getaffinity(0))) -> None:
        """Share `cores` with the run."""
        self._cores = cores
        self.is_busy = False  # whether the run needs the processor; any thread
        self._free_s = float("-inf")

    def note_run(self, cpu_percent: float) -> None:
        """Take how much of its cores the run takes now; any thread."""
        self.is_busy = cpu_percent > BUSY_PERCENT

    def spend(self, cpu_s: float, now_s: float) -> None:
        """Take what a tile cost, which ends now."""
        self._free_s = now_s + cpu_s / (BUSY_SHARE * self._cores)

    def wait_s(self, now_s: float) -> float:
        """Return how long to wait before the next tile."""
        return max(0.0, self._free_s - now_s) if self.is_busy else 0.0
