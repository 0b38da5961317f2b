# SPDX-License-Identifier: AGPL-3.0-or-later
"""Notices an engine that never answers: it has failed without saying so."""

from __future__ import annotations

from vision_line.errors import RunError
from vision_line.wakefulness import Wakefulness

#: What takes longer than this will never be done.
STALL_S = 30.0
#: Who waits for results asks for them more often, unless the whole program stands still.
ASKED_EVERY_S = 5.0


class StallWatch:
    """Watches what is in flight. A time in which this program did not run was none for the engine either."""

    def __init__(self, engine: str) -> None:
        """`engine` begins the error's sentence: "cpu: the engine"."""
        self._engine = engine
        self._wakefulness = Wakefulness(ASKED_EVERY_S)

    def check(self, now_s: float, submitted_s: float) -> None:
        """Check the oldest batch in flight by when it was submitted; call it whenever results are asked for.

        Raises:
            RunError: it was not answered in time.
        """
        awake_s = self._wakefulness.since_s(now_s)
        if now_s - max(submitted_s, awake_s) > STALL_S:
            raise RunError(f"{self._engine} has not answered for {STALL_S:.0f} s")
