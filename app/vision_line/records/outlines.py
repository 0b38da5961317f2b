# SPDX-License-Identifier: AGPL-3.0-or-later
"""Outlines of rotated boxes as the records keep them: x, y, x, y ... of four corners, one behind the other. Pure."""

from __future__ import annotations

import json
from math import atan2, degrees, hypot

from vision_line.frames import Outline


def outline_in(text: str | None) -> Outline | None:
    """Return the outline that a row has; None: its box is upright."""
    return None if text is None else tuple(map(float, json.loads(text)))


def area_of(outline: Outline) -> float:
    """Return the area that an outline encloses, in square pixels."""
    xs, ys = outline[::2], outline[1::2]
    return abs(sum(xs[n - 1] * ys[n] - xs[n] * ys[n - 1] for n in range(len(xs)))) / 2


def sides_of(outline: Outline) -> tuple[float, float, float]:
    """Return width and height of a rotated box, and by how many degrees it turns clockwise around its first corner."""
    x1, y1, x2, y2, _, _, x4, y4 = outline
    return hypot(x2 - x1, y2 - y1), hypot(x4 - x1, y4 - y1), degrees(atan2(y2 - y1, x2 - x1))
