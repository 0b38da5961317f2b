# SPDX-License-Identifier: AGPL-3.0-or-later
"""Masks of a board's layers, drawn four times finer than the frame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vision_line.simulator.layout import BoardLayout, Disc, Point

Mask = NDArray[np.uint8]  # (h * FINE, w * FINE), 0 or 255

FINE = 4


@dataclass(frozen=True, slots=True)
class Artwork:
    """The layers of a good board; each mask is 0 or 255, `FINE` mask pixels per board pixel."""

    layout: BoardLayout
    outline: Mask
    copper: Mask
    bare: Mask
    silk: Mask


def draw_artwork(layout: BoardLayout) -> Artwork:
    """Draw the layers of `layout`; holes are already out of the copper."""
    copper, bare, silk = (blank(layout.size_wh) for _ in range(3))
    for track in layout.tracks:
        cv2.line(copper, fine(track.start), fine(track.end), 255, max(round(track.width * FINE), 1))
    for block in layout.blocks:
        corners = fine(block.xyxy[:2]), fine(block.xyxy[2:])
        cv2.rectangle(copper, *corners, 255, -1)
        if block.bare:
            cv2.rectangle(bare, *corners, 255, -1)
    rings = (*layout.discs, *layout.mounts)
    _fill(copper, ((ring, ring.radius) for ring in rings), 255)
    _fill(bare, ((ring, ring.radius) for ring in rings), 255)
    _draw_silk(silk, layout, bare)
    outline = _draw_outline(layout)
    _fill(outline, ((ring, ring.drill) for ring in rings if ring.drill), 0)
    return Artwork(layout, outline, copper & outline, bare & outline, silk & outline)


def blank(size_wh: tuple[int, int]) -> Mask:
    """Make an empty mask for a board of `size_wh` pixels."""
    return np.zeros((size_wh[1] * FINE, size_wh[0] * FINE), np.uint8)


def fine(point: Iterable[float]) -> tuple[int, int]:
    """Give the mask pixel of a board point."""
    x, y = point
    return round(x * FINE), round(y * FINE)


def fill_polygon(mask: Mask, points: NDArray[np.float64]) -> None:
    """Fill a polygon given by (n, 2) board points."""
    cv2.fillPoly(mask, [np.rint(points * FINE).astype(np.int32)], 255)


def _fill(mask: Mask, discs: Iterable[tuple[Disc, float]], value: int) -> None:
    for disc, radius in discs:
        cv2.circle(mask, fine(disc.centre), round(radius * FINE), value, -1)


def _draw_outline(layout: BoardLayout) -> Mask:
    """Draw the board's contour with rounded corners."""
    mask = blank(layout.size_wh)
    width, height = layout.size_wh
    radius = 5
    cv2.rectangle(mask, fine((radius, 0)), fine((width - radius, height)), 255, -1)
    cv2.rectangle(mask, fine((0, radius)), fine((width, height - radius)), 255, -1)
    corners: tuple[Point, ...] = (
        (radius, radius),
        (width - radius, radius),
        (radius, height - radius),
        (width - radius, height - radius),
    )
    for corner in corners:
        cv2.circle(mask, fine(corner), radius * FINE, 255, -1)
    return mask


def _draw_silk(silk: Mask, layout: BoardLayout, bare: Mask) -> None:
    for x0, y0, x1, y1 in layout.outlines:
        cv2.rectangle(silk, fine((x0, y0)), fine((x1, y1)), 255, 5)
    for label in layout.labels:
        cv2.putText(silk, label.text, fine(label.origin), cv2.FONT_HERSHEY_SIMPLEX, 1.15, 255, 5)
    # Ink is never printed on bare metal: it is kept one board pixel away.
    silk[cv2.dilate(bare, np.ones((2 * FINE + 1, 2 * FINE + 1), np.uint8)) > 0] = 0
