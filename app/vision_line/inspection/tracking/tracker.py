# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which detections of successive looks are the same physical defect.

Tracks live in belt coordinates: defects on a belt do not move against each other, so a look has one unknown, where
the belt is. A track that a look missed stays right as long as any other is seen, and a wrong shift in one look is
made good by the next, because it moved all tracks alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, sqrt

import numpy as np
from numpy.typing import NDArray

from vision_line.frames import Detections
from vision_line.inspection.tracking.association import SAME_SPOT_IOU, Track, TrackState, match_rows, rows_of
from vision_line.inspection.tracking.motion import BeltMotion
from vision_line.inspection.tracking.registration import DetectionColumns, Rect, Shift, TrackColumns, find_shift

#: A track that no look has confirmed yet is forgotten after so many looks without it.
TENTATIVE_MISSES = 3
#: A defect ends when it was not seen for so long (or for `LOST_AFTER_LOOKS` looks where they are rare).
LOST_AFTER_S = 5.0
LOST_AFTER_LOOKS = 5
#: A defect has left when so many looks in a row could not have it in view.
LEFT_AFTER_LOOKS = 3
#: What a track's place is uncertain by, as shares of its box and of the way it went unseen (perspective, lens).
BOX_ERROR = 0.06
WAY_ERROR = 0.07
#: A place follows the newest look by at least this share, so that perspective does not leave it behind.
LEAST_GAIN = 0.35
#: A box within so many standard errors of where its track was expected needs no second thought.
SURE_GATE = 2.0
#: Intervals between looks shorter than this are taken as this long, in seconds.
SHORTEST_DT_S = 1e-3


@dataclass(frozen=True, slots=True)
class TrackUpdate:
    """What one look changed: (track, row of the detections) pairs, and tracks that ended."""

    seen: list[tuple[Track, int]]
    echoes: list[tuple[Track, int]]  # a second box on a defect of `seen`, of another class
    gone: list[Track]


