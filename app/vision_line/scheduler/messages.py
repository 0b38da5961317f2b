# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the inspecting thread tells others: counts at once, the rest grouped by rounds."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from vision_line.frames import DefectEvent, Inspection


class Observer(Protocol):
    """Counts what happens, in the inspecting thread; must be quick."""

    def batch(self, frames: int) -> None:
        """Note a submitted batch."""

    def inspected(self, inspection: Inspection, now_s: float) -> None:
        """Note a result that was handed to the log, with the same detections, at `now_s`."""

    def event(self, event: DefectEvent) -> None:
        """Note an event's start, change or end."""


class InspectedFrame(NamedTuple):
    """What the ledger needs of one inspected frame."""

    camera: str
    size_wh: tuple[int, int]
    captured_s: float


class SchedulerUpdate(NamedTuple):
    """What the event loop learns of one round of the inspecting thread."""

    at_s: float
    looks: tuple[InspectedFrame, ...]
    log_writable: bool
