# SPDX-License-Identifier: AGPL-3.0-or-later
"""Tracking: which detections of successive frames are the same physical defect.

Tracks live in belt coordinates: defects on a belt do not move relative to each other, so a frame has one unknown,
the position of the belt. A missed track keeps its place as long as any other is observed, and the next frame corrects
a wrong shift, because it moved all tracks alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from math import hypot, sqrt
from typing import NamedTuple

import numpy as np

from vision_line.frames import Detections
from vision_line.inspection.tracking.association import SAME_SPOT_IOU, DetectionRow, Track, match_rows, rows_of
from vision_line.inspection.tracking.motion import BeltMotion
from vision_line.inspection.tracking.registration import DetectionColumns, Rect, Shift, TrackColumns, estimate_shift

#: An unconfirmed track ends after this number of misses in a row.
TENTATIVE_MISSES = 3
#: A defect ends when it was not observed for this time, or for `LOST_AFTER_FRAMES` periods where frames are rare.
LOST_AFTER_S = 5.0
LOST_AFTER_FRAMES = 5
#: A defect has left when it was out of view in this number of frames in a row.
LEFT_AFTER_FRAMES = 3
#: Uncertainty of a track's position, as shares of its box and of its travel since it was observed (perspective, lens).
BOX_ERROR = 0.06
TRAVEL_ERROR = 0.07
#: Least weight of the newest observation in a track's position, so that it follows perspective.
LEAST_GAIN = 0.35
#: A detection within this number of standard errors of its track's expected position matches without a search.
CERTAIN_GATE = 2.0
#: Lower bound on the interval between two frames, in seconds.
SHORTEST_DT_S = 1e-3


class TrackUpdate(NamedTuple):
    """What one frame changed: (track, row of the detections) pairs, and tracks that ended."""

    observed: list[tuple[Track, int]]
    duplicate_hits: list[tuple[Track, int]]  # a second box of another class on a track of `observed`
    ended: list[Track]


class BeltTracker:
    """Follows the defects of one camera. Pure: `at_s` is a clock that never goes back, in seconds.

    Confirmed tracks (`hits >= min_hits`) survive misses until they must have left the view or were not observed for
    `LOST_AFTER_S`. Bounded: tracks end, and a frame adds at most one for each of its detections.
    """

    def __init__(
        self, visible: Rect, size_wh: tuple[int, int], min_hits: int, numbers: Iterator[int] | None = None
    ) -> None:
        """Track inside `visible` (x1, y1, x2, y2), the part of a frame of `size_wh` in which detections can be.

        `numbers` are those of new tracks; without them they count from 1.
        """
        self.motion = BeltMotion(size_wh)
        self.tracks: list[Track] = []
        self._visible = visible
        self._min_hits = min_hits
        self._numbers = count(1) if numbers is None else numbers
        self._belt_xy = (0.0, 0.0)  # position of the belt coordinates' origin in the frame at `_located_s`
        self._located_s = 0.0
        self._updated_s: float | None = None
        self._period_s = 0.0
        #: A track ends that was not observed for so long, or for longer where frames are rare while there are tracks.
        self.lost_after_s = LOST_AFTER_S

    def update(self, detections: Detections, is_hit: Sequence[bool], at_s: float) -> TrackUpdate:
        """Match one frame's detections. `is_hit` (n,) marks those that may start a track."""
        self._keep_period(at_s)
        if not self.tracks and not len(detections):
            return TrackUpdate([], [], [])
        dt_s = max(at_s - self._located_s, SHORTEST_DT_S)
        if not len(detections):
            return TrackUpdate([], [], self._miss_all(dt_s, at_s))
        rows = rows_of(detections, is_hit)
        shift = self._find_shift(rows, dt_s)
        dx, dy = self.motion.expected_shift(dt_s) if shift is None else shift.xy
        belt_xy = (self._belt_xy[0] + dx, self._belt_xy[1] + dy)
        matches = match_rows(self.tracks, rows, belt_xy, self._errors(belt_xy) if shift else None)
        if shift is not None:
            self.motion.learn(shift.xy, dt_s, shift.error)
        elif self.tracks and rows:
            self.motion.doubt()
        # New tracks alone do not locate the belt. While a confirmed track exists they must not shorten the interval
        # over which a missed defect may have moved: the belt may have started meanwhile.
        anchored = any(track.hits >= self._min_hits for track in self.tracks)
        step = self._apply(rows, matches, belt_xy, at_s)
        if matches or (step.observed and not anchored):
            self._belt_xy, self._located_s = belt_xy, at_s
        return step

    def _miss_all(self, dt_s: float, at_s: float) -> list[Track]:
        """Count a frame that shows no track; return those that ended."""
        (x, y), (dx, dy) = self._belt_xy, self.motion.expected_shift(dt_s)
        self._count_misses({}, (x + dx, y + dy))
        return self._drop(self._ended(at_s))

    def expire(self, at_s: float) -> list[Track]:
        """Drop and return the tracks that were not observed for too long."""
        if not self.tracks:
            return []
        bound_s = self._bound_s
        return self._drop([track for track in self.tracks if at_s - track.observed_s > bound_s])

    @property
    def _bound_s(self) -> float:
        return max(self.lost_after_s, LOST_AFTER_FRAMES * self._period_s)

    def close(self) -> list[Track]:
        """Drop and return all tracks."""
        return self._drop(list(self.tracks))

    def _keep_period(self, at_s: float) -> None:
        if self.tracks and self._updated_s is not None:  # without tracks not every frame comes here
            period_s = at_s - self._updated_s
            self._period_s += 0.2 * (period_s - self._period_s) if self._period_s else period_s
        self._updated_s = at_s

    def _errors(self, belt_xy: tuple[float, float]) -> list[float]:
        """Return each track's standard error along each axis when the belt is at `belt_xy`, in pixels."""
        (x, y), centre_error = belt_xy, self.motion.centre_error
        return [
            hypot(
                BOX_ERROR * max(track.width, track.height)
                + TRAVEL_ERROR * hypot(x - track.observed_belt_xy[0], y - track.observed_belt_xy[1]),
                centre_error,
            )
            for track in self.tracks
        ]

    def _find_shift(self, rows: Sequence[DetectionRow], dt_s: float) -> Shift | None:
        if not self.tracks or not rows:
            return None
        x, y = self._belt_xy
        dx, dy = self.motion.expected_shift(dt_s)
        errors = self._errors((x + dx, y + dy))
        if self.motion.trusted and len(rows) == len(self.tracks):
            shift = self._confirm_expected((x + dx, y + dy), errors, rows)
            if shift is not None:
                return shift
        tracks = TrackColumns(
            np.array([(track.x + x, track.y + y) for track in self.tracks]),
            np.array(errors),
            np.array([min(0.95, (track.observations + 1) / (track.frames_in_view + 1.5)) for track in self.tracks]),
            np.array([track.class_id for track in self.tracks]),
        )
        observed = DetectionColumns(
            np.array([(row.x, row.y) for row in rows]), np.array([row.class_id for row in rows])
        )
        return estimate_shift(self.motion, self._visible, tracks, observed, dt_s)

    def _confirm_expected(
        self, belt_xy: tuple[float, float], errors: Sequence[float], rows: Sequence[DetectionRow]
    ) -> Shift | None:
        """Return the shift when each track is at its expected position: no other shift can explain more of the frame.

        The common case, at a tenth of the cost of scoring all shifts.
        """
        pairs: dict[int, tuple[float, float]] = {}
        weights = 0.0
        for track, error in zip(self.tracks, errors, strict=True):
            gate = CERTAIN_GATE**2 * error * error
            for index, row in enumerate(rows):
                if row.class_id != track.class_id or index in pairs:
                    continue
                x, y = row.x - track.x, row.y - track.y
                if (x - belt_xy[0]) ** 2 + (y - belt_xy[1]) ** 2 < gate:
                    pairs[index] = (x, y)
                    weights += 1 / (error * error + self.motion.centre_error**2)
                    break
            else:
                return None
        x = sum(pair[0] for pair in pairs.values()) / len(pairs) - self._belt_xy[0]
        y = sum(pair[1] for pair in pairs.values()) / len(pairs) - self._belt_xy[1]
        return Shift((x, y), sqrt(1 / weights))

    def _apply(
        self, rows: Sequence[DetectionRow], matches: dict[int, Track], belt_xy: tuple[float, float], at_s: float
    ) -> TrackUpdate:
        step = TrackUpdate([], [], [])
        for index, track in matches.items():
            self._observe(track, rows[index], belt_xy, at_s)
            step.observed.append((track, index))
        self._count_misses(matches, belt_xy)
        step.ended.extend(self._drop(self._ended(at_s)))
        hit = {track.number for track, index in step.observed if rows[index].is_hit}
        for index, row in enumerate(rows):
            if index in matches:
                continue
            original = next((track for track, seen in step.observed if row.overlap(rows[seen]) >= SAME_SPOT_IOU), None)
            if original is not None:
                original.vote(row.class_id, row.score)
                if row.is_hit and original.number not in hit:
                    # the matched row is of a class whose threshold it does not reach: the spot was hit all the same
                    original.hits += 1
                    hit.add(original.number)
                step.duplicate_hits.append((original, index))
            elif row.is_hit:
                step.observed.append((self._start(row, belt_xy, at_s), index))
                hit.add(step.observed[-1][0].number)
        return step

    def _start(self, row: DetectionRow, belt_xy: tuple[float, float], at_s: float) -> Track:
        x, y = row.x - belt_xy[0], row.y - belt_xy[1]
        track = Track(next(self._numbers), x, y, row.width, row.height, at_s, observed_belt_xy=belt_xy)
        track.vote(row.class_id, row.score)
        self.tracks.append(track)
        return track

    def _observe(self, track: Track, row: DetectionRow, belt_xy: tuple[float, float], at_s: float) -> None:
        gain = max(LEAST_GAIN, 1 / (track.observations + 1))
        track.x += gain * (row.x - belt_xy[0] - track.x)
        track.y += gain * (row.y - belt_xy[1] - track.y)
        track.width += gain * (row.width - track.width)
        track.height += gain * (row.height - track.height)
        track.vote(row.class_id, row.score)
        track.observed_s = at_s
        track.frames_in_view += 1
        track.observations += 1
        track.hits += row.is_hit
        track.missed = track.outside = 0
        track.observed_belt_xy = belt_xy

    def _count_misses(self, matches: dict[int, Track], belt_xy: tuple[float, float]) -> None:
        seen = {track.number for track in matches.values()}
        for track in self.tracks:
            if track.number in seen:
                continue
            track.missed += 1
            if self._in_view(track, belt_xy):
                track.frames_in_view += 1
                track.outside = 0
            else:
                track.outside += 1

    def _in_view(self, track: Track, belt_xy: tuple[float, float]) -> bool:
        x, y = track.x + belt_xy[0], track.y + belt_xy[1]
        left, top, right, bottom = self._visible
        slack = 2 * self.motion.centre_error
        return left - slack < x < right + slack and top - slack < y < bottom + slack

    def _ended(self, at_s: float) -> list[Track]:
        bound_s, min_hits = self._bound_s, self._min_hits
        return [
            track
            for track in self.tracks
            if (track.hits < min_hits and (track.missed >= TENTATIVE_MISSES or track.outside))
            or track.outside >= LEFT_AFTER_FRAMES
            or at_s - track.observed_s > bound_s
        ]

    def _drop(self, ended: list[Track]) -> list[Track]:
        if ended:
            numbers = {track.number for track in ended}
            self.tracks = [track for track in self.tracks if track.number not in numbers]
        return ended
