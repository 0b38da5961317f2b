# SPDX-License-Identifier: AGPL-3.0-or-later
"""A line across a camera's frame, and on which side of it something is. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot

from vision_line.config.optical_settings import DIRECTIONS

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class LinePlace:
    """Where a centre is: `along_px` beyond the line, negative before it; `across` is 0 to 1 between the line's ends."""

    along_px: float
    across: float


@dataclass(frozen=True, slots=True)
class CrossingLine:
    """From `begin` to `end`, shares of the frame's width and height; parts cross it in `direction`."""

    begin: Point
    end: Point
    direction: str

    def place(self, x: float, y: float, size_wh: tuple[int, int]) -> LinePlace:
        """Return where a centre is, in pixels of a frame of `size_wh`."""
        begin_x, begin_y = self.begin[0] * size_wh[0], self.begin[1] * size_wh[1]
        dx, dy = self.end[0] * size_wh[0] - begin_x, self.end[1] * size_wh[1] - begin_y
        normal_x, normal_y = self._normal(size_wh)
        off_x, off_y = x - begin_x, y - begin_y
        across = (off_x * dx + off_y * dy) / (dx * dx + dy * dy)
        return LinePlace(off_x * normal_x + off_y * normal_y, across)

    def centre(self, place: LinePlace, size_wh: tuple[int, int]) -> Point:
        """Return the centre, in pixels of a frame of `size_wh`, that is at a place."""
        dx, dy = (self.end[0] - self.begin[0]) * size_wh[0], (self.end[1] - self.begin[1]) * size_wh[1]
        normal_x, normal_y = self._normal(size_wh)
        x = self.begin[0] * size_wh[0] + place.across * dx + place.along_px * normal_x
        y = self.begin[1] * size_wh[1] + place.across * dy + place.along_px * normal_y
        return x, y

    def length_px(self, size_wh: tuple[int, int]) -> float:
        """Return how long it is in a frame of `size_wh`."""
        return hypot((self.end[0] - self.begin[0]) * size_wh[0], (self.end[1] - self.begin[1]) * size_wh[1])

    def depth_px(self, width: float, height: float, size_wh: tuple[int, int]) -> float:
        """Return how far a box of this size reaches across the line, from its first corner to its last."""
        normal_x, normal_y = self._normal(size_wh)
        return abs(normal_x) * width + abs(normal_y) * height

    def _normal(self, size_wh: tuple[int, int]) -> Point:
        """Return the unit vector, in pixels, that points to where parts go."""
        dx, dy = (self.end[0] - self.begin[0]) * size_wh[0], (self.end[1] - self.begin[1]) * size_wh[1]
        length, way = hypot(dx, dy), DIRECTIONS[self.direction]
        sign = 1.0 if way[0] * dy - way[1] * dx > 0 else -1.0
        return sign * dy / length, -sign * dx / length


@dataclass(frozen=True, slots=True)
class CrossingRule:
    """What crosses a line in a camera's frames, and how well it must be seen.

    An object of `classes` is one from `hits` hits on, and is lost when `patience` frames in a row do not show it.
    Between two frames that are further apart than `gap_s` nobody can say which is which; in more than `dwell_s` one can
    pass unseen.
    """

    camera: str
    classes: frozenset[str]
    line: CrossingLine
    hits: int
    patience: int
    gap_s: float
    dwell_s: float
