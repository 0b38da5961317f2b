# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a run that is over says of itself: how much of it was not inspected, and what the machine could not do."""

from __future__ import annotations

from vision_line.inspection.blame import CAPACITY, DECODING, STARTING, STOPPED
from vision_line.telemetry.covered import Covered, together
from vision_line.telemetry.metrics import RunTotals
from vision_line.telemetry.shortfall import Rates, shortfall

#: Causes that every run has at its start and end.
_USUAL = frozenset({STARTING, STOPPED})


def parting_words(totals: RunTotals) -> str:
    """Return a sentence or two, "" where nothing was missed but the start and the end. Pure."""
    covered = together(camera.covered for camera in totals.cameras)
    missing_s = {cause: seconds for cause, seconds in covered.not_inspected_s.items() if cause not in _USUAL}
    if sum(missing_s.values()) < 1.0 or covered.due_s <= 0:
        return ""
    share = 100 * sum(missing_s.values()) / covered.due_s
    worst = sorted(missing_s.items(), key=lambda item: -item[1])
    causes = ", ".join(f"{cause} {seconds:.0f} s" for cause, seconds in worst)
    words = f"not inspected for {share:.1f} % of the time of all cameras: {causes}"
    lacking = _lacking(totals) if {CAPACITY, DECODING} & missing_s.keys() else ""
    return f"{words}; {lacking}" if lacking else words


def _lacking(totals: RunTotals) -> str:
    judged = [camera for camera in totals.cameras if camera.needed_fps and camera.inspected]
    return shortfall([Rates(camera.inspected / _inspecting_s(camera.covered), camera.needed_fps) for camera in judged])


def _inspecting_s(covered: Covered) -> float:
    """Return the seconds without start and end."""
    return max(1.0, covered.due_s - sum(covered.not_inspected_s.get(cause, 0.0) for cause in _USUAL))
