# SPDX-License-Identifier: AGPL-3.0-or-later
"""One object as far as it was followed across a line: where it was seen, and where it must be when it is not. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import hypot, inf
from typing import NamedTuple

from vision_line.lanes.crossing_line import LinePlace
from vision_line.parts.part import PartCause

#: An object that goes back over the line by this share of its depth did not tremble.
BACK_SHARE = 0.5
#: So near to where an object must be it is found anew: a share of its size, and of the way since it was seen.
SIZE_SHARE, WAY_SHARE = 0.5, 0.3
#: Sights from which an object's own speed comes.
_SIGHTS = 8


class BeltSpeed(NamedTuple):
    """How fast something moves: pixels towards and beyond the line, and shares of the line's length, a second."""

    along: float
    across: float


class OnLine(NamedTuple):
    """When a centre was on the line, and where between its ends, 0 to 1."""

    at_s: float
    across: float


class Sight(NamedTuple):
    """An object in a frame: its centre, its larger side, how far it reaches across the line, its track's hits."""

    at_s: float
    place: LinePlace
    size_px: float
    depth_px: float
    hits: int
    is_of_class: bool
    was_of_class: bool


def on_line(earlier_s: float, earlier: LinePlace, later_s: float, later: LinePlace) -> OnLine:
    """Return when a centre that went straight and evenly was on the line; it was before it, and then was not."""
    share = -earlier.along_px / (later.along_px - earlier.along_px)
    return OnLine(earlier_s + share * (later_s - earlier_s), earlier.across + share * (later.across - earlier.across))


@dataclass(slots=True)
class ObjectPath:
    """An object. `number` is its track's, None where that has ended; `gap` is why time at its ends was not inspected.

    `crossed` is where it crossed, `cause` why that is no part that could be inspected. `passed` is where it must have
    crossed while it was not seen. `missed` counts the newest frames that do not show it. `is_part`: it is a part
    already; where it has not `crossed`, by another line, before this one was watched.
    """

    number: int | None
    gap: PartCause = PartCause.NONE
    crossed: OnLine | None = None
    cause: PartCause = PartCause.NONE
    is_counted: bool = False
    is_part: bool = False
    passed: OnLine | None = None
    missed: int = 0
    expected: LinePlace = field(default_factory=lambda: LinePlace(0.0, 0.0))
    is_anew: bool = False
    was_of_class: bool = False
    was_before: bool = False
    sights: deque[Sight] = field(default_factory=lambda: deque(maxlen=_SIGHTS))
    _furthest_px: float = -inf
    _earlier_hits: int = 0

    @property
    def hits(self) -> int:
        """How often it was hit, by all of its tracks."""
        return self._earlier_hits + self.sights[-1].hits

    @property
    def speed(self) -> BeltSpeed | None:
        """How fast it was, None where nobody knows."""
        first, last = self.sights[0], self.sights[-1]
        passed_s = last.at_s - first.at_s
        if passed_s <= 0:
            return None
        return BeltSpeed(
            (last.place.along_px - first.place.along_px) / passed_s, (last.place.across - first.place.across) / passed_s
        )

    @property
    def went_back(self) -> bool:
        """Whether it moved away from the line when it was seen last."""
        last = self.sights[-1]
        return last.place.along_px < self._furthest_px - BACK_SHARE * last.depth_px

    def distance_px(self, place: LinePlace, line_px: float) -> float:
        """Return how far a centre is from where this object must be, infinite where it cannot be this one."""
        last = self.sights[-1]
        off_px = hypot(place.along_px - self.expected.along_px, (place.across - self.expected.across) * line_px)
        way_px = hypot(
            self.expected.along_px - last.place.along_px, (self.expected.across - last.place.across) * line_px
        )
        return off_px if off_px <= SIZE_SHARE * last.size_px + WAY_SHARE * way_px else inf

    def may_be_at(self, place: LinePlace, line_px: float) -> bool:
        """Whether it has crossed, and may be what is seen before the line, nearer than its size to where it was."""
        if (self.crossed is None and not self.is_part) or place.along_px >= 0:
            return False
        last = self.sights[-1]
        off_px = hypot(place.along_px - last.place.along_px, (place.across - last.place.across) * line_px)
        return off_px < last.size_px

    def advance(self, speed: BeltSpeed, from_s: float, to_s: float) -> None:
        """Move it on by the belt's speed, until it is seen."""
        before, step_s = self.expected, to_s - from_s
        self.expected = LinePlace(before.along_px + speed.along * step_s, before.across + speed.across * step_s)
        if self.crossed is None and before.along_px < 0 <= self.expected.along_px:
            self.passed = on_line(from_s, before, to_s, self.expected)

    def by_line(self, moved: Callable[[LinePlace], LinePlace], gap_s: float) -> ObjectPath:
        """Return what has not been told of it as another line sees it; `moved` returns where its places are there.

        That it crossed the other one nobody watched.
        """
        found = ObjectPath(self.number, self.gap, cause=self.cause, _earlier_hits=self._earlier_hits)
        for sight in self.sights:
            found.see(sight._replace(place=moved(sight.place)), gap_s)
        found.cause = self.cause or (PartCause.NONE if found.crossed is None else PartCause.RESTART)
        found.was_of_class |= self.was_of_class
        found.missed, found.expected = self.missed, moved(self.expected)
        return found

    def go_on(self, number: int) -> None:
        """Go on as another track."""
        self._earlier_hits = self.hits
        self.number, self.is_anew = number, True
        self._doubt_telling()

    def see(self, sight: Sight, gap_s: float) -> None:
        """Take a sight of it, and whether it crossed; between two that are further apart than `gap_s` nobody knows."""
        before = self.sights[-1] if self.sights else None
        self.sights.append(sight)
        along_px = sight.place.along_px
        self.missed, self.passed, self.expected = 0, None, sight.place
        self.was_of_class |= sight.was_of_class
        if before is not None and (self.went_back or sight.at_s - before.at_s > gap_s):
            self._doubt_telling()
        if self.crossed is not None and along_px <= -BACK_SHARE * sight.depth_px:
            self._uncross()
        elif self.crossed is None and along_px >= 0:
            self._cross(before, sight, gap_s)
        self.was_before |= along_px < 0
        self._furthest_px = max(self._furthest_px, along_px)
        self.is_anew = False

    def lose(self, crossed: OnLine, cause: PartCause) -> None:
        """Note that it crossed unseen, as far as anybody can say."""
        self.crossed, self.cause = crossed, self.cause or cause

    def _cross(self, before: Sight | None, sight: Sight, gap_s: float) -> None:
        if before is None:  # nobody saw where it came from
            self.crossed = OnLine(sight.at_s, sight.place.across)
            self.cause = self.gap or PartCause.CROSSING
            return
        self.crossed = on_line(before.at_s, before.place, sight.at_s, sight.place)
        if sight.at_s - before.at_s > gap_s:
            self.cause = self.cause or PartCause.GAP
        elif self.is_anew:
            self.cause = self.cause or PartCause.CROSSING

    def _doubt_telling(self) -> None:
        """Take it for another object than the one that another line made a part: it may be, and may be that one."""
        if self.is_part and self.crossed is None:
            self.is_part = self.is_counted = False
            self.cause = PartCause.RESTART

    def _uncross(self) -> None:
        """Begin again before the line: what crosses next may be the same object, or another one."""
        self.crossed = None
        self._furthest_px = self.sights[-1].place.along_px
        if self.is_counted:
            self.is_counted = self.is_part = False
            self.cause = PartCause.CROSSING
