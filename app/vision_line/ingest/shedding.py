# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who decodes how much when the box cannot decode all that arrives: fair shares, and how much there is to share. Pure.

Nothing measures beforehand how much a box can decode: inference, the network and other programs want the same cores.
So the room is learned from its lack: while cameras come late again and again though their threads are busy decoding,
less is decoded than before; after a while without that, a little more is tried.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, inf
from typing import NamedTuple

#: What is decoded at the most after it was too much, as a share of what was.
CUT = 0.85
#: What is tried after `PATIENCE_S` without trouble; trouble within that time after a try doubles it, up to `MOST_S`.
RAISE = 1.2
PATIENCE_S = 10.0
MOST_PATIENCE_S = 160.0
#: A cut shows its effect after this time.
SETTLE_S = 4.0
#: With more room than this everything is decoded.
FULL_ROOM = 0.95
LEAST_ROOM = 0.02
#: More keyframes than `inspect_fps` asks for, where every frame is one.
SPARE = 1.25
#: No camera is decoded less often than this, if it has as many keyframes.
LEAST_FPS = 1.0
#: Decoded at the most for each inspection that parts need: a newer frame replaces one that waits for the device.
DECODED_PER_INSPECTION = 5.0
#: Of a camera that rests this much is decoded, so that a picture that stands still or went black is still noticed.
RESTING_FPS = 0.2

#: Bursts of inspections that each part must meet; the gap between two of them may be half of its stay.
_LEAST_BURSTS = 2
_ALMOST = 0.05  # frame rates are measured

_STEPS = 40  # of the search for the common level: far below a frame


class InspectionQuota(NamedTuple):
    """What is decoded of `groups` groups of pictures in a row."""

    inspections: int  # until so many frames were inspected,
    frames: int  # but no more than this
    groups: int


@dataclass(slots=True)
class DecodeLoad:
    """One camera's decoding, over all its connections.

    The camera's thread writes what it sees, the event loop reads it; `share` goes the other way. Counts only grow.
    """

    frames: int = 0  # that arrived
    keyframes: int = 0  # of them
    times_late: int = 0  # how often the camera fell too late, after it had not been
    decoded: int = 0  # frames that went into the decoder
    decode_s: float = 0.0  # what that took
    behind_s: float = 0.0  # how late the newest frame came
    most_behind_s: float = 0.0  # how late any came
    seen_s: float = float("-inf")  # when it came
    share: float = 1.0  # of the frames that may be decoded
    quota: InspectionQuota | None = None  # None: no limit but the share
    rests: bool = False  # decoded so little because the device does not get to it
    rested: int = 0  # frames that were therefore not decoded
    taken: Callable[[], int] = int  # how many frames of the camera were inspected, or are about to be

    def saw(self, arrived_s: float, behind_s: float, *, keyframe: bool) -> None:
        """Count a frame that arrived."""
        self.frames += 1
        self.keyframes += keyframe
        self.behind_s = behind_s
        self.most_behind_s = max(self.most_behind_s, behind_s)
        self.seen_s = arrived_s

    def took(self, seconds: float) -> None:
        """Count a frame that was decoded."""
        self.decoded += 1
        self.decode_s += seconds


@dataclass(frozen=True, slots=True)
class Demand:
    """What a camera sends, more than nothing, and what decoding it takes."""

    camera: str
    fps: float
    key_fps: float
    cost_s: float  # of a frame
    inspect_fps: float | None = None  # frames a second that are enough; None: as many as possible
    needed_fps: float = 0.0  # inspections a second that its parts need
    dwell_s: float = inf  # how long they stay in view
    rests: bool = False  # it is not inspected now, for others to be

    @property
    def enough_fps(self) -> float:
        """How many frames a second are as good as all of them: keyframes, where they are as many as asked for."""
        enough_fps = self.fps
        if self.inspect_fps is not None and self.key_fps >= self.inspect_fps:
            enough_fps = min(self.key_fps, SPARE * self.inspect_fps)
        return min(enough_fps, RESTING_FPS) if self.rests else enough_fps

    @property
    def least_fps(self) -> float:
        """How many frames a second are decoded whatever happens: what its parts need, unless it rests."""
        least = max(min(self.key_fps, LEAST_FPS), self.needed_fps)
        return min(least, self.enough_fps)


