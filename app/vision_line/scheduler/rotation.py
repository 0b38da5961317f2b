# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who is served while the device cannot serve all cameras as often as their parts need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

#: The cameras that are served get so much more than they need: looks do not come evenly, and the measure is a mean.
HEADROOM = 1.1
#: So many reports of overload in a row are no accident.
OVERLOADED_IN_A_ROW = 3
#: Periods last so many stays of a part: those in the picture at a change of turns are lost.
STAYS_OF_A_PERIOD = 8


class Rotation:
    """Serves as many cameras as the device can serve fully, and lets the others rest until their turn comes. Pure.

    An equal share for all would give every part too few looks: with 60 % of what is needed not one part would be
    inspected, while 60 % of the cameras, served in turns, inspect more than half of all parts. Turns last
    `STAYS_OF_A_PERIOD` stays; who rested longest comes first, so that none rests for ever, but for a camera that the
    device could not serve if it were the only one.
    """

    def __init__(self) -> None:
        """Begin with a device that serves all."""
        self._queue: list[str] = []  # all cameras, those whose turn comes next in front
        self._served: frozenset[str] = frozenset()  # empty: nobody rests
        self._until_s = 0.0
        self._reports = 0

    def plan(
        self, now_s: float, needs: Mapping[str, float], capacity_fps: float | None, stay_s: float
    ) -> frozenset[str]:
        """Return the cameras that rest from `now_s` on.

        Args:
            now_s: the present.
            needs: inspections a second that each camera needs of which frames come.
            capacity_fps: what the device inspects at its limit; None: it is not at its limit.
            stay_s: the longest stay of a part.
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
            self._queue.sort(key=lambda camera: camera in self._served)  # stable: who rested goes to the front
            kept = frozenset(_fitting(self._queue, needs, capacity_fps / HEADROOM))
            self._until_s = now_s + STAYS_OF_A_PERIOD * stay_s
        self._served = kept
        return frozenset(needs) - kept if kept else frozenset()


def _fitting(cameras: Iterable[str], needs: Mapping[str, float], room_fps: float) -> list[str]:
    """Return those that fit together, the first in the order first."""
    fitting = []
    for camera in cameras:
        if needs[camera] <= room_fps:
            room_fps -= needs[camera]
            fitting.append(camera)
    return fitting
