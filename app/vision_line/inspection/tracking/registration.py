# SPDX-License-Identifier: AGPL-3.0-or-later
"""Registration: the one shift of the belt that best explains a frame's detections, misses, exits and entries.

Each pair of a track and a detection of its class proposes a shift. A shift is scored by the log-likelihood of the
whole frame under it, as in multiple hypothesis tracking (D. Reid, "An algorithm for tracking multiple targets", IEEE
Transactions on Automatic Control 24, 1979): matched tracks, tracks missed though in view, and detections that are
new, which is likely where the belt brings parts in and unlikely in the middle. This resolves a case in
which a nearest-neighbour rule fails: neighbours of one class whose spacing equals the shift.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from vision_line.inspection.tracking.motion import BeltMotion, Points

Floats = NDArray[np.float64]
Rect = tuple[float, float, float, float]

#: Expected new detections in one frame away from its entry edge: missed before, or false.
BIRTHS_INSIDE = 0.05
#: Expected new detections in the strip that the belt brought into view, and the bound on their density relative to the
#: rest: a long shift brings no more arrivals, it spreads the same number over a wider strip.
BIRTHS_AT_ENTRY = 0.3
MOST_ENTRY_FACTOR = 100.0
#: Largest distance of a matching pair, in standard errors.
GATE = 3.5
#: Largest number of proposed shifts that are scored; the likeliest by the motion model are kept.
MAX_PROPOSALS = 48


@dataclass(frozen=True, slots=True)
class TrackColumns:
    """Columns of k tracks: centre when the belt was last located, its error, and the chance that a frame shows it."""

    centre: Points  # (k, 2)
    error: Floats  # (k,) standard error along each axis
    seen_chance: Floats  # (k,)
    class_id: NDArray[np.int64]  # (k,)


@dataclass(frozen=True, slots=True)
class DetectionColumns:
    """Columns of j detections of one frame."""

    centre: Points  # (j, 2)
    class_id: NDArray[np.int64]  # (j,)


@dataclass(frozen=True, slots=True)
class Shift:
    """The belt's shift since it was last located, in pixels, with its standard error along each axis."""

    xy: tuple[float, float]
    error: float


def estimate_shift(
    motion: BeltMotion, visible: Rect, tracks: TrackColumns, detections: DetectionColumns, dt_s: float
) -> Shift | None:
    """Return the likeliest shift over `dt_s`, or None where "no detection belongs to a track" is likelier than any.

    `visible` is where detections can be. Arrays of k tracks, j detections and c proposals; cost grows with c*k*j.
    """
    offsets = detections.centre - tracks.centre[:, None, :]  # (k, j, 2)
    same_class = tracks.class_id[:, None] == detections.class_id
    proposed = offsets[same_class]
    if not len(proposed):
        return None
    expected = (motion.expected_shift(dt_s),)
    proposals, prior = _likeliest(motion, np.concatenate((expected, proposed)), dt_s)
    pairs = _FramePairs(motion, visible, tracks, detections, offsets, same_class)
    likelihood, unmatched = pairs.log_likelihood(proposals)
    scores = prior + likelihood
    best = int(scores.argmax())
    if scores[best] <= unmatched[0]:
        return None
    return pairs.refine((float(proposals[best, 0]), float(proposals[best, 1])))


def _likeliest(motion: BeltMotion, proposals: Points, dt_s: float) -> tuple[Points, Floats]:
    """Return the likeliest proposals and the logs of their densities; the first, which is expected, stays the first."""
    prior = motion.log_density(proposals, dt_s)
    if len(prior) > MAX_PROPOSALS:
        kept = np.argpartition(prior[1:], 1 - MAX_PROPOSALS)[1 - MAX_PROPOSALS :] + 1
        kept = np.concatenate(((0,), kept))
        return proposals[kept], prior[kept]
    return proposals, prior


