# SPDX-License-Identifier: AGPL-3.0-or-later
"""Outlines as the records keep them: x, y, x, y ... of corners, one behind the other. Pure.

Those of rotated boxes have four, polygons around masks have three or more.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import atan2, degrees, hypot

import numpy as np
from numpy.typing import NDArray

from vision_line.frames import Outline

_Point = tuple[float, float]

#: How far the middles of a box's diagonals may be apart: corners are rounded.
_ROUNDED_PX = 0.1
#: And their lengths, as a share: a frame's axes are scaled by slightly different factors.
_SKEWED = 0.15
#: Two polygons are compared as images whose longer side has so many pixels.
_COMPARED_PX = 512


def outline_in(text: str | None) -> Outline | None:
    """Return the outline that a row has; None: there is only its upright box."""
    return None if text is None else tuple(map(float, json.loads(text)))


def area_of(outline: Sequence[float]) -> float:
    """Return the area that an outline encloses, in square pixels."""
    xs, ys = outline[::2], outline[1::2]
    return abs(sum(xs[n - 1] * ys[n] - xs[n] * ys[n - 1] for n in range(len(xs)))) / 2


def overlap_of(one: Outline, other: Outline) -> float:
    """Return the intersection over union of two rotated boxes or polygons; 0 where both are empty.

    Of two that are not both rectangles to what an image of 512 pixels can tell.
    """
    if not (is_rectangle(one) and is_rectangle(other)):
        return _overlap_of_polygons(one, other)
    common, edges = _corners(one), _corners(other)
    for n in range(len(edges)):
        common = _on_one_side(common, edges[n - 1], edges[n])
    shared = area_of([value for corner in common for value in corner])
    united = area_of(one) + area_of(other) - shared
    return shared / united if united > 0 else 0.0


def _corners(outline: Outline) -> list[_Point]:
    """Return the corners clockwise, as they are seen where y points down."""
    corners = list(zip(outline[::2], outline[1::2], strict=True))
    turned = sum(corners[n - 1][0] * corners[n][1] - corners[n][0] * corners[n - 1][1] for n in range(len(corners)))
    return corners if turned > 0 else corners[::-1]


def _on_one_side(polygon: Sequence[_Point], begin: _Point, end: _Point) -> list[_Point]:
    """Return what of a convex polygon lies on the inner side of the edge of another."""
    (x1, y1), (x2, y2) = begin, end
    inner = [(x2 - x1) * (y - y1) - (y2 - y1) * (x - x1) for x, y in polygon]
    kept: list[_Point] = []
    for n, (x, y) in enumerate(polygon):
        if inner[n - 1] * inner[n] < 0:
            share, (before_x, before_y) = inner[n - 1] / (inner[n - 1] - inner[n]), polygon[n - 1]
            kept.append((before_x + share * (x - before_x), before_y + share * (y - before_y)))
        if inner[n] >= 0:
            kept.append((x, y))
    return kept


def is_rectangle(outline: Outline) -> bool:
    """Whether an outline is as good as that of a box: four corners, and diagonals alike that halve each other."""
    if len(outline) != 8:
        return False
    x1, y1, x2, y2, x3, y3, x4, y4 = outline
    apart = max(abs(x1 + x3 - x2 - x4), abs(y1 + y3 - y2 - y4)) / 2
    one, other = hypot(x3 - x1, y3 - y1), hypot(x4 - x2, y4 - y2)
    return apart <= _ROUNDED_PX and abs(one - other) <= _SKEWED * max(one, other)


def rectangle_around(outline: Outline) -> Outline:
    """Return the smallest rotated box around a polygon; what has four corners as it is."""
    if len(outline) == 8:
        return outline
    import cv2  # not with the module: commands' help would load it

    points = np.array(outline, np.float32).reshape(-1, 2)
    return tuple(cv2.boxPoints(cv2.minAreaRect(points)).ravel().tolist())


def _overlap_of_polygons(one: Outline, other: Outline) -> float:
    polygons = [np.array(outline, np.float64).reshape(-1, 2) for outline in (one, other)]
    lows, highs = [polygon.min(axis=0) for polygon in polygons], [polygon.max(axis=0) for polygon in polygons]
    if (np.max(lows, axis=0) >= np.min(highs, axis=0)).any():
        return 0.0  # beside each other, as most pairs in an image are: filling them takes milliseconds
    low = np.min(lows, axis=0)
    scale = _COMPARED_PX / max(float((np.max(highs, axis=0) - low).max()), 1e-9)
    first, second = (_filled((polygon - low) * scale) for polygon in polygons)
    united = np.count_nonzero(first | second)
    return float(np.count_nonzero(first & second) / united) if united else 0.0


def _filled(polygon: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return an image in which a polygon within it is 1."""
    import cv2  # not with the module: commands' help would load it

    image = np.zeros((_COMPARED_PX + 1, _COMPARED_PX + 1), np.uint8)
    cv2.fillPoly(image, [np.rint(polygon).astype(np.int32)], 1)
    return image


def sides_of(outline: Outline) -> tuple[float, float, float]:
    """Return width and height of a rotated box, and by how many degrees it turns clockwise around its first corner."""
    x1, y1, x2, y2, _, _, x4, y4 = outline
    return hypot(x2 - x1, y2 - y1), hypot(x4 - x1, y4 - y1), degrees(atan2(y2 - y1, x2 - x1))
