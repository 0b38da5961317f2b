# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which single shift of the belt best explains a look: every track that moved, was missed, left or came in.

Each pair of a track and a detection of its class proposes a shift. A shift is scored by the log-likelihood of the
whole look under it, as in multiple hypothesis tracking (D. Reid, "An algorithm for tracking multiple targets", IEEE
Transactions on Automatic Control 24, 1979): matched tracks, tracks missed though in view, and detections that are
new, which is likely where the belt brings parts in and unlikely in the middle. That settles what a nearest-neighbour
rule gets wrong: neighbours of one class whose spacing equals the shift.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from vision_line.inspection.tracking.motion import BeltMotion, Points

Floats = NDArray[np.float64]
Rect = tuple[float, float, float, float]

#: New detections expected in one look in the whole picture away from its entry edge: missed before, or false.
BIRTHS_INSIDE = 0.05
#: New detections expected in the strip that the belt brought into view, and the bound of their density over that of
#: the rest: a long shift makes no arrival likelier, it spreads the same arrivals over a wider strip.
BIRTHS_AT_ENTRY = 0.3
MOST_ENTRY_FACTOR = 100.0
#: A pair matches within so many standard errors.
GATE = 3.5
#: So many proposed shifts are scored at most, the likeliest by the belt's motion first.
MAX_PROPOSALS = 48


@dataclass(frozen=True, slots=True)
class TrackColumns:
    """Columns of k tracks: centre when the belt was last located, its error, and the chance that a look sees it."""

    centre: Points  # (k, 2)
    error: Floats  # (k,) standard error along each axis
    seen_chance: Floats  # (k,)
    class_id: NDArray[np.int64]  # (k,)


@dataclass(frozen=True, slots=True)
class DetectionColumns:
    """Columns of j detections of one look."""

    centre: Points  # (j, 2)
    class_id: NDArray[np.int64]  # (j,)


@dataclass(frozen=True, slots=True)
class Shift:
    """The belt's shift since it was last located, in pixels, with its standard error along each axis."""

    xy: tuple[float, float]
    error: float


def find_shift(
    motion: BeltMotion, visible: Rect, known: TrackColumns, found: DetectionColumns, dt_s: float
) -> Shift | None:
    """Return the likeliest shift over `dt_s`, or None where "nothing seen is known" is likelier than any.

    `visible` is where detections can be. Arrays of k tracks, j detections and c proposals; cost grows with c*k*j.
    """
    away = found.centre[None, :, :] - known.centre[:, None, :]  # (k, j, 2)
    same = known.class_id[:, None] == found.class_id[None, :]
    if not same.any():
        return None
    proposals, prior = _likeliest(motion, np.vstack((motion.expected_shift(dt_s), away[same])), dt_s)
    look = _Look(motion, visible, known, found, away, same)
    scores = prior + look.log_likelihood(proposals)
    best = int(scores.argmax())
    if scores[best] <= look.log_likelihood_unmatched(np.asarray([motion.expected_shift(dt_s)])):
        return None
    return look.refine((float(proposals[best, 0]), float(proposals[best, 1])))


def _likeliest(motion: BeltMotion, proposals: Points, dt_s: float) -> tuple[Points, Floats]:
    prior = motion.log_density(proposals, dt_s)
    if len(prior) > MAX_PROPOSALS:
        kept = np.argpartition(prior, -MAX_PROPOSALS)[-MAX_PROPOSALS:]
        return proposals[kept], prior[kept]
    return proposals, prior