def plan_shares(demands: Sequence[Demand], room: float) -> dict[str, float]:
    """Return which share of each camera's frames is decoded when there is room for this part of all their decoding.

    First, cameras for whose `inspect_fps` the keyframes do are decoded no further. If that is not enough, every camera
    gets the same decoding time, but none more than it has use for and none less than its parts need, or a keyframe a
    second: so none is starved, and none is favoured for being costly. One that rests gets next to nothing.
    """
    if room >= 1.0 and not any(demand.rests for demand in demands):
        return {demand.camera: 1.0 for demand in demands}
    budget_s = room * sum(demand.fps * demand.cost_s for demand in demands)
    level_s = _common_level(demands, budget_s)
    return {
        demand.camera: min(1.0, _granted_s(demand, level_s) / (demand.fps * demand.cost_s)) if demand.cost_s else 1.0
        for demand in demands
    }


def plan_quota(demand: Demand, times: float = 1.0) -> InspectionQuota | None:
    """Return the quota that gives each part `times` the inspections that it needs; None: all must be decoded.

    After a frame that is left out, decoding begins again only with a keyframe. So inspections come in bursts: one a
    group of pictures, or one in several groups where keyframes come more often than inspections are needed. A part
    meets as many bursts as fit into its stay. With fewer than two the gap between them would be too long for it.
    """
    if demand.key_fps <= 0 or demand.needed_fps <= 0:
        return None
    groups = max(1, int(demand.key_fps / (demand.needed_fps * times)))
    bursts = int(demand.dwell_s * demand.key_fps / groups + _ALMOST)
    if bursts < _LEAST_BURSTS:
        return None
    inspections = ceil(times * demand.needed_fps * demand.dwell_s / bursts - _ALMOST)
    return InspectionQuota(inspections, ceil(DECODED_PER_INSPECTION * inspections), groups)


def least_room(demands: Sequence[Demand]) -> float:
    """Return the part of all decoding below which some parts cannot get their inspections; 1.0 where nothing comes."""
    all_s = sum(demand.fps * demand.cost_s for demand in demands)
    return sum(demand.least_fps * demand.cost_s for demand in demands) / all_s if all_s else 1.0


def _granted_s(demand: Demand, level_s: float) -> float:
    """Return the decoding time a second that a camera gets at a common level."""
    return min(demand.enough_fps * demand.cost_s, max(demand.least_fps * demand.cost_s, level_s))


def _common_level(demands: Sequence[Demand], budget_s: float) -> float:
    """Return the level at which the budget is used up."""
    low_s, high_s = 0.0, max((demand.enough_fps * demand.cost_s for demand in demands), default=0.0)
    if sum(_granted_s(demand, high_s) for demand in demands) <= budget_s:
        return high_s
    for _ in range(_STEPS):
        middle_s = (low_s + high_s) / 2
        fits = sum(_granted_s(demand, middle_s) for demand in demands) <= budget_s
        low_s, high_s = (middle_s, high_s) if fits else (low_s, middle_s)
    return low_s


@dataclass(slots=True)
class DecodeRoom:
    """How much of what arrives can be decoded: 1.0 is all. Lowered at once where it is too much, raised slowly."""

    room: float = 1.0
    _patience_s: float = PATIENCE_S
    _changed_s: float = float("-inf")
    _raised_s: float = float("-inf")

    def update(self, now_s: float, decoded: float, *, is_strained: bool) -> bool:
        """Take in what was seen up to now; return whether the room has changed.

        `decoded` is the part of all decoding that was done. `is_strained`: cameras came late because of decoding.
        """
        if is_strained and now_s - self._changed_s >= SETTLE_S:
            if now_s - self._raised_s < self._patience_s:
                self._patience_s = min(2 * self._patience_s, MOST_PATIENCE_S)
            return self._change(now_s, max(LEAST_ROOM, CUT * min(self.room, decoded)))
        if not is_strained and self.room < 1.0 and now_s - self._changed_s >= self._patience_s:
            if self._raised_s == self._changed_s:  # the try before went well
                self._patience_s = PATIENCE_S
            self._raised_s = now_s
            raised = self.room * RAISE
            return self._change(now_s, 1.0 if raised >= FULL_ROOM else raised)
        return False

    def give_way(self, now_s: float, least: float) -> bool:
        """Take in that something else lacks what is decoded beyond `least`; return whether the room has changed."""
        if self.room > least:
            if now_s - self._raised_s < self._patience_s:
                self._patience_s = min(2 * self._patience_s, MOST_PATIENCE_S)
            return self._change(now_s, least)
        self._changed_s = now_s
        return False

    def _change(self, now_s: float, room: float) -> bool:
        self.room, self._changed_s = room, now_s
        return True
