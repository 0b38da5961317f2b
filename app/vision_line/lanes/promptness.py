# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether what comes now came just now: what waited while this process did nothing is older. Pure."""

from __future__ import annotations

from vision_line.wakefulness import Wakefulness

#: Who has not come by for so long was asleep, or busy with something else, in seconds.
ASLEEP_S = 0.3
#: So long after it nothing is prompt, in seconds: what waited meanwhile is read by then.
_WAKING_S = 0.09


class Promptness:
    """Is told each 100 ms, and sometimes sooner, that the event loop goes on. Its time goes on in a sleep."""

    def __init__(self, now_s: float) -> None:
        """Begin awake."""
        self._wakefulness = Wakefulness(ASLEEP_S)
        self._is_awake = True
        self.came_by(now_s)

    def came_by(self, now_s: float) -> None:
        """Note that the loop goes on. Just after it was late it may not have read yet what waited meanwhile."""
        self._is_awake = now_s - self._wakefulness.since_s(now_s) >= _WAKING_S
        self._came_by_s = now_s

    def is_prompt(self, now_s: float) -> bool:
        """Whether what is read now did not wait."""
        return self._is_awake and now_s - self._came_by_s <= ASLEEP_S
