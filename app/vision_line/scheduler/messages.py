# SPDX-License-Identifier: AGPL-3.0-or-later
"""Messages of the scheduler: counts at once, inspected frames in grouped updates."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from vision_line.frames import DefectEvent, Inspection


class Observer(Protocol):
    """Counts events in the scheduler's thread; must be quick."""

    def batch(self, frames: int) -> None:
        """Note a submitted batch."""

    def inspected(self, inspection: Inspection, now_s: float) -> None:
        """Note a result that was written to the log, with the same detections, at `now_s`."""

    def event(self, event: DefectEvent) -> None:
        """Note an event's start, change or end."""


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
