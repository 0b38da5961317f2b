# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which cameras are served while the device cannot serve all of them as often as their parts need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

#: Served cameras get this multiple of their need: inspections do not come evenly, and the rate is a mean.
HEADROOM = 1.1
#: Reports of overload in a row before cameras rest.
OVERLOADED_IN_A_ROW = 3
#: Length of a period in dwell times of a part: parts in view at a change of turns are lost.
DWELLS_OF_A_PERIOD = 8


class Rotation:
    """Serves as many cameras as the device can serve fully, and lets the others rest in turns. Pure.

    An equal share for all would give every part too few inspections: at 60 % of the need no part would be inspected,
    while 60 % of the cameras, served in turns, inspect more than half of all parts. A turn lasts `DWELLS_OF_A_PERIOD`
    dwell times. The camera that rested longest comes first, so that none rests for ever, except one that the device
    could not serve alone.
    """

    def __init__(self) -> None:
        """Start with a device that serves all."""
        self._queue: list[str] = []  # all cameras, the next ones first
        self._served: frozenset[str] = frozenset()  # empty: none rests
        self._until_s = 0.0
        self._reports = 0

    def plan(
        self, now_s: float, needs: Mapping[str, float], capacity_fps: float | None, dwell_s: float
    ) -> frozenset[str]:
        """Return the cameras that rest from `now_s` on.

        Args:
            now_s: the present.
            needs: inspections per second that each camera with frames needs.
            capacity_fps: the device's rate at its limit; None: it is not at its limit.
            dwell_s: the longest dwell time of a part.
        """
        suffices = sum(needs.values()) * (HEADROOM if self._served else 1.0)
        if capacity_fps is None or capacity_fps >= suffices:
            self._reports, self._served = 0, frozenset()
            return frozenset()
        self._reports += 1
        if self._reports < OVERLOADED_IN_A_ROW:
            return frozenset()
        self._queue = [*(c for c in self._queue if c in needs), *(c for c in needs if c not in self._queue)]
        kept = frozenset(_fitting((c for c in self._queue if c in self._served), needs, capacity_fps))
        if now_s >= self._until_s or not kept:
            self._queue.sort(key=lambda camera: camera in self._served)  # stable: cameras that rested come first
            kept = frozenset(_fitting(self._queue, needs, capacity_fps / HEADROOM))
            self._until_s = now_s + DWELLS_OF_A_PERIOD * dwell_s
        self._served = kept
        return frozenset(needs) - kept if kept else frozenset()


def _fitting(cameras: Iterable[str], needs: Mapping[str, float], room_fps: float) -> list[str]:
    """Return the cameras that fit together, taken in order."""
    fitting = []
    for camera in cameras:
        if needs[camera] <= room_fps:
            room_fps -= needs[camera]
            fitting.append(camera)
    return fitting
