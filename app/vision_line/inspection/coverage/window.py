# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether one camera is inspected often enough: each part needs its inspections while it is in view."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class Need:
    """What a camera needs to count as inspected.

    `inspections` of every part, which is in view for `dwell_s`, and at most `gap_s` between two of them.
    """

    gap_s: float
    inspections: int = 1
    dwell_s: float = inf
    waits_s: float = 0.0  # longest wait of a frame for a device slot (`max_staleness_ms`)
    cap_fps: float | None = None  # the camera's `inspect_fps`
    repeats_s: float = 0.0  # longest time in which one image may have been inspected again and again unnoticed
    every_frame: bool = False  # a file that is not played in real time: it waits, so every whole frame is inspected

    @property
    def proves_after_s(self) -> float:
        """Time after which a camera that is inspected too rarely differs from one that has just started."""
        return self.gap_s if self.dwell_s == inf else max(self.gap_s, self.dwell_s)

    @property
    def fps(self) -> float:
        """Required inspections per second, evenly spread."""
        return max(self.inspections / self.dwell_s, 1.0 / self.gap_s)


class InspectionWindow:
    """The last inspections of one camera. Pure.

    The rule: a part that enters at `e` is in view until `e + dwell_s`, and was inspected if at least `inspections`
    of them fall into that time. For inspections at t0, t1, ... this means: `inspections` + 1 of them that span
    more than `dwell_s` are too few, because a part that came right after the first had left before the last. The stays
    of all such parts fill the time from the first to the last of them, and nothing else. So an interval that is not
    inspected starts and ends with an inspection, is the union of the stays of those parts, and lasts longer than
    `dwell_s`: a rate close to the need gives few long intervals, not many short ones.

    In addition, two successive inspections more than `gap_s` apart are too few.
    """

    __slots__ = ("_inspected_s", "need")

    def __init__(self, start_s: float, need: Need) -> None:
        """Start at `start_s`: no inspection is known, and parts come from then on."""
        self.need = need
        #: The window are the last `need.inspections` of these. The others take their places where the last ones turn
        #: out to be of one image.
        self._inspected_s = deque([start_s])

    def require(self, need: Need) -> None:
        """Use another need from now on."""
        self.need = need
        self._remove_older()

    @property
    def first_s(self) -> float:
        """The earliest inspection of the window: the next one decides about parts that came after it."""
        known, wanted = self._inspected_s, self.need.inspections
        return known[-wanted] if len(known) > wanted else known[0]

    @property
    def last_s(self) -> float:
        """The latest inspection, or the start."""
        return self._inspected_s[-1]

    def uninspected_since(self, at_s: float, patience_s: float = 0.0) -> float | None:
        """Return since when the camera is not inspected if the next inspection is at `at_s`; None: it is."""
        first_s = self.first_s
        if at_s - first_s > self.need.dwell_s + patience_s:
            return first_s
        return self._inspected_s[-1] if at_s - self._inspected_s[-1] > self.need.gap_s + patience_s else None

    def add(self, at_s: float) -> None:
        """Add an inspection; it is later than `last_s`."""
        self._inspected_s.append(at_s)
        self._remove_older()

    def begin(self, at_s: float) -> None:
        """Drop all inspections and start at `at_s`."""
        self._inspected_s.clear()
        self._inspected_s.append(at_s)

    def drop_after(self, at_s: float) -> None:
        """Drop the inspections later than `at_s`: they all show the frame of `at_s`."""
        while self._inspected_s and self._inspected_s[-1] >= at_s:
            self._inspected_s.pop()
        self._inspected_s.append(at_s)

    def _remove_older(self) -> None:
        """Keep a whole window before each moment from which on one image may have been inspected again and again."""
        known, wanted = self._inspected_s, self.need.inspections
        least_s = known[-1] - self.need.repeats_s
        while len(known) > wanted and known[wanted] <= least_s:
            known.popleft()
