# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a run's threads offer to the feed. None of them waits, and what nobody wants costs a test of an attribute."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from vision_line.feed.distribution import Decision, FeedItem, JournalNumber, SnapshotDocument
from vision_line.feed.headers import TappedFrame, result_of
from vision_line.feed.inbox import Inbox
from vision_line.feed.protocol import Header
from vision_line.feed.tap import FeedTap
from vision_line.feed.wants import (
    FeedDemand,
    FrameChoice,
    Want,
    are_apart,
    demand_of,
    frames_demanded,
    frames_wake,
)
from vision_line.frames import MASK_BYTES, DefectEvent, Frame, Inspection, ShownEvent, TrackedObject

#: What an item holds beside an encoded frame, in bytes; an estimate.
_ITEM_BYTES = 500
_BOX_BYTES = 60


class Offers:
    """The meeting place of the run's threads and the feed's; who may call a method is said with each."""

    def __init__(self) -> None:
        self.inbox: Inbox[FeedItem] = Inbox()
        self.is_heard = False  # whether anybody wants what the scheduler's thread makes
        self.journal = 0  # the newest committed entry
        self.results_lost = 0  # those that found no room in the inbox
        self.is_overrun = False  # whether a decision or a number of the journal found none
        self._demand = FeedDemand()
        self._snapshot_s = float("-inf")  # when there was one last
        self._taps: dict[str, FeedTap] = {}
        self._wants: Sequence[Want] = ()
        self._lock = threading.Lock()  # of the taps and the wishes, both of which change seldom

    @property
    def is_snapshot_due(self) -> bool:
        """Whether somebody wants one by now; any thread."""
        return self._demand.snapshots and are_apart(self._snapshot_s, time.monotonic(), self._demand.snapshots_apart_s)

    @property
    def cameras(self) -> list[str]:
        """The cameras that have a tap; any thread."""
        with self._lock:
            return list(self._taps)

    def tap(self, camera: str) -> FeedTap:
        """Return the tap of a camera, always the same one; any thread."""
        with self._lock:
            tap = self._taps.get(camera)
            if tap is None:
                tap = self._taps[camera] = FeedTap(camera, self._take_frame)
                _set(tap, self._wants)
            return tap

    def result(
        self,
        inspection: Inspection,
        events: Sequence[DefectEvent],
        shown: Callable[[], Sequence[ShownEvent]] = tuple,
        tracks: Callable[[], Sequence[TrackedObject]] = tuple,
    ) -> None:
        """Take an inspected frame, the changes of events that it brought, and how to get events and objects it shows.

        The scheduler's thread.
        """
        if self.is_heard:
            keyframe = self._came_as_keyframe(inspection.frame)
            if self._demand.wants_result(inspection.frame.camera, keyframe=keyframe):
                objects = tracks() if self._demand.objects else ()
                result = result_of(inspection, events, shown(), objects, of_keyframe=keyframe)
                found = inspection.detections
                size = _ITEM_BYTES * (1 + len(events) + len(result.shown))
                size += _BOX_BYTES * (len(found) + len(result.tracks))
                if found.masks is not None:  # those that events and objects show are the same, or of a frame before
                    size += MASK_BYTES * (len(found) + len(result.shown))
                self.results_lost += not self.inbox.put(result, size, wakes=self._demand.results_wake)
            self.decide(events)

    def decide(self, events: Sequence[DefectEvent]) -> None:
        """Take changes of events that are not committed yet; the scheduler's thread."""
        if events and self._demand.decisions:
            at_s = time.monotonic()
            for event in events:
                self._put_sure(Decision(event, at_s))

    def committed(self, number: int) -> None:
        """Take the number of the journal's newest entry; the thread that committed it."""
        self.journal = number
        if self._demand.journal:
            self._put_sure(JournalNumber(number))

    def snapshot(self, header: Header) -> None:
        """Take the run as it is now, in plain JSON; any thread. One that finds no room is followed by another."""
        self._snapshot_s = time.monotonic()
        size = _ITEM_BYTES * (1 + len(self._taps))
        self.inbox.put(SnapshotDocument(header), size, wakes=self._demand.snapshots_wake)

    def want(self, wants: Sequence[Want]) -> None:
        """Adopt what the clients want; the feed's thread."""
        with self._lock:
            self._wants = tuple(wants)
            for tap in self._taps.values():
                _set(tap, self._wants)
        self._demand = demand_of(wants)
        self._snapshot_s = float("-inf")  # who has just come has none
        self.is_heard = self._demand.is_of_scheduler

    def close(self) -> None:
        """Take nothing any more; the feed's thread, or whoever ends it."""
        self.want(())
        self.inbox.close()

    def _came_as_keyframe(self, frame: Frame) -> bool:
        tap = self._taps.get(frame.camera)
        return tap is not None and tap.saw_keyframe(frame.arrived_s, frame.pts_s)

    def _take_frame(self, frame: TappedFrame, wakes: bool) -> bool:
        return self.inbox.put(frame, frame.size, wakes=wakes)

    def _put_sure(self, item: Decision | JournalNumber) -> None:
        if not self.inbox.put(item, _ITEM_BYTES, must=True):
            self.is_overrun = True


def _set(tap: FeedTap, wants: Sequence[Want]) -> None:
    choice = frames_demanded(wants, tap.camera)
    tap.wakes = frames_wake(wants, tap.camera)
    tap.wanted = None if choice is FrameChoice.NOTHING else choice
    if tap.wanted is None:
        tap.let_go()