class BeltTracker:
    """Follows the defects of one camera. Pure: `at_s` is a clock that never goes back, in seconds.

    Confirmed tracks (`hits >= min_hits`) survive missed looks until they must have left the picture or were not seen
    for `LOST_AFTER_S`. Bounded: tracks end, and a look adds at most one for each of its detections.
    """

    def __init__(self, visible: Rect, size_wh: tuple[int, int], min_hits: int) -> None:
        """Track inside `visible` (x1, y1, x2, y2), the part of the picture of `size_wh` that detections can be in."""
        self.motion = BeltMotion(size_wh)
        self.tracks: list[Track] = []
        self._visible = visible
        self._min_hits = min_hits
        self._numbers = 0
        self._belt_xy = (0.0, 0.0)  # where belt coordinates' origin was in the picture at `_located_s`
        self._located_s = 0.0
        self._looked_s: float | None = None
        self._period_s = 0.0

    def update(self, detections: Detections, counts: NDArray[np.bool_], at_s: float) -> TrackUpdate:
        """Match one look. `counts` (n,) marks detections that may start a track and count as hits."""
        self._keep_period(at_s)
        if not self.tracks and not len(detections):
            return TrackUpdate([], [], [])
        rows = rows_of(detections, counts)
        dt_s = max(at_s - self._located_s, SHORTEST_DT_S)
        shift = self._find_shift(rows, dt_s)
        dx, dy = self.motion.expected_shift(dt_s) if shift is None else shift.xy
        here = (self._belt_xy[0] + dx, self._belt_xy[1] + dy)
        matches = match_rows(self.tracks, rows, here, self._errors(here) if shift else None)
        if shift is not None:
            self.motion.learn(shift.xy, dt_s, shift.error)
        elif self.tracks and rows:
            self.motion.doubt()
        # New boxes alone do not tell where the belt is. Unless nothing better is known, they must not shorten the
        # interval over which a missed defect may have moved: the belt may have started meanwhile.
        anchored = any(track.hits >= self._min_hits for track in self.tracks)
        step = self._settle(rows, matches, here, at_s)
        if matches or (step.seen and not anchored):
            self._belt_xy, self._located_s = here, at_s
        return step

    def expire(self, at_s: float) -> list[Track]:
        """Drop and return the tracks not seen for too long."""
        if not self.tracks:
            return []
        bound_s = max(LOST_AFTER_S, LOST_AFTER_LOOKS * self._period_s)
        return self._drop([track for track in self.tracks if at_s - track.seen_s > bound_s])

    def close(self) -> list[Track]:
        """Drop and return all tracks."""
        return self._drop(list(self.tracks))

    def _keep_period(self, at_s: float) -> None:
        if self.tracks and self._looked_s is not None:  # without tracks not every look comes here
            period_s = at_s - self._looked_s
            self._period_s += 0.2 * (period_s - self._period_s) if self._period_s else period_s
        self._looked_s = at_s

    def _errors(self, here: tuple[float, float]) -> list[float]:
        """Return each track's standard error along each axis when the belt is at `here`, in pixels."""
        x, y = here
        return [
            hypot(
                BOX_ERROR * max(track.width, track.height)
                + WAY_ERROR * hypot(x - track.seen_belt_xy[0], y - track.seen_belt_xy[1]),
                self.motion.centre_error,
            )
            for track in self.tracks
        ]

    def _find_shift(self, rows: Sequence[TrackState], dt_s: float) -> Shift | None:
        if not self.tracks or not rows:
            return None
        x, y = self._belt_xy
        dx, dy = self.motion.expected_shift(dt_s)
        if self.motion.trusted and len(rows) == len(self.tracks):
            shift = self._confirm_expected((x + dx, y + dy), rows)
            if shift is not None:
                return shift
        known = TrackColumns(
            np.array([(track.x + x, track.y + y) for track in self.tracks]),
            np.array(self._errors((x + dx, y + dy))),
            np.array([min(0.95, (track.seen + 1) / (track.looks + 1.5)) for track in self.tracks]),
            np.array([track.class_id for track in self.tracks]),
        )
        found = DetectionColumns(np.array([(row.x, row.y) for row in rows]), np.array([row.class_id for row in rows]))
        return find_shift(self.motion, self._visible, known, found, dt_s)

    def _confirm_expected(self, here: tuple[float, float], rows: Sequence[TrackState]) -> Shift | None:
        """Return the shift when each track is where it was expected: no other shift can explain more of the look.

        The common case, at a tenth of the cost of weighing all shifts against each other.
        """
        errors = self._errors(here)
        pairs: dict[int, tuple[float, float]] = {}
        weights = 0.0
        for track, error in zip(self.tracks, errors, strict=True):
            for index, row in enumerate(rows):
                x, y = row.x - track.x, row.y - track.y
                off = (x - here[0]) ** 2 + (y - here[1]) ** 2
                if row.class_id == track.class_id and off < SURE_GATE**2 * error * error and index not in pairs:
                    pairs[index] = (x, y)
                    weights += 1 / (error * error + self.motion.centre_error**2)
                    break
            else:
                return None
        x = sum(pair[0] for pair in pairs.values()) / len(pairs) - self._belt_xy[0]
        y = sum(pair[1] for pair in pairs.values()) / len(pairs) - self._belt_xy[1]
        return Shift((x, y), sqrt(1 / weights))

    def _settle(
        self, rows: Sequence[TrackState], matches: dict[int, Track], here: tuple[float, float], at_s: float
    ) -> TrackUpdate:
        step = TrackUpdate([], [], [])
        for index, track in matches.items():
            self._see(track, rows[index], here, at_s)
            step.seen.append((track, index))
        self._miss(matches, here)
        step.gone.extend(self._drop([track for track in self.tracks if self._is_over(track, at_s)]))
        for index, row in enumerate(rows):
            if index in matches:
                continue
            twin = next((track for track, seen in step.seen if row.overlap(rows[seen]) >= SAME_SPOT_IOU), None)
            if twin is not None:
                twin.votes[row.class_id] = twin.votes.get(row.class_id, 0.0) + row.score
                step.echoes.append((twin, index))
            elif row.counts:
                step.seen.append((self._start(row, here, at_s), index))
        return step

    def _start(self, row: TrackState, here: tuple[float, float], at_s: float) -> Track:
        self._numbers += 1
        x, y = row.x - here[0], row.y - here[1]
        votes = {row.class_id: row.score}
        track = Track(self._numbers, x, y, row.width, row.height, at_s, seen_belt_xy=here, votes=votes)
        self.tracks.append(track)
        return track

    def _see(self, track: Track, row: TrackState, here: tuple[float, float], at_s: float) -> None:
        gain = max(LEAST_GAIN, 1 / (track.seen + 1))
        track.x += gain * (row.x - here[0] - track.x)
        track.y += gain * (row.y - here[1] - track.y)
        track.width += gain * (row.width - track.width)
        track.height += gain * (row.height - track.height)
        track.votes[row.class_id] = track.votes.get(row.class_id, 0.0) + row.score
        track.seen_s = at_s
        track.looks += 1
        track.seen += 1
        track.hits += row.counts
        track.missed = track.outside = 0
        track.seen_belt_xy = here

    def _miss(self, matches: dict[int, Track], here: tuple[float, float]) -> None:
        seen = {track.number for track in matches.values()}
        for track in self.tracks:
            if track.number in seen:
                continue
            track.missed += 1
            if self._in_view(track, here):
                track.looks += 1
                track.outside = 0
            else:
                track.outside += 1

    def _in_view(self, track: Track, here: tuple[float, float]) -> bool:
        x, y = track.x + here[0], track.y + here[1]
        left, top, right, bottom = self._visible
        slack = 2 * self.motion.centre_error
        return left - slack < x < right + slack and top - slack < y < bottom + slack

    def _is_over(self, track: Track, at_s: float) -> bool:
        if track.hits < self._min_hits and (track.missed >= TENTATIVE_MISSES or track.outside):
            return True
        bound_s = max(LOST_AFTER_S, LOST_AFTER_LOOKS * self._period_s)
        return track.outside >= LEFT_AFTER_LOOKS or at_s - track.seen_s > bound_s

    def _drop(self, gone: list[Track]) -> list[Track]:
        if gone:
            numbers = {track.number for track in gone}
            self.tracks = [track for track in self.tracks if track.number not in numbers]
        return gone
