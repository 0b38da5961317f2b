# SPDX-License-Identifier: AGPL-3.0-or-later
"""Messages of the scheduler: counts at once, inspected frames in grouped updates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from vision_line.frames import DefectEvent, Inspection, ShownEvent, TrackedObject
from vision_line.inspection.tracking.candidates import Candidate


class ResultWatcher(Protocol):
    """Sees what the log is given, in the scheduler's thread; must be quick, and neither wait nor raise."""

    def result(
        self,
        inspection: Inspection,
        events: Sequence[DefectEvent],
        shown: Callable[[], Sequence[ShownEvent]],
        tracks: Callable[[], Sequence[TrackedObject]],
        /,
    ) -> None:
        """Take note of an inspected frame, its changes of events, and how to get what it shows: events, objects."""

    def decide(self, events: Sequence[DefectEvent], /) -> None:
        """Take note of changes of events that no frame brought."""


class Observer(Protocol):
    """Counts events in the scheduler's thread; must be quick."""

    def batch(self, frames: int) -> None:
        """Note a submitted batch."""

    def inspected(self, inspection: Inspection, now_s: float) -> None:
        """Note a result that was written to the log, with the same detections, at `now_s`."""

    def event(self, event: DefectEvent) -> None:
        """Note an event's start, change or end."""


class Reviewer(Protocol):
    """Keeps frames that people are to review; called in the scheduler's thread, must be quick and never waits."""

    def inspected(self, inspection: Inspection, candidates: Sequence[Candidate]) -> None:
        """Take a result that was written to the log, and what its frame made of candidates.

        Raises:
            RunError: the log takes no rows.
        """

    def ended(self, candidates: Sequence[Candidate]) -> None:
        """Take candidates that ended without a frame.

        Raises:
            RunError: the log takes no rows.
        """


class InspectedFrame(NamedTuple):
    """One inspected frame, for the ledger."""

    camera: str
    size_wh: tuple[int, int]
    captured_s: float


class SchedulerUpdate(NamedTuple):
    """The frames inspected since the last update, for the event loop."""

    at_s: float
    inspected_frames: tuple[InspectedFrame, ...]
    log_writable: bool
