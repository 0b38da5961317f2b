# SPDX-License-Identifier: AGPL-3.0-or-later
"""Brings what cameras and encoder say to the parts in whose window it was seen. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from math import inf

from vision_line.lanes.belt import Belt
from vision_line.lanes.lane_plan import LanePlan
from vision_line.lanes.open_part import OpenPart
from vision_line.lanes.sights import EventFacts, InspectedFacts, SeenEvents
from vision_line.parts.part import PartCause

#: What waits for an encoder that is silent.
_MOST_HELD = 4096
#: What is kept of each camera for a part that is known later than it is seen: a minute of 30 frames a second.
_MOST_RECALLED = 1800


class LaneView:
    """Of one lane. With an encoder, what was seen waits until it is known where the belt was then."""

    def __init__(self, plan: LanePlan) -> None:
        self._plan = plan
        counts = plan.mm_per_count
        self._belt = None if counts is None else Belt(counts, plan.fastest_mm_per_s, plan.pause_s)
        self._held: deque[tuple[float, InspectedFacts | EventFacts]] = deque()
        self._seen = {camera: SeenEvents() for camera in plan.cameras}
        self._recent = {camera: deque[InspectedFacts](maxlen=_MOST_RECALLED) for camera in plan.cameras}

    def count(self, count: int, at_s: float) -> bool:
        """Take the belt's count; return whether it goes on from the one before: else nobody knows where parts are."""
        return self._belt is None or self._belt.add(count, at_s)

    def hold(self, at_s: float, item: InspectedFacts | EventFacts) -> bool:
        """Take what was seen until `at_s`; return whether all that came before is still there."""
        has_room = len(self._held) < _MOST_HELD
        if not has_room:
            self._held.clear()
        self._held.append((at_s, item))
        return has_room

    def place(self, part: OpenPart) -> None:
        """Find a new part's window, as far as it is known; its trigger's count was taken before."""
        trigger = part.trigger
        if self._belt is None:
            part.begin_s, part.end_s = (trigger.at_s + edge for edge in self._plan.window)
            self._recall(part)
        elif trigger.encoder is not None:
            if (own_mm := self._belt.position_of(trigger.encoder)) is not None:
                part.position_mm = own_mm, own_mm
                if not self._belt.agrees(own_mm, trigger.at_s):
                    part.rule_out(PartCause.RESTART)
        else:
            part.position_mm = self._belt.position_at(trigger.at_s)

    def deliver(self, on_way: Collection[OpenPart], decided: Collection[OpenPart]) -> bool:
        """Find the edges that the belt has reached, and give the parts what was seen until then.

        Return whether an event has changed.
        """
        has_news = False
        horizon_s = inf
        if self._belt is not None:
            horizon_s = self._belt.horizon_s
            for part in on_way:
                self._find_edges(part, self._belt)
        while self._held and self._held[0][0] <= horizon_s:
            has_news |= self._give(self._held.popleft()[1], on_way, decided)
        return has_news

    def deadline_s(self, part: OpenPart) -> float:
        """Return by when a part must be decided; with an encoder it moves on while the belt stands."""
        plan = self._plan
        if self._belt is None or part.position_mm is None or plan.ejector_mm is None:
            return part.trigger.at_s + plan.deadline_after_s
        return self._belt.earliest_s(part.position_mm[0] + plan.ejector_mm) - plan.spare_s

    def drop_before(self, at_s: float) -> None:
        """Let go of events that were over before a moment, and before all frames that are kept."""
        for camera, seen in self._seen.items():
            recent = self._recent[camera]
            seen.drop_before(min(at_s, recent[0].at_s) if recent else at_s)

    def clear(self) -> None:
        """Let go of all that was seen: who saw it has gone. When each camera saw last is known still."""
        self._held.clear()
        for seen in self._seen.values():
            seen.clear()
        for recent in self._recent.values():
            while len(recent) > 1:
                recent.popleft()

    def _find_edges(self, part: OpenPart, belt: Belt) -> None:
        """Set the edges that are known.

        Between two counts, and between two places that the part may have, the window is as wide as it may be for a gap
        and for events, and as narrow for inspections.
        """
        if part.position_mm is None or part.end_s is not None:
            return
        (early_mm, late_mm), (from_mm, to_mm) = part.position_mm, self._plan.window
        ends = belt.reached_s(early_mm + to_mm), belt.reached_s(late_mm + to_mm)
        if ends[0] is not None:
            part.surely_to_s = ends[0][0]
            part.end_s = None if ends[1] is None else ends[1][1]
        begins = belt.reached_s(early_mm + from_mm), belt.reached_s(late_mm + from_mm)
        if part.begin_s is None and begins[0] is not None and begins[1] is not None:
            part.begin_s, part.surely_from_s = begins[0][0], begins[1][1]
            if not belt.knows(early_mm + from_mm):
                part.rule_out(PartCause.RESTART)
            self._recall(part)

    def _recall(self, part: OpenPart) -> None:
        """Give a part what was seen before its window was known: events, and frames from the last one before it on."""
        for seen in self._seen.values():
            for event in seen:
                part.note(event)
        if part.begin_s is None:
            return
        for recent in self._recent.values():
            frames = list[InspectedFacts]()
            for frame in reversed(recent):
                frames.append(frame)
                if frame.at_s < part.begin_s:
                    break
            else:
                if len(recent) == _MOST_RECALLED:  # what of its window came before these, nobody knows any more
                    part.rule_out(PartCause.GAP)
            for frame in reversed(frames):
                part.take(frame)

    def _give(
        self, item: InspectedFacts | EventFacts, on_way: Collection[OpenPart], decided: Collection[OpenPart]
    ) -> bool:
        seen = self._seen[item.camera]
        if isinstance(item, EventFacts):
            changed = [seen.note(item)]
        else:
            changed = seen.extend(item)
            self._recent[item.camera].append(item)
            for part in on_way:
                part.take(item)
        for event in changed:
            for part in (*on_way, *decided):
                part.note(event)
        return bool(changed)
