# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which objects have crossed a line: each is one part; what nobody saw cross is a part that was not inspected. Pure.

It follows the line's own tracks. Where these break off, an object goes on by the belt's speed: one that is found anew
where it must be is the same one, and one that is not found is taken to have crossed unseen. Moments are when the light
came, by the monotonic clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from statistics import median

from vision_line.frames import TrackedObject
from vision_line.lanes.crossing_line import CrossingRule
from vision_line.lanes.object_path import BeltSpeed, ObjectPath, OnLine, Sight
from vision_line.lanes.watch_before import Handover, WatchBefore
from vision_line.parts.part import PartCause

#: So long after it was seen last an object may be found anew, and one that stood before the line is given up, in
#: seconds: as long as the line's tracker waits.
LOST_S = 5.0


@dataclass(frozen=True, slots=True)
class ObjectsFrame:
    """An inspected frame of `size_wh` and the objects that it shows; `criteria` is what their numbers belong to."""

    at_s: float
    size_wh: tuple[int, int]
    criteria: int
    objects: Sequence[TrackedObject] = ()


@dataclass(frozen=True, slots=True)
class Crossing:
    """A part: `number` counts them, its centre was on the line at `at_s`. `cause`: why it is not inspected."""

    number: int
    at_s: float
    cause: PartCause = PartCause.NONE


