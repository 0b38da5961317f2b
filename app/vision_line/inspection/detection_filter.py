# SPDX-License-Identifier: AGPL-3.0-or-later
"""The detections that count for a camera: above its class thresholds, inside its regions of interest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vision_line.config.camera_recipes import named_classes
from vision_line.config.models import Stream, StreamSettings
from vision_line.frames import Detections

Polygon = Sequence[Sequence[float]]


class Kept(NamedTuple):
    """The filtered rows of one frame: `tracked` go to the tracker, `detections` (a part of them) to the log."""

    tracked: Detections
    detections: Detections


def class_thresholds(classes: Sequence[str], stream: StreamSettings, default: float) -> NDArray[np.float32]:
    """Return (nc,) float32: the lowest score that counts for each class, infinite for one that is not in use.

    A class's own entry takes precedence over the camera's `score_threshold`, and that over `default` (the model's).
    """
    fallback = default if stream.score_threshold is None else stream.score_threshold
    used = set(stream.classes or classes)
    return np.array([stream.thresholds.get(name, fallback) if name in used else np.inf for name in classes], np.float32)


def score_floor(
    streams: Iterable[StreamSettings], classes: Sequence[str], default: float, *, continue_ratio: float = 1.0
) -> NDArray[np.float32]:
    """Return (nc,) float32: the lowest score of each class that any camera needs; the device may drop lower ones.

    Without cameras it is `default`. `continue_ratio` as in `DetectionFilter`.
    """
    rows = [class_thresholds(classes, stream, default) for stream in streams]
    lowest = np.min(rows, axis=0) if rows else np.full(len(classes), default, np.float32)
    return np.asarray(lowest * np.float32(continue_ratio), np.float32)


def unknown_classes(streams: Iterable[Stream], classes: Sequence[str]) -> list[str]:
    """Return one problem (a line for `ConfigError`) for each class of a camera that the model does not have."""
    known = set(classes)
    return [
        f"stream {stream.name!r}: {key}.{name}: found no such class in the model, expected one of {', '.join(classes)}"
        for stream in streams
        for key, name in named_classes(stream)
        if name not in known
    ]


class DetectionFilter:
    """Keeps one camera's detections that reach their class's threshold and whose centre lies in a region of interest.

    With `continue_ratio` below 1, scores down to `continue_ratio * threshold` also go to the tracker: such a
    detection starts and confirms nothing (see `EventTracker`), it only extends an event. The region is compiled for a
    frame size when that size first comes. Used by one thread.
    """

    def __init__(
        self, classes: Sequence[str], stream: StreamSettings, default: float, *, continue_ratio: float = 1.0
    ) -> None:
        """Read the thresholds and polygons of `stream`; `default` is the model's own threshold."""
        thresholds = class_thresholds(classes, stream, default)
        # lists: a frame shows a handful of detections, for which plain numbers are faster than arrays
        self._thresholds: list[float] = thresholds.tolist()
        self._floor: list[float] = (thresholds * np.float32(continue_ratio)).tolist()
        self._polygons: tuple[Polygon, ...] = tuple(stream.roi)
        self._size_wh = (0, 0)
        self._edges: tuple[_Edges, ...] = ()

    def __call__(self, detections: Detections, size_wh: tuple[int, int]) -> Kept:
        """Return the rows that count; the same object when all of them do."""
        if not detections.score.size:
            return Kept(detections, detections)
        rows = list(zip(detections.score.tolist(), detections.class_id.tolist(), strict=True))
        floor, thresholds = self._floor, self._thresholds
        keep = [score >= floor[number] for score, number in rows]
        if self._polygons:
            inside = self._inside(detections, size_wh).tolist()
            keep = [reaches and lies for reaches, lies in zip(keep, inside, strict=True)]
        tracked = _those(detections, keep)
        hits = [score >= thresholds[number] for (score, number), kept in zip(rows, keep, strict=True) if kept]
        return Kept(tracked, _those(tracked, hits))

    def _inside(self, detections: Detections, size_wh: tuple[int, int]) -> NDArray[np.bool_]:
        if size_wh != self._size_wh:
            self._size_wh = size_wh
            self._edges = tuple(_Edges(polygon, size_wh) for polygon in self._polygons)
        x = (detections.xyxy[:, 0] + detections.xyxy[:, 2]) * 0.5
        y = (detections.xyxy[:, 1] + detections.xyxy[:, 3]) * 0.5
        inside = self._edges[0].contains(x, y)
        for edges in self._edges[1:]:
            inside |= edges.contains(x, y)
        return inside


def _those(detections: Detections, keep: Sequence[bool]) -> Detections:
    return detections if all(keep) else detections[np.array(keep)]


class _Edges:
    """A polygon's edges in pixels, ready for the even-odd rule: a ray to the right crosses an odd number of them."""

    def __init__(self, polygon: Polygon, size_wh: tuple[int, int]) -> None:
        corners = np.asarray(polygon, np.float32) * np.asarray(size_wh, np.float32)
        following = np.roll(corners, -1, axis=0)
        self._x, self._y = corners[:, 0], corners[:, 1]
        self._end_y = following[:, 1]
        rise = self._end_y - self._y
        # A level edge is never crossed (both ends on one side of the ray), so its slope is never used.
        self._slope = (following[:, 0] - self._x) / np.where(rise == 0, np.float32(1), rise)

    def contains(self, x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return (n,): which of the n points lie inside."""
        row = y[:, None]
        spans = (self._y > row) != (self._end_y > row)
        crossed = spans & (x[:, None] < self._x + (row - self._y) * self._slope)
        odd: NDArray[np.bool_] = np.logical_xor.reduce(crossed, axis=1)
        return odd
