# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which frames go into the next batch: a pure function of the waiting frames, past service and the time.

Fairness: every camera is inspected in proportion to the need of its parts, and evenly in time. With equal needs the
least recently inspected camera goes first, so with N ready cameras none waits for more than N - 1 others. Latency: a
frame older than its camera's staleness bound is dropped, never inspected late. Filling: a batch is of one model and one
input shape; for larger batches the plan may wait until they are full, but never past the waiting budget of the oldest
picked frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import NamedTuple, TypeAlias

from vision_line.frames import OWN_MODEL
from vision_line.ports import ShapeHW

#: A shape that is not asked for: batches are of one frame.
NO_SHAPE: ShapeHW = (0, 0)

#: Least distance between turns, in seconds of the time of `Turns`.
_APART = 1e-6


class Ready(NamedTuple):
    """One camera with a waiting frame, as the plan sees it. Times are seconds of one monotonic clock."""

    camera: int  # index that identifies the camera to the caller
    captured_s: float
    shape_hw: ShapeHW
    last_turn: float = -1  # turn of its last submission (`Turns`), lowest first; -1: none; inf: it rests
    not_before_s: float = -inf  # inspect_fps: no inspection before this moment
    max_staleness_s: float = inf
    capped: bool = False  # live camera with inspect_fps: an early frame is dropped instead of waiting
    model: str = OWN_MODEL  # that is to inspect it


#: A frame that may be picked, as its order of service compares it: by the last turn; among cameras without one, or at
#: rest, the oldest frame. Turns are numbers, not times: the frames of one batch share a time, and a fixed tie break
#: would serve some cameras twice as often as others.
_Due: TypeAlias = tuple[float, float, int, Ready]


class BatchPlan(NamedTuple):
    """Frames to drop (`stale`, `early`) and to submit (`batch`); without a batch, plan again at `again_s`."""

    batch: tuple[int, ...] = ()
    stale: tuple[int, ...] = ()
    early: tuple[int, ...] = ()
    again_s: float = inf


def plan_batch(now_s: float, ready: Sequence[Ready], *, max_batch: int, fill_s: float = 0.0) -> BatchPlan:
    """Plan the next batch of at most `max_batch` frames of one model and one input shape.

    Args:
        now_s: the present time.
        ready: at most one entry per camera, in any order.
        max_batch: the device's limit, at least 1.
        fill_s: how long the oldest picked frame may wait, counted from its capture, for the batch to fill.

    Returns:
        A plan in which every entry of `ready` is in `batch`, in `stale`, in `early`, or stays where it is.
    """
    stale: list[int] = []
    early: list[int] = []
    due: list[_Due] = []
    again_s = inf
    for item in ready:
        camera, captured_s, _, last_turn, not_before_s, max_staleness_s, capped, _ = item
        if now_s - captured_s > max_staleness_s:
            stale.append(camera)
        elif now_s >= not_before_s:
            due.append((last_turn, captured_s, camera, item))
        elif capped:
            # Its next frame would supersede it anyway: dropping it now with its own cause keeps "rate cap" and
            # "no capacity" apart in the ledger.
            early.append(camera)
        else:
            again_s = min(again_s, not_before_s)
    if not due:
        return BatchPlan((), tuple(stale), tuple(early), again_s)
    picked = [min(due)]
    if max_batch > 1 and len(due) > 1:
        first = picked[0][-1]
        alike = [each for each in due if each[-1].shape_hw == first.shape_hw and each[-1].model == first.model]
        picked = sorted(alike)[:max_batch]
    if fill_s > 0 and len(picked) < max_batch:
        fill_until_s = min([captured_s for _, captured_s, _, _ in picked]) + fill_s
        if now_s < fill_until_s:
            return BatchPlan((), tuple(stale), tuple(early), min(again_s, fill_until_s))
    return BatchPlan(tuple([camera for _, _, camera, _ in picked]), tuple(stale), tuple(early), again_s)


class Turns:
    """Virtual time of weighted fair queueing: a camera with half the period of another is served twice as often.

    The time advances with service, not with the clock. So the device's capacity is shared in proportion, and a camera
    that had no frame for a while does not catch up.
    """

    __slots__ = ("_now",)

    def __init__(self) -> None:
        """Start without a turn."""
        self._now = 0.0

    def take(self, last_turn: float, period_s: float) -> float:
        """Return the turn of a camera whose last was `last_turn`; it needs an inspection every `period_s`."""
        self._now = max(self._now, last_turn) + _APART  # strictly increasing: the order of equal cameras is stable
        return self._now + period_s
