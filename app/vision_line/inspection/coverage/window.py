# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether one line is looked at often enough: each part must get its looks while it is in the picture."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class Need:
    """What a camera's line needs to count as inspected.

    `looks` at every part that is in the picture for `dwell_s`, and none further than `gap_s` from the next.
    """

    gap_s: float
    looks: int = 1
    dwell_s: float = inf
    waits_s: float = 0.0  # how long a frame may wait for a place on the device (`max_staleness_ms`)
    cap_fps: float | None = None  # the camera's `inspect_fps`
    every_frame: bool = False  # a file at the device's own pace: it waits, so no whole frame lacks its look

    @property
    def proves_after_s(self) -> float:
        """How long it takes to tell a line that is looked at too rarely from one that has just begun."""
        return self.gap_s if self.dwell_s == inf else max(self.gap_s, self.dwell_s)

    @property
    def fps(self) -> float:
        """The looks a second that are needed, evenly spread."""
        return max(self.looks / self.dwell_s, 1.0 / self.gap_s)


class ObservationWindow:
    """The last looks at one camera's line. Pure.

    The rule: a part that enters at `e` is in the picture until `e + dwell_s`, and was inspected if `looks` looks or
    more fall into that time. For looks in a row t0, t1, ... it says: `looks` + 1 of them that span more than
    `dwell_s` are too few, because a part that came right after the first had left before the last. The stays of all
    the parts that came so fill the time from the first to the last of them, and nothing else. So an interval that is
    not inspected begins with a look and ends with a look, is the union of the stays of those parts, and lasts longer
    than `dwell_s`: a rate that hovers about the need makes few long intervals, no flicker.

    Beside it holds the bound on a single gap: two looks in a row more than `gap_s` apart are too few as well.
    """

    __slots__ = ("_looks", "need")

    def __init__(self, start_s: float, need: Need) -> None:
        """Begin at `start_s`: no look is known, and parts come from then on."""
        self.need = need
        self._looks = deque([start_s], maxlen=need.looks)

    def require(self, need: Need) -> None:
        """Let another need hold from now on."""
        self.need = need
        self._looks = deque(self._looks, maxlen=need.looks)

    @property
    def first_s(self) -> float:
        """The earliest of the last `looks` looks: the next look decides about parts that came after it."""
        return self._looks[0]

    @property
    def last_s(self) -> float:
        """The latest look, or the start."""
        return self._looks[-1]

    def lacking(self, at_s: float, patience_s: float = 0.0) -> float | None:
        """Return since when the line is not inspected, if the next look after `last_s` comes at `at_s`; None: it is."""
        if at_s - self._looks[0] > self.need.dwell_s + patience_s:
            return self._looks[0]
        return self._looks[-1] if at_s - self._looks[-1] > self.need.gap_s + patience_s else None

    def add(self, at_s: float) -> None:
        """Take in a look; it is later than `last_s`."""
        self._looks.append(at_s)

    def begin(self, at_s: float) -> None:
        """Forget all looks: what is watched begins at `at_s`."""
        self._looks.clear()
        self._looks.append(at_s)

    def forget_after(self, at_s: float) -> None:
        """Take back the looks later than `at_s`, when what they all show was looked at once."""
        while self._looks and self._looks[-1] >= at_s:
            self._looks.pop()
        self._looks.append(at_s)
