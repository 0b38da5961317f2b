# SPDX-License-Identifier: AGPL-3.0-or-later
"""The closing message of a run: how much was not inspected, and the shortfall of the machine."""

from __future__ import annotations

from vision_line.inspection.coverage.causes import CAPACITY, DECODING, STARTING, STOPPED
from vision_line.telemetry.covered import Covered, together
from vision_line.telemetry.metrics import RunTotals
from vision_line.telemetry.shortfall import Rates, shortfall

#: Shorter times are not reported; the ledger has them.
LEAST_SHOWN_S = 0.5
#: Causes that occur at the start and end of every run.
_USUAL = frozenset({STARTING, STOPPED})


def parting_words(totals: RunTotals) -> str:
    """Return one or two sentences, "" where only the start and the end were not inspected. Pure."""
    covered = together(camera.covered for camera in totals.cameras)
    missing_s = {
        cause: seconds
        for cause, seconds in covered.not_inspected_s.items()
        if cause not in _USUAL and seconds >= LEAST_SHOWN_S
    }
    if sum(missing_s.values()) < 1.0:
        return ""
    usual_s = sum(covered.not_inspected_s.get(cause, 0.0) for cause in _USUAL)
    share = 100 * sum(missing_s.values()) / max(1.0, covered.due_s - usual_s)
    worst = sorted(missing_s.items(), key=lambda item: -item[1])
    causes = ", ".join(f"{cause} {seconds:.0f} s" for cause, seconds in worst)
    words = f"after the start not inspected for {share:.1f} % of the time of all cameras: {causes}"
    lacking = _lacking(totals) if {CAPACITY, DECODING} & missing_s.keys() else ""
    return f"{words}; {lacking}" if lacking else words


def _lacking(totals: RunTotals) -> str:
    judged = [camera for camera in totals.cameras if camera.needed_fps and camera.inspected]
    return shortfall([Rates(camera.inspected / _inspecting_s(camera.covered), camera.needed_fps) for camera in judged])


def _inspecting_s(covered: Covered) -> float:
    """Return the seconds without start and end."""
    return max(1.0, covered.due_s - sum(covered.not_inspected_s.get(cause, 0.0) for cause in _USUAL))