class _FramePairs:
    """All pairs of a track and a detection of one frame.

    A frame has a handful of each, so what counts is the number of NumPy's calls, not of elements: both axes go through
    one call, and sums and bounds are taken by `ufunc.reduce`, which the methods of arrays reach by way of Python.
    """

    def __init__(
        self,
        motion: BeltMotion,
        visible: Rect,
        tracks: TrackColumns,
        detections: DetectionColumns,
        offsets: NDArray[np.float64],
        same_class: NDArray[np.bool_],
    ) -> None:
        self._motion = motion
        left, top, right, bottom = visible
        self._low, self._high = np.array((left, top)), np.array((right, bottom))
        self._tracks = tracks
        self._detections = detections
        self._offsets = offsets
        self._same_class = same_class
        self._variance = tracks.error**2 + motion.centre_error**2
        self._missed = np.log1p(-tracks.seen_chance)
        self._width, self._height = right - left, bottom - top
        self._birth_inside = log(BIRTHS_INSIDE / (self._width * self._height))

    def log_likelihood(self, shifts: Points) -> tuple[Floats, Floats]:
        """Return (c,), (c,): the log-likelihoods of the frame under each of c shifts, its own error integrated out.

        The second is that of all tracks missed and all detections new.
        """
        births = self._births(shifts)
        missed = self._missed * self._in_view(shifts)
        distance = self._normalised_distance(shifts)
        # A proposal carries the error of its own pair besides that of the scored pair, hence twice the variance.
        near = self._same_class & (distance < 2 * GATE**2)
        level = np.log(self._tracks.seen_chance) - np.log(2 * pi * self._variance)
        gain = level[:, None] - 0.25 * distance - births[:, None, :] - missed[:, :, None]
        gain = np.where(near & (gain > 0), gain, 0.0)
        # One to one: the sum over tracks counts a track once, the sum over detections a detection once.
        of_tracks, of_detections = np.maximum.reduce(gain, axis=2), np.maximum.reduce(gain, axis=1)
        matched = np.minimum(np.add.reduce(of_tracks, axis=1), np.add.reduce(of_detections, axis=1))
        counts = np.add.reduce(of_tracks > 0, axis=1), np.add.reduce(of_detections > 0, axis=1)
        pairs = np.maximum(1, np.minimum(*counts))
        freedom = np.log(2 * pi * (np.add.reduce(self._variance) / len(self._variance)) / pairs)
        empty = np.where(matched > 0, 0.0, -np.inf)
        unmatched = np.add.reduce(births, axis=1) + np.add.reduce(missed, axis=1)
        return np.asarray(unmatched + matched + freedom + empty), np.asarray(unmatched)

    def refine(self, shift: tuple[float, float]) -> Shift | None:
        """Return the mean over all pairs that agree with `shift`.

        The motion model is left out: where a belt starts or stops it would bias every position, and tracks average the
        error of single observations themselves.
        """
        distance = np.where(self._same_class, self._normalised_distance(np.asarray([shift]))[0], np.inf)
        rows = distance.argmin(axis=1)
        # Mutual nearest neighbours only: a neighbour about to leave must not match the same box.
        mutual = distance.argmin(axis=0)[rows] == np.arange(len(rows))
        (tracks,) = (mutual & (np.minimum.reduce(distance, axis=1) < 2 * GATE**2)).nonzero()
        if not len(tracks):
            return None
        pairs = self._offsets[tracks, rows[tracks]]
        weight = 1 / self._variance[tracks]
        total = np.add.reduce(weight)
        x, y = (np.add.reduce(pairs * weight[:, None]) / total).tolist()
        return Shift((x, y), sqrt(1 / float(total)))

    def _normalised_distance(self, shifts: Points) -> NDArray[np.float64]:
        off = self._offsets - shifts[:, None, None, :]
        off *= off
        return np.asarray((off[..., 0] + off[..., 1]) / self._variance[:, None])

    def _in_view(self, shifts: Points) -> NDArray[np.bool_]:
        moved = self._tracks.centre + shifts[:, None, :]
        inside = (moved > self._low) & (moved < self._high)
        return np.asarray(inside[..., 0] & inside[..., 1])

    def _births(self, shifts: Points) -> Floats:
        """Return (c, j): the log density of a new detection at each place, under each shift."""
        # A part is detected once its centre is half a box inside, within the error of a truncated box.
        slack = 4 * self._motion.centre_error
        entered = self._entered(shifts, slack)
        way = np.abs(shifts) + slack
        share = way[:, 0] / self._width + way[:, 1] / self._height
        factor = np.minimum(np.maximum(BIRTHS_AT_ENTRY / (BIRTHS_INSIDE * share), 1.0), MOST_ENTRY_FACTOR)
        return np.asarray(self._birth_inside + np.log(factor)[:, None] * entered)

    def _entered(self, shifts: Points, slack: float) -> NDArray[np.bool_]:
        """Return (c, j): whether a detection lies in a strip that a shift has brought into view, of either axis."""
        shift = shifts[:, None, :]
        towards = np.sign(shift)  # 1: it came in at the low edge; -1: at the high one; 0: nowhere
        edge = np.where(shift > 0, self._low + shift + slack, self._high + shift - slack)
        entered = towards * self._detections.centre < towards * edge
        return np.asarray(entered[..., 0] | entered[..., 1])