class CrossingWatch:
    """One line in one camera's frames.

    `near_misses` counts objects of the classes that were seen too seldom to be one, `beside` those that passed beside
    the line's ends.
    """

    def __init__(self, rule: CrossingRule, before: WatchBefore | None = None) -> None:
        """Begin: what is beyond the line in the first frame crossed when nobody watched.

        `before` is what the watch before this one left, None where there was none.
        """
        self.rule = rule
        is_left = before is not None and before.camera == rule.camera
        left = before if before is not None and is_left else WatchBefore(rule.camera)
        self._before = Handover(left, rule.gap_s)
        self.near_misses = 0
        self.beside = 0
        self._paths = left.paths_by(rule)
        #: Those that had crossed before the newest gap, and until when they may come back.
        self._past: tuple[list[ObjectPath], float] = ([], 0.0)
        self._numbers_of = self._before.numbers_of
        self._speed: BeltSpeed | None = None
        self._last_s = None if before is None else before.last_s
        self._slept_s = 0.0  # since then, and no clock shows it
        #: Why nobody knows what was before the next frame, NONE: it is known.
        self._beginning = PartCause.RESTART
        self._count = 0

    def line_went(self) -> None:
        """Note that the run is gone, and its tracks with it."""
        self._end_tracks()
        if self._last_s is not None:
            self._beginning = PartCause.LINE_AWAY

    def slept(self, slept_s: float) -> None:
        """Note that this machine slept: the belt may have moved, and the moments of frames do not show it."""
        self._end_tracks()
        self._slept_s += slept_s
        self._beginning = self._beginning or PartCause.LATE

    def end(self, now_s: float) -> list[Crossing]:
        """Return the parts of which nobody will know any more whether they crossed: nobody watches from now on.

        Those that are in view before the line are for who watches next.
        """
        found = self._blind(now_s, self._beginning or PartCause.CAMERA)
        if found:
            self._end_tracks()
            self._last_s = now_s
        for path in self._paths:
            is_lost = path.missed > 0 and path.hits >= self.rule.hits and not path.went_back
            if path.is_counted or not path.was_of_class or not (path.crossed or is_lost):
                continue
            crossed = path.crossed or path.passed or OnLine(path.sights[-1].at_s, path.expected.across)
            path.lose(crossed, PartCause.RESTART)
            found += filter(None, [self._count_it(path, crossed, PartCause.NONE)])
        return found

    def left(self) -> WatchBefore:
        """Return what who watches next must know of this one, which has ended."""
        numbered = [(path.number, path) for path in self._paths if path.number is not None]
        mine = WatchBefore(
            camera=self.rule.camera,
            last_s=self._last_s,
            lines=(self.rule.line,),
            parts={number: path.sights[-1].at_s for number, path in numbered if path.is_part},
            paths=tuple(path for path in self._paths if not path.is_counted),
            classes=self.rule.classes,
            numbers_of=self._numbers_of,
        )
        return self._before.leave(mine, has_parts=self._has_parts)

    def take(self, frame: ObjectsFrame) -> list[Crossing]:
        """Take the next inspected frame; return the parts that follow from it, in the order in which they crossed.

        One part stands for all that may have passed while nothing was inspected for longer than `dwell_s`.
        """
        from_s = frame.at_s if self._last_s is None else self._last_s
        at_s = max(frame.at_s, from_s)
        gap = self._beginning or (PartCause.GAP if at_s - from_s > self.rule.gap_s else PartCause.NONE)
        found = self._blind(at_s, gap)
        if gap and self._last_s is not None:
            self._before.lose_sight(self._last_s, has_parts=self._has_parts)
        self._before.begin_frame(at_s)
        self._beginning, self._last_s, self._slept_s = PartCause.NONE, at_s, 0.0
        self._follow(frame, from_s, at_s, gap)
        for path in self._paths:
            crossing = self._crossed(path) if not path.missed else self._missed(path, at_s)
            found += [] if crossing is None else [crossing]
        self._paths = [each for each in self._paths if not each.is_counted or self._may_be_found(each, at_s)]
        return sorted(found, key=lambda each: each.at_s)

    @staticmethod
    def _may_be_found(path: ObjectPath, at_s: float) -> bool:
        """Whether a part that was told may be seen again; what was none is another object when it is."""
        return (path.crossed is not None or path.is_part) and at_s - path.sights[-1].at_s <= LOST_S

    @property
    def _has_parts(self) -> bool:
        """Whether a part of the watch before is still before this line."""
        return any(path.is_part and path.crossed is None for path in self._paths)

    # Which object is which.

    def _follow(self, frame: ObjectsFrame, from_s: float, at_s: float, gap: PartCause) -> None:
        """Give each object to its path: that of its number, one that was lost just there, or a new one."""
        if self._numbers_of != (frame.criteria, frame.size_wh):
            self._end_tracks()
            self._numbers_of = frame.criteria, frame.size_wh
        sights = {one.number: self._sight(one, at_s, frame.size_wh) for one in frame.objects}
        self._advance({} if gap else sights, from_s, at_s)
        if gap:
            self._drop_crossed(at_s)
        self._doubt(sights, frame.size_wh)
        for path in self._paths:
            path.gap = path.gap or gap
            path.missed += 1
        self._find_anew(sights, frame.size_wh)
        numbers = {path.number for path in self._paths}
        new = [one for one in frame.objects if one.number not in numbers]
        self._paths += [self._begun(one, gap, self._again(one.number, sights, frame.size_wh), frame) for one in new]
        for path in self._paths:
            if path.number is not None and path.number in sights:
                path.see(sights[path.number], self.rule.gap_s)

    def _begun(self, one: TrackedObject, gap: PartCause, again: PartCause, frame: ObjectsFrame) -> ObjectPath:
        """Return the path of an object that is new here; the watch before may have made a part of it."""
        if self._before.was_part(one.number, frame.at_s):
            return ObjectPath(one.number, gap, is_counted=True, is_part=True)
        if not again and self._before.is_unsure(frame.at_s, has_parts=self._has_parts):
            again = PartCause.RESTART if self._before.is_beyond(one, frame.size_wh) else again
        return ObjectPath(one.number, gap, cause=again)

    def _drop_crossed(self, at_s: float) -> None:
        """Follow none any more that had crossed before a gap: what is beyond the line now may have come in it."""
        self._past = [replace(path) for path in self._paths if path.is_counted or path.cause], at_s + LOST_S
        self._paths = [path for path in self._paths if not path.is_counted]

    def _doubt(self, sights: Mapping[int, Sight], size_wh: tuple[int, int]) -> None:
        """Have a number identify who was not seen for longer than a gap only where it must be."""
        line_px = self.rule.line.length_px(size_wh)
        for path in self._paths:
            sight = None if path.number is None else sights.get(path.number)
            if sight is None or sight.at_s - path.sights[-1].at_s <= self.rule.gap_s:
                continue
            if path.distance_px(sight.place, line_px) == inf:
                path.number = None

    def _again(self, number: int, sights: Mapping[int, Sight], size_wh: tuple[int, int]) -> PartCause:
        """Return why a new object is no part of its own, NONE if it is: it may be one that crossed, and was lost."""
        place, line_px = sights[number].place, self.rule.line.length_px(size_wh)
        past, until_s = self._past
        past = past if sights[number].at_s <= until_s else []
        lost = [path for path in self._paths if path.number not in sights]
        is_again = any(path.may_be_at(place, line_px) for path in (*lost, *past))
        is_numbered = place.along_px < 0 and any(path.number == number for path in past)
        return PartCause.CROSSING if is_again or is_numbered else PartCause.NONE

    def _sight(self, one: TrackedObject, at_s: float, size_wh: tuple[int, int]) -> Sight:
        x1, y1, x2, y2 = one.xyxy
        width, height = x2 - x1, y2 - y1
        return Sight(
            at_s,
            place=self.rule.line.place((x1 + x2) / 2, (y1 + y2) / 2, size_wh),
            size_px=max(width, height),
            depth_px=self.rule.line.depth_px(width, height, size_wh),
            hits=one.hits,
            is_of_class=one.class_name in self.rule.classes,
            was_of_class=not self.rule.classes.isdisjoint((one.class_name, *one.also)),
        )

    def _advance(self, sights: Mapping[int, Sight], from_s: float, at_s: float) -> None:
        """Move all objects on by what the belt did, as those show it that were seen before and are seen now."""
        step_s = at_s - from_s
        if step_s <= 0:
            return
        both = [
            (sights[path.number].place, path.sights[-1].place)
            for path in self._paths
            if path.number is not None and path.number in sights and not path.missed
        ]
        shown = None
        if both:
            shown = self._speed = BeltSpeed(
                median((now.along_px - before.along_px) / step_s for now, before in both),
                median((now.across - before.across) / step_s for now, before in both),
            )
        for path in self._paths:
            path.advance(shown or path.speed or self._speed or BeltSpeed(0.0, 0.0), from_s, at_s)

    def _find_anew(self, sights: Mapping[int, Sight], size_wh: tuple[int, int]) -> None:
        """Have paths that lost their track go on as a new one just where they must be, nearest first."""
        known = {path.number for path in self._paths}
        known.update(number for number, sight in sights.items() if self._before.was_part(number, sight.at_s))
        lost = [path for path in self._paths if path.number not in sights]
        line_px = self.rule.line.length_px(size_wh)
        pairs = (
            (path.distance_px(sight.place, line_px), index, number)
            for number, sight in sights.items()
            if number not in known
            for index, path in enumerate(lost)
        )
        for _, index, number in sorted(pair for pair in pairs if pair[0] < inf):
            if lost[index].number not in sights and number not in known:
                lost[index].go_on(number)
                known.add(number)

    def _end_tracks(self) -> None:
        if self._last_s is not None:
            self._before.lose_sight(self._last_s, has_parts=self._has_parts)
        self._before.end_tracks()
        for path in (*self._paths, *self._past[0]):
            path.number = None

    # What is a part.

    def _crossed(self, path: ObjectPath) -> Crossing | None:
        """Return the part that an object is which the newest frame shows."""
        if path.crossed is None or path.is_counted or not path.was_of_class:
            return None
        if path.hits < self.rule.hits and not (path.gap and path.cause):
            return None
        return self._count_it(path, path.crossed, PartCause.NONE if path.sights[-1].is_of_class else PartCause.CROSSING)

    def _missed(self, path: ObjectPath, at_s: float) -> Crossing | None:
        """Return the part that an object is taken for which is not found any more."""
        if path.is_counted or not path.was_of_class or path.missed < self.rule.patience:
            path.is_counted |= not path.was_of_class and at_s - path.sights[-1].at_s > LOST_S
            return None
        crossed, was_between = path.crossed or path.passed, path.crossed is not None and path.was_before
        if crossed is None:
            if at_s - path.sights[-1].at_s <= LOST_S:
                return None
            if path.went_back:
                path.is_counted = True
                return None
            crossed = OnLine(path.sights[-1].at_s, path.expected.across)
        if path.hits < self.rule.hits and not was_between and not path.gap:
            path.is_counted, path.crossed = True, None
            self.near_misses += 1
            return None
        path.lose(crossed, path.gap or PartCause.CROSSING)
        return self._count_it(path, crossed, PartCause.NONE)

    def _count_it(self, path: ObjectPath, crossed: OnLine, cause: PartCause) -> Crossing | None:
        path.is_counted = True
        if not 0.0 <= crossed.across <= 1.0:
            self.beside += 1
            return None
        path.is_part = True
        return self._crossing(crossed.at_s, path.cause or cause)

    def _blind(self, at_s: float, cause: PartCause) -> list[Crossing]:
        if self._last_s is None or at_s - self._last_s + self._slept_s <= self.rule.dwell_s:
            return []
        return [self._crossing(self._last_s, cause)]

    def _crossing(self, at_s: float, cause: PartCause) -> Crossing:
        self._count += 1
        return Crossing(self._count, at_s, cause)
