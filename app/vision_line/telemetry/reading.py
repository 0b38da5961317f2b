# SPDX-License-Identifier: AGPL-3.0-or-later
"""A run at one moment, for whoever watches it from outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from vision_line.challenges.due import TargetState, acceptance
from vision_line.frames import INSPECTING_STATES, NotInspected
from vision_line.ports import LogStatus
from vision_line.telemetry.baseline_watch import SilenceStatus
from vision_line.telemetry.camera_metrics import CameraTotals
from vision_line.telemetry.metrics import RunTotals
from vision_line.telemetry.outputs_watch import WatchedOutput


@dataclass(frozen=True, slots=True)
class Reading:
    """Read in the event loop's thread, where all figures are of one moment."""

    totals: RunTotals
    log: LogStatus
    not_inspected: Sequence[NotInspected] = ()  # the intervals that are open
    challenges: Sequence[TargetState] = ()
    outputs: Sequence[WatchedOutput] = ()
    silence: SilenceStatus = field(default_factory=SilenceStatus)

    @property
    def expected(self) -> list[CameraTotals]:
        """The cameras of which inspection is due."""
        return [camera for camera in self.totals.cameras if camera.is_expected]

    @property
    def troubles(self) -> dict[str, str]:
        """Why each camera that is expected is not inspected, by name."""
        causes = {interval.camera: interval.cause for interval in self.not_inspected}
        every = {camera.name: causes.get(camera.name) or _trouble(camera) for camera in self.expected}
        return {name: trouble for name, trouble in every.items() if trouble}

    @property
    def refusals(self) -> list[str]:
        """Why parts may not be accepted: challenges with `on_fail = "stop"` that failed or are overdue."""
        cameras = [camera.name for camera in self.expected]
        return list(dict.fromkeys(filter(None, (acceptance(self.challenges, camera) for camera in cameras))))


def _trouble(camera: CameraTotals) -> str:
    """Return what is wrong with a camera without an open interval."""
    if camera.state not in INSPECTING_STATES:
        return f"camera:{camera.code or camera.state}"
    return "" if camera.inspected_utc is not None else "not yet inspected"
