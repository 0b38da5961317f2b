# SPDX-License-Identifier: AGPL-3.0-or-later
"""What who watches a line must know of who watched before: no object may be two parts, one a line. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf

from vision_line.frames import TrackedObject
from vision_line.lanes.crossing_line import CrossingLine, CrossingRule, LinePlace
from vision_line.lanes.object_path import BACK_SHARE, ObjectPath

#: So long after tracks began anew an object may be found again that was a part by a line of before, in seconds.
UNSURE_S = 5.0


@dataclass(frozen=True, slots=True)
class WatchBefore:
    """What a watch leaves that has ended.

    `last_s` is when the camera was inspected last, None: never. `parts` has the tracks of its parts, and when each was
    seen last; `paths` are objects of `classes` that were in view and were no parts yet, as its last line saw them, and
    `numbers_of` is what all these numbers belong to. What is beyond one of `lines` may have been told.
    """

    camera: str
    last_s: float | None = None
    lines: tuple[CrossingLine, ...] = ()
    parts: Mapping[int, float] = field(default_factory=dict)
    paths: tuple[ObjectPath, ...] = ()
    classes: frozenset[str] = frozenset()
    numbers_of: tuple[int, tuple[int, int]] | None = None

    def without_tracks(self) -> WatchBefore:
        """Return what is left when the tracks have ended: objects are known by their places alone."""
        return replace(self, parts={}, paths=tuple(replace(path, number=None) for path in self.paths))

    def paths_by(self, rule: CrossingRule) -> list[ObjectPath]:
        """Return the objects in view as another line sees them; of other classes they begin anew."""
        if self.numbers_of is None or self.classes != rule.classes:
            return []
        _, size_wh = self.numbers_of

        def moved(place: LinePlace) -> LinePlace:
            return rule.line.place(*self.lines[-1].centre(place, size_wh), size_wh)

        return [path.by_line(moved, rule.gap_s) for path in self.paths]


class Handover:
    """What a watch was left, for as long as that matters.

    A part of before is known by its track. Whatever else begins beyond a line of before may be one of them too, and is
    not accepted.
    """

    def __init__(self, left: WatchBefore, gap_s: float) -> None:
        """Begin; an object that was not seen for longer than `gap_s` is known by its track no more."""
        self._left = left
        self._gap_s = gap_s
        self._unsure_until_s = inf if left.lines else -inf  # infinite: from the next frame on, for a while

    @property
    def numbers_of(self) -> tuple[int, tuple[int, int]] | None:
        """What the numbers of tracks belong to."""
        return self._left.numbers_of

    def begin_frame(self, at_s: float) -> None:
        """Take note of a frame, before its objects."""
        if self._unsure_until_s == inf:
            self._unsure_until_s = at_s + UNSURE_S

    def lose_sight(self, last_s: float, *, has_parts: bool) -> None:
        """Note that behind this frame nobody knows which object is which; `has_parts`: a part of before is in view."""
        if self.is_unsure(last_s, has_parts=has_parts):
            self._unsure_until_s = inf

    def end_tracks(self) -> None:
        """Note that numbers mean other objects from now on."""
        self._left = self._left.without_tracks()

    def is_unsure(self, at_s: float, *, has_parts: bool) -> bool:
        """Whether parts of before may still be taken for others."""
        return bool(self._left.lines) and (has_parts or at_s <= self._unsure_until_s)

    def was_part(self, number: int, at_s: float) -> bool:
        """Whether a track is a part already."""
        return at_s - self._left.parts.get(number, -inf) <= self._gap_s

    def is_beyond(self, one: TrackedObject, size_wh: tuple[int, int]) -> bool:
        """Whether an object is beyond a line of before, or may just have trembled back."""
        x1, y1, x2, y2 = one.xyxy
        for line in self._left.lines:
            depth_px = line.depth_px(x2 - x1, y2 - y1, size_wh)
            if line.place((x1 + x2) / 2, (y1 + y2) / 2, size_wh).along_px > -BACK_SHARE * depth_px:
                return True
        return False

    def leave(self, left: WatchBefore, *, has_parts: bool) -> WatchBefore:
        """Return what this watch leaves, with what of before still matters; `left` has its own."""
        if not self.is_unsure(-inf if left.last_s is None else left.last_s, has_parts=has_parts):
            return left
        return replace(
            left,
            lines=(*self._left.lines, *left.lines),
            parts={**self._left.parts, **left.parts},
        )
