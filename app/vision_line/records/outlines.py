# SPDX-License-Identifier: AGPL-3.0-or-later
"""Outlines of rotated boxes as the records keep them: x, y, x, y ... of four corners, one behind the other. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import atan2, degrees, hypot

from vision_line.frames import Outline

_Point = tuple[float, float]


def outline_in(text: str | None) -> Outline | None:
    """Return the outline that a row has; None: its box is upright."""
    return None if text is None else tuple(map(float, json.loads(text)))


def area_of(outline: Sequence[float]) -> float:
    """Return the area that an outline encloses, in square pixels."""
    xs, ys = outline[::2], outline[1::2]
    return abs(sum(xs[n - 1] * ys[n] - xs[n] * ys[n - 1] for n in range(len(xs)))) / 2


def overlap_of(one: Outline, other: Outline) -> float:
    """Return the intersection over union of two rotated boxes; 0 where both are empty."""
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


def sides_of(outline: Outline) -> tuple[float, float, float]:
    """Return width and height of a rotated box, and by how many degrees it turns clockwise around its first corner."""
    x1, y1, x2, y2, _, _, x4, y4 = outline
    return hypot(x2 - x1, y2 - y1), hypot(x4 - x1, y4 - y1), degrees(atan2(y2 - y1, x2 - x1))
