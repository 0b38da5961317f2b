# SPDX-License-Identifier: AGPL-3.0-or-later
"""New events' images that wait to be written, or for a better observation. Bounded: each has a frame of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from vision_line.frames import DefectEvent, Detections, EventPhase, Frame
from vision_line.ports import HostCopyable
from vision_line.records.frame_copy import own_copy

#: Images that may wait to be written. Each has a frame: 32 of 1920 x 1080 are 100 MB.
QUEUE_EVENTS = 32
#: How long a new event's image waits for a better observation, while no more than this many do. A frame that is not in
#: the host's memory does not wait: the decoder has few of them.
BETTER_OBSERVATION_S = 1.0
MOST_WAITING = QUEUE_EVENTS // 2


@dataclass(slots=True)
class PendingEvidence:
    """An event's best observation so far, which is in `frame`; to be written from `due_s` (monotonic) on.

    Once it is `taken` it does not change any more.
    """

    frame: Frame
    detections: Detections
    event: DefectEvent
    due_s: float
    taken: bool = False

    def follow(self, frame: Frame, detections: Detections, event: DefectEvent) -> None:
        """Take account of a change: a better observation in `frame`, or a risen verdict."""
        if event.sequence == frame.sequence:
            self.frame, self.detections, self.event = frame, detections, event
        elif event.sequence == self.frame.sequence:
            self.event = event


class PendingEvidenceQueue:
    """The pending evidence of one log; offered from any thread, taken by one."""

    def __init__(self) -> None:
        self._pending: dict[str, PendingEvidence] = {}  # by event id, the oldest first
        self._changed = threading.Condition(threading.Lock())
        self._closing = False

    def offer(self, frame: Frame, detections: Detections, events: Sequence[DefectEvent]) -> list[DefectEvent]:
        """Take observations of new `events`, and better ones of those that wait; return new events without room."""
        rejected = []
        if any(self._wants(event, frame) for event in events):
            frame = own_copy(frame)  # one for all of them
        with self._changed:
            for event in events:
                if event.phase is EventPhase.NEW:
                    rejected += [] if self._add(frame, detections, event) else [event]
                elif (pending := self._waiting(event)) is not None:
                    pending.follow(frame, detections, event)
        self.ended(events)
        return rejected

    def ended(self, events: Sequence[DefectEvent]) -> None:
        """Do not wait for better observations of those of `events` that have ended."""
        with self._changed:
            for event in events:
                if event.phase is EventPhase.END and (pending := self._waiting(event)) is not None:
                    pending.due_s = -inf
                    self._changed.notify()

    def take(self, wait_s: float) -> PendingEvidence | None:
        """Return evidence that is due, or None after waiting for one; one that was taken before comes first."""
        deadline_s = time.monotonic() + wait_s
        with self._changed:
            while (pending := self._due()) is None:
                now_s = time.monotonic()
                if self._closing or now_s >= deadline_s:
                    return None
                first_s = min((waiting.due_s for waiting in self._pending.values()), default=inf)
                self._changed.wait(max(0.0, min(first_s, deadline_s) - now_s))
            pending.taken = True
            return pending

    def written(self, pending: PendingEvidence) -> None:
        """Let go of evidence that was taken."""
        with self._changed:
            del self._pending[pending.event.event_id]

    def close(self) -> None:
        """Take no more; what waits is due."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    def left(self) -> list[PendingEvidence]:
        """Return what waits."""
        with self._changed:
            return list(self._pending.values())

    def _wants(self, event: DefectEvent, frame: Frame) -> bool:
        """Whether the frame is likely to stay here; the evidence thread may take the event meanwhile."""
        if event.phase is EventPhase.NEW:
            return len(self._pending) < QUEUE_EVENTS
        return event.sequence == frame.sequence and self._waiting(event) is not None

    def _add(self, frame: Frame, detections: Detections, event: DefectEvent) -> bool:
        if self._closing or len(self._pending) >= QUEUE_EVENTS:
            return False
        waits_s = 0.0 if isinstance(frame.data, HostCopyable) else BETTER_OBSERVATION_S
        self._pending[event.event_id] = PendingEvidence(frame, detections, event, time.monotonic() + waits_s)
        self._changed.notify()
        return True

    def _waiting(self, event: DefectEvent) -> PendingEvidence | None:
        pending = self._pending.get(event.event_id)
        return None if pending is None or pending.taken else pending

    def _due(self) -> PendingEvidence | None:
        at_once = self._closing or len(self._pending) > MOST_WAITING
        now_s = time.monotonic()
        due = (pending for pending in self._pending.values() if at_once or pending.taken or pending.due_s <= now_s)
        return min(due, key=lambda pending: not pending.taken, default=None)
