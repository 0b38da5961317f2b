# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a lane gets of its cameras: inspected frames and events; and the events that a camera shows. Pure.

Moments are when the light came, by the monotonic clock: a camera's delay is taken off.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from vision_line.frames import Verdict

#: The severer one is higher.
RANK = {Verdict.ACCEPT: 0, Verdict.WARN: 1, Verdict.REJECT: 2}


@dataclass(frozen=True, slots=True)
class InspectedFacts:
    """One inspected frame: when it shows its parts, and the classes of its boxes.

    It was inspected by `recipe`, and by the camera's settings number `criteria`.
    """

    camera: str
    at_s: float
    classes: frozenset[str] = frozenset()
    recipe: str = ""
    criteria: int = 0


@dataclass(frozen=True, slots=True)
class EventFacts:
    """A defect event as it is known: from when to when it was seen. `is_over`: it is not seen any more."""

    camera: str
    event_id: str
    class_name: str
    verdict: Verdict
    score: float
    first_s: float
    last_s: float
    is_over: bool = False

    def is_within(self, begin_s: float, end_s: float) -> bool:
        """Whether it was seen between two moments."""
        return self.first_s <= end_s and self.last_s >= begin_s


class SeenEvents:
    """The events of one camera, each as it was said last.

    A camera says which events a frame shows. Yet one that is not over also counts as seen in every frame that has a box
    of its class: rather a part too many is rejected than one too few.
    """

    def __init__(self) -> None:
        self._events: dict[str, EventFacts] = {}

    def __iter__(self) -> Iterator[EventFacts]:
        return iter(self._events.values())

    def note(self, event: EventFacts) -> EventFacts:
        """Take what is said of an event; return it as it is known now.

        Decisions overtake results, so what comes may be older than what is known: a verdict never falls.
        """
        before = self._events.get(event.event_id)
        if before is not None:
            event = replace(event, verdict=max(event.verdict, before.verdict, key=RANK.__getitem__))
        if before is not None and not event.is_over:
            event = replace(event, last_s=max(event.last_s, before.last_s), is_over=before.is_over)
        self._events[event.event_id] = event
        return event

    def extend(self, frame: InspectedFacts) -> list[EventFacts]:
        """Return the events that a frame shows still, from now on seen until then."""
        shown = [
            replace(event, last_s=frame.at_s)
            for event in self._events.values()
            if not event.is_over and event.class_name in frame.classes and event.last_s < frame.at_s
        ]
        self._events.update({event.event_id: event for event in shown})
        return shown

    def drop_before(self, at_s: float) -> None:
        """Let go of events that were over before a moment."""
        gone = [event.event_id for event in self._events.values() if event.is_over and event.last_s < at_s]
        for event_id in gone:
            del self._events[event_id]

    def clear(self) -> None:
        """Let go of all."""
        self._events.clear()
