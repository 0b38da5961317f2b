# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who decodes how much when the box cannot decode all that arrives: fair shares, and how much there is to share. Pure.

Nothing measures beforehand how much a box can decode: inference, the network and other programs want the same cores.
So the room is learned from its lack: while cameras come late again and again though their threads are busy decoding,
less is decoded than before; after a while without that, a little more is tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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

_STEPS = 40  # of the search for the common level: far below a frame


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

    @property
    def enough_fps(self) -> float:
        """How many frames a second are as good as all of them: keyframes, where they are as many as asked for."""
        if self.inspect_fps is None or self.key_fps < self.inspect_fps:
            return self.fps
        return min(self.key_fps, SPARE * self.inspect_fps)

    @property
    def least_fps(self) -> float:
        """How many frames a second are decoded whatever happens."""
        return min(self.key_fps, LEAST_FPS, self.enough_fps)


def plan_shares(demands: Sequence[Demand], room: float) -> dict[str, float]:
    """Return which share of each camera's frames is decoded when there is room for this part of all their decoding.

    First, cameras for whose `inspect_fps` the keyframes do are decoded no further. If that is not enough, every camera
    gets the same decoding time, but none more than it has use for and none less than its keyframes take, at the least
    one a second: so none is starved, and none is favoured for being costly.
    """
    if room >= 1.0:
        return {demand.camera: 1.0 for demand in demands}
    budget_s = room * sum(demand.fps * demand.cost_s for demand in demands)
    level_s = _common_level(demands, budget_s)
    return {
        demand.camera: min(1.0, _granted_s(demand, level_s) / (demand.fps * demand.cost_s)) if demand.cost_s else 1.0
        for demand in demands
    }


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

    def _change(self, now_s: float, room: float) -> bool:
        self.room, self._changed_s = room, now_s
        return True
