# SPDX-License-Identifier: AGPL-3.0-or-later
"""New events' pictures that wait to be written, a moment for a better look too. Bounded: each holds on to a picture."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from vision_line.frames import DefectEvent, Detections, EventPhase, Frame
from vision_line.ports import HostCopyable

#: Pictures that may wait to be written. Each holds on to a decoder's picture: 32 of 1920 x 1080 are 100 MB.
QUEUE_EVENTS = 32
#: How long a new event's picture waits for a better look, while no more than this many do. A picture that is not in the
#: host's memory does not wait: the decoder has few of them.
BETTER_LOOK_S = 1.0
MOST_WAITING = QUEUE_EVENTS // 2


@dataclass(slots=True)
class PendingEvidence:
    """An event's best look so far, which is in `frame`; from `due_s` of the monotonic clock on it is to be written.

    Once it is `taken` it does not change any more.
    """

    frame: Frame
    detections: Detections
    event: DefectEvent
    due_s: float
    taken: bool = False

    def follow(self, frame: Frame, detections: Detections, event: DefectEvent) -> None:
        """Take account of a change: a better look in `frame`, or a risen verdict."""
        if event.sequence == frame.sequence:
            self.frame, self.detections, self.event = frame, detections, event
        elif event.sequence == self.frame.sequence:
            self.event = event


class PendingEvidenceQueue:
    """The looks of one log; offered from any thread, taken by one."""

    def __init__(self) -> None:
        """Begin with none."""
        self._looks: dict[str, PendingEvidence] = {}  # by event id, the oldest first
        self._changed = threading.Condition(threading.Lock())
        self._closing = False

    def offer(self, frame: Frame, detections: Detections, events: Sequence[DefectEvent]) -> list[DefectEvent]:
        """Take the looks of new `events`, and better ones of those that wait; return new ones that found no room."""
        refused = []
        with self._changed:
            for event in events:
                if event.phase is EventPhase.NEW:
                    refused += [] if self._add(frame, detections, event) else [event]
                elif (look := self._waiting(event)) is not None:
                    look.follow(frame, detections, event)
        self.ended(events)
        return refused

    def ended(self, events: Sequence[DefectEvent]) -> None:
        """Do not wait for better looks at those of `events` that have ended."""
        with self._changed:
            for event in events:
                if event.phase is EventPhase.END and (look := self._waiting(event)) is not None:
                    look.due_s = -inf
                    self._changed.notify()

    def take(self, wait_s: float) -> PendingEvidence | None:
        """Return a look that is due, or None after waiting for one; one that was taken before comes first."""
        deadline_s = time.monotonic() + wait_s
        with self._changed:
            while (look := self._due()) is None:
                now_s = time.monotonic()
                if self._closing or now_s >= deadline_s:
                    return None
                first_s = min((waiting.due_s for waiting in self._looks.values()), default=inf)
                self._changed.wait(max(0.0, min(first_s, deadline_s) - now_s))
            look.taken = True
            return look

    def written(self, look: PendingEvidence) -> None:
        """Let go of a look that was taken."""
        with self._changed:
            del self._looks[look.event.event_id]

    def close(self) -> None:
        """Take no more; what waits is due."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    def left(self) -> list[PendingEvidence]:
        """Return what waits."""
        with self._changed:
            return list(self._looks.values())

    def _add(self, frame: Frame, detections: Detections, event: DefectEvent) -> bool:
        if self._closing or len(self._looks) >= QUEUE_EVENTS:
            return False
        waits_s = 0.0 if isinstance(frame.picture, HostCopyable) else BETTER_LOOK_S
        self._looks[event.event_id] = PendingEvidence(frame, detections, event, time.monotonic() + waits_s)
        self._changed.notify()
        return True

    def _waiting(self, event: DefectEvent) -> PendingEvidence | None:
        look = self._looks.get(event.event_id)
        return None if look is None or look.taken else look

    def _due(self) -> PendingEvidence | None:
        at_once = self._closing or len(self._looks) > MOST_WAITING
        now_s = time.monotonic()
        due = (look for look in self._looks.values() if at_once or look.taken or look.due_s <= now_s)
        return min(due, key=lambda look: not look.taken, default=None)