class _Look:
    """One look under judgement: tracks against detections."""

    def __init__(
        self,
        motion: BeltMotion,
        visible: Rect,
        known: TrackColumns,
        found: DetectionColumns,
        away: NDArray[np.float64],
        same: NDArray[np.bool_],
    ) -> None:
        self._motion = motion
        self._visible = visible
        self._known = known
        self._found = found
        self._away = away
        self._same = same
        self._variance = known.error**2 + motion.centre_error**2
        self._missed = np.log1p(-known.seen_chance)
        area = (visible[2] - visible[0]) * (visible[3] - visible[1])
        self._birth_inside = log(BIRTHS_INSIDE / area)

    def log_likelihood(self, shifts: Points) -> Floats:
        """Return (c,): the log-likelihood of the look under each of c shifts, the shift's own error integrated out."""
        births = self._births(shifts)
        in_view = self._in_view(shifts)
        distance = self._normalised_distance(shifts)
        # A proposal carries the error of its own pair beside that of the pair judged, hence twice the variance.
        near = self._same & (distance < 2 * GATE**2)
        level = np.log(self._known.seen_chance) - np.log(2 * pi * self._variance)
        gain = level[None, :, None] - 0.25 * distance - births[:, None, :] - (self._missed * in_view)[:, :, None]
        gain = np.where(near & (gain > 0), gain, 0.0)
        # One to one: the sum over tracks counts a track once, the sum over detections a detection once.
        matched = np.minimum(gain.max(axis=2).sum(axis=1), gain.max(axis=1).sum(axis=1))
        pairs = np.maximum(1, np.minimum((gain.max(axis=2) > 0).sum(axis=1), (gain.max(axis=1) > 0).sum(axis=1)))
        freedom = np.log(2 * pi * self._variance.mean() / pairs)
        empty = np.where(matched > 0, 0.0, -np.inf)
        return np.asarray(births.sum(axis=1) + (self._missed * in_view).sum(axis=1) + matched + freedom + empty)

    def log_likelihood_unmatched(self, shift: Points) -> float:
        """Return the log-likelihood that all tracks were missed and all detections are new."""
        return float(self._births(shift).sum() + (self._missed * self._in_view(shift)).sum())

    def refine(self, shift: tuple[float, float]) -> Shift | None:
        """Return the mean over all pairs that agree with `shift`.

        What the belt was expected to do stays out of it: where a belt starts or stops, that would hold every place
        back, and tracks average the error of single looks themselves.
        """
        distance = np.where(self._same, self._normalised_distance(np.asarray([shift]))[0], np.inf)
        rows = distance.argmin(axis=1)
        # Only pairs that are each other's nearest: a neighbour about to leave must not lay claim to the same box.
        mutual = distance.argmin(axis=0)[rows] == np.arange(len(rows))
        tracks = np.flatnonzero(mutual & (distance.min(axis=1) < 2 * GATE**2))
        if not len(tracks):
            return None
        pairs = self._away[tracks, rows[tracks]]
        weight = 1 / self._variance[tracks]
        mean = (pairs * weight[:, None]).sum(axis=0) / weight.sum()
        return Shift((float(mean[0]), float(mean[1])), sqrt(1 / float(weight.sum())))

    def _normalised_distance(self, shifts: Points) -> NDArray[np.float64]:
        x = self._away[None, :, :, 0] - shifts[:, 0, None, None]
        y = self._away[None, :, :, 1] - shifts[:, 1, None, None]
        return np.asarray((x * x + y * y) / self._variance[None, :, None])

    def _in_view(self, shifts: Points) -> NDArray[np.bool_]:
        moved = self._known.centre[None, :, :] + shifts[:, None, :]
        left, top, right, bottom = self._visible
        x, y = moved[:, :, 0], moved[:, :, 1]
        return np.asarray((x > left) & (x < right) & (y > top) & (y < bottom))

    def _births(self, shifts: Points) -> Floats:
        """Return (c, j): the log density of a new detection at each place, under each shift."""
        left, top, right, bottom = self._visible
        x, y = self._found.centre[None, :, 0], self._found.centre[None, :, 1]
        dx, dy = shifts[:, 0, None], shifts[:, 1, None]
        # A part shows up once its centre is half a box inside, give or take the error of a cut-off box.
        slack = 4 * self._motion.centre_error
        entered = (x < left + dx + slack) & (dx > 0) | (x > right + dx - slack) & (dx < 0)
        entered |= (y < top + dy + slack) & (dy > 0) | (y > bottom + dy - slack) & (dy < 0)
        share = (np.abs(dx) + slack) / (right - left) + (np.abs(dy) + slack) / (bottom - top)
        factor = np.clip(BIRTHS_AT_ENTRY / (BIRTHS_INSIDE * share), 1.0, MOST_ENTRY_FACTOR)
        return np.asarray(self._birth_inside + np.log(factor) * entered)
