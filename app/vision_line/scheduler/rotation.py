# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which cameras are served while not all of them can be served as often as their parts need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf

#: Served cameras get this multiple of their need: inspections do not come evenly, and the rate is a mean.
HEADROOM = 1.2
#: Reports of overload in a row before cameras rest.
OVERLOADED_IN_A_ROW = 5
#: Length of a period in dwell times of a part: parts in view at a change of turns are lost.
DWELLS_OF_A_PERIOD = 16
#: A device that had room for more so long gets more.
DWELLS_OF_SLACK = 2
#: A turn serves at most this multiple of the turn before.
GROWTH = 1.25


@dataclass(frozen=True, slots=True)
class Capacity:
    """What was achieved in a window of time."""

    inspected_fps: float
    is_full: bool  # the device had no free slot, while frames waited
    decodable: float = 1.0  # the part of what all parts need that can be decoded

    def room_fps(self, needed_fps: float, served_fps: float) -> float:
        """Return how many inspections a second there is room for.

        `served_fps` is what the served cameras need while others rest, otherwise 0. Then a device that is not full has
        inspected what it got. It can do more, but how much more is not known.
        """
        device_fps = self.inspected_fps if self.is_full else max(self.inspected_fps, GROWTH * HEADROOM * served_fps)
        if not self.is_full and not served_fps:
            device_fps = inf
        return min(device_fps, self.decodable * needed_fps if self.decodable < 1.0 else inf)


class Rotation:
    """Serves as many cameras as can be served fully, and lets the others rest in turns. Pure.

    An equal share for all would give every part too few inspections: at 60 % of the need no part would be inspected,
    while 60 % of the cameras, served in turns, inspect more than half of all parts. A turn lasts `DWELLS_OF_A_PERIOD`
    dwell times. The camera that rested longest comes first, so that none rests for ever, except one that could not be
    served alone.
    """

    def __init__(self) -> None:
        """Start with room for all."""
        self._queue: list[str] = []  # all cameras, the next ones first
        self._served: frozenset[str] = frozenset()  # empty: none rests
        self._until_s = 0.0
        self._full_s = -inf  # when there was room for no more
        self._reports = 0

    def plan(self, now_s: float, needs: Mapping[str, float], capacity: Capacity, dwell_s: float) -> frozenset[str]:
        """Return the cameras that rest from `now_s` on.

        Args:
            now_s: the present.
            needs: inspections per second that each camera with frames needs.
            capacity: what was achieved of late.
            dwell_s: the longest dwell time of a part.
        """
        served_fps = sum(needs.get(camera, 0.0) for camera in self._served)
        room_fps = capacity.room_fps(sum(needs.values()), served_fps)
        if room_fps >= sum(needs.values()) * (HEADROOM if self._served else 1.0):
            self._reports, self._served = 0, frozenset()
            return frozenset()
        self._reports += 1
        if self._reports < OVERLOADED_IN_A_ROW:
            return frozenset()
        self._queue = [*(c for c in self._queue if c in needs), *(c for c in needs if c not in self._queue)]
        kept = frozenset(_fitting((c for c in self._queue if c in self._served), needs, room_fps))
        self._full_s = now_s if capacity.is_full or kept != self._served else self._full_s
        if now_s >= self._until_s or not kept:
            self._queue.sort(key=lambda camera: camera in self._served)  # stable: cameras that rested come first
            kept = frozenset(_fitting(self._queue, needs, room_fps / HEADROOM))
            self._until_s = now_s + DWELLS_OF_A_PERIOD * dwell_s
        elif now_s - self._full_s >= DWELLS_OF_SLACK * dwell_s:
            kept |= frozenset(
                _fitting((c for c in self._queue if c not in kept), needs, room_fps / HEADROOM - served_fps)
            )
            self._full_s = now_s
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
