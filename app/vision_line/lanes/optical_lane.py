# SPDX-License-Identifier: AGPL-3.0-or-later
"""The parts of one lane that a camera sees itself: from what the run says to what crossed. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from vision_line.feed.protocol import Header
from vision_line.lanes.crossing_line import CrossingRule
from vision_line.lanes.crossing_watch import Crossing, CrossingWatch
from vision_line.lanes.feed_facts import objects_frame
from vision_line.lanes.watch_before import WatchBefore
from vision_line.parts.part import PartCause


class OpticalLane:
    """One lane; nothing is accepted while `stops` says why no part would be seen."""

    def __init__(self, rule: CrossingRule, delay_s: float, before: WatchBefore | None = None) -> None:
        """Watch a camera whose frames show what was `delay_s` before; `before` is what who watched it last left."""
        self._watch = CrossingWatch(rule, before)
        self._delay_s = delay_s
        self._problem = ""

    def line_came(self, classes: Sequence[str]) -> None:
        """Note which classes the run's model has."""
        unknown = sorted(self._watch.rule.classes.difference(classes))
        self._problem = f"the run's model has no class {', '.join(unknown)}: no such part is seen" if unknown else ""

    def line_went(self) -> None:
        """Note that the run is gone."""
        self._watch.line_went()

    def slept(self, slept_s: float) -> None:
        """Note that this machine slept."""
        self._watch.slept(slept_s)

    def result(self, header: Header) -> list[Crossing]:
        """Take a `result` of any camera; return the parts that follow from it."""
        if header["camera"] != self._watch.rule.camera:
            return []
        frame = objects_frame(header, self._delay_s)
        if frame is None:
            self._problem = "the run is of an older version, which does not say which objects it follows"
            return []
        return self._watch.take(frame)

    def end(self, now_s: float) -> list[Crossing]:
        """Return the parts of which nobody will know any more whether they crossed."""
        return self._watch.end(now_s)

    def left(self) -> WatchBefore:
        """Return what who watches next must know."""
        return self._watch.left()

    @property
    def stops(self) -> dict[PartCause, str]:
        """Why no part is seen, in words; mostly empty."""
        return {PartCause.CROSSING: self._problem} if self._problem else {}

    def status(self) -> Header:
        """Return what was no part."""
        return {"near_misses": self._watch.near_misses, "beside_line": self._watch.beside}
