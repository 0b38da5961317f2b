# SPDX-License-Identifier: AGPL-3.0-or-later
"""How long an output waits before it tries again. Pure but for chance."""

from __future__ import annotations

import random

from vision_line.outputs.message_sink import SinkError

#: The first wait, the longest one, and that of what no quick retry cures; in seconds.
SHORTEST_S = 1.0
LONGEST_S = 60.0
SLOW_S = 60.0
#: What worked for so long has recovered, in seconds.
STABLE_S = 10.0
#: More than this nobody may ask for.
MOST_ASKED_S = 3600.0


class RetryDelay:
    """Doubles with each failure in a row. Many boxes that lose one broker come back a few at a time: a random part."""

    def __init__(self) -> None:
        self._failures = 0

    def after(self, error: SinkError, worked_s: float) -> float:
        """Return how long to wait after one more failure, in seconds; `worked_s` is for how long it worked before.

        A connection that breaks at once each time is no recovery: two clients of one name would take turns for ever.
        """
        self._failures = 1 if worked_s >= STABLE_S else self._failures + 1
        base_s = SLOW_S if error.is_slow else min(SHORTEST_S * 2.0 ** min(self._failures - 1, 16), LONGEST_S)
        delay_s = base_s * random.uniform(0.75, 1.0)  # noqa: S311  no secret
        return max(delay_s, min(error.retry_after_s or 0.0, MOST_ASKED_S))
