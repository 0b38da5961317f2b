# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is known of the line, and what of it stops acceptance. Pure: time comes with each call."""

from __future__ import annotations

from collections.abc import Collection
from math import inf

from vision_line.feed.protocol import Header
from vision_line.frames import CameraState
from vision_line.parts.part import PartCause

#: A line that says nothing for longer hangs: it beats each 100 ms. In seconds.
SILENT_S = 0.25


class LineCondition:
    """The run that is followed; `run_id` is "" while there is none."""

    def __init__(self) -> None:
        self.run_id = ""
        self._away = "no run has come yet"
        self._heard_s = -inf
        self._log = ""
        self._refusals: dict[str, str] = {}
        self._gaps: dict[str, str] = {}
        self._degraded: frozenset[str] = frozenset()
        self._frozen: frozenset[str] = frozenset()
        self._has_snapshot = False
        self._lost = 0

    def came(self, run_id: str, now_s: float) -> None:
        """Note that results come from now on; until its first snapshot nobody knows whether it records.

        It may be said again of the same run, which was asked for other cameras.
        """
        if run_id == self.run_id:
            self.heard(now_s)
            return
        self.run_id, self._away, self._heard_s = run_id, "", now_s
        self._has_snapshot, self._lost = False, 0

    def went(self, why: str) -> None:
        """Note that it is gone."""
        self.run_id, self._away = "", why

    def heard(self, now_s: float) -> None:
        """Note that it said something."""
        self._heard_s = now_s

    def snapshot(self, header: Header) -> None:
        """Take how it is."""
        self._has_snapshot = True
        reason = str(header["log_reason"] or "") or "results cannot be recorded"
        self._log = "" if header["log_writable"] else reason
        self._refusals = {str(one["name"]): str(one["not_accepted"]) for one in header["cameras"]}
        self._gaps = {str(one["name"]): str(one["not_inspected"] or "") for one in header["cameras"]}
        self._degraded = _in_state(header, CameraState.DEGRADED)
        self._frozen = _in_state(header, CameraState.FROZEN)

    def dropped(self, header: Header) -> bool:
        """Take what was not told; return whether there are results among it that were not known of."""
        lost, self._lost = self._lost, int(header["results"])
        return self._lost > lost

    def is_well(self, now_s: float) -> bool:
        """Whether it is there and answers."""
        return not self._away and now_s - self._heard_s <= SILENT_S

    def stops(
        self, cameras: Collection[str], now_s: float, recording_problem: str, *, accepts_degraded: bool = False
    ) -> dict[PartCause, str]:
        """Return what stops acceptance at a lane of these cameras, worst first, in words.

        A camera that shows no part at all, because the light is out or the lens is covered, has no defects either.
        """
        found: dict[PartCause, str] = {}
        if self._away:
            found[PartCause.LINE_AWAY] = self._away
        elif not self.is_well(now_s):
            found[PartCause.LINE_AWAY] = "the line does not answer"
        elif not self._has_snapshot:
            found[PartCause.LINE_AWAY] = "the line has not said yet how it is"
        if log := recording_problem or self._log:
            found[PartCause.LOG] = log
        if refusal := next(filter(None, (self._refusals.get(camera, "") for camera in cameras)), ""):
            found[PartCause.CHALLENGE] = refusal
        for camera in cameras:
            if cause := self._gaps.get(camera, ""):
                found.setdefault(PartCause.CAMERA, f"camera {camera} is not inspected: {cause}")
            elif camera in self._degraded and not accepts_degraded:
                found.setdefault(PartCause.CAMERA, f"camera {camera} is DEGRADED: black, uniform or blurred")
        return found

    def sees_nothing(self, cameras: Collection[str], *, accepts_degraded: bool = False) -> bool:
        """Whether frames of one of these cameras came as inspected, and show no part: DEGRADED, or found FROZEN now.

        What stops acceptance is over with it, and the frames still count for the parts that passed meanwhile.
        """
        blind = self._frozen if accepts_degraded else self._frozen | self._degraded
        return not self._away and not blind.isdisjoint(cameras)


def _in_state(header: Header, state: CameraState) -> frozenset[str]:
    return frozenset(str(one["name"]) for one in header["cameras"] if one.get("state") == state)
