# SPDX-License-Identifier: AGPL-3.0-or-later
"""Masks of a segmentation model: what its coefficients make of the prototypes, as areas, centres and outlines. Pure.

A mask is the sum of a frame's prototypes, which are a quarter as wide and high as the input, weighted by a detection's
coefficients: above 0 (a sigmoid above 0.5) is the object. It is computed within the detection's box alone, interpolated
to the input's pixels, as Ultralytics' predictor does.

The thread that inspects all cameras computes masks, so what a frame's may take is bounded, see `steps_of`.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vision_line.errors import RunError
from vision_line.frames import Boxes, Masks, Outline

#: Prototypes, and so coefficients of each place.
COEFFICIENTS = 32
#: Pixels of the input along each side of a prototype's pixel.
MASK_STRIDE = 4
#: Most corners of an outline.
MOST_CORNERS = 32
#: Most points at which the masks of one frame are computed: less than a tenth of a second of work on a slow core.
FRAME_POINTS = 2**20

Coefficients = NDArray[np.float32]  # (n, 32)
Prototypes = NDArray[np.float32]  # (32, height / 4, width / 4)
Mask = NDArray[np.uint8]

#: How far an outline may be from the mask's edge, in points of the mask, before more corners are taken away.
_APART = 1.0
#: Joins the nodes that a point's four corners are, see `_nodes`.
_CORNERS_OF_POINT = np.ones((2, 2), np.uint8)
#: Where a frame shows too much, every second or fourth pixel is computed; no fewer: prototypes are no coarser.
_STEPS = (1, 2, MASK_STRIDE)
#: Least pixels of a box from which on every second one is computed, and of one of four times as many every fourth.
_LARGE = tuple(FRAME_POINTS // 4**times for times in range(6))

# (..., 4) left, top, right, bottom in whole pixels of the input; right and bottom lie outside
_Edges = NDArray[np.intp]


def masks_of(xyxy: Boxes, coefficients: Coefficients, prototypes: Prototypes) -> Masks:
    """Return the masks (n) of boxes (n, 4), all in pixels of the input, cut at their boxes and the input's edge.

    Where there are too many large boxes the first ones have masks, so that they come best first, see `steps_of`.

    Raises:
        RunError: a mask is not of numbers.
    """
    figures = np.full((len(xyxy), 3), np.nan, np.float32)
    outlines: list[Outline | None] = [None] * len(xyxy)
    edges = edges_of(xyxy.astype(np.float64), prototypes)
    for row, step in enumerate(steps_of(edges).tolist()):
        if not step:
            continue
        mask = mask_at(edges[row], coefficients[row], prototypes, step)
        area, *middle = _figures_of(mask, edges[row], step)
        if area:
            figures[row] = (area, *middle)
            outlines[row] = tuple(_in_pixels(_outline(mask), edges[row], step).ravel().tolist())
        else:
            figures[row] = (0.0, *(xyxy[row, :2] + xyxy[row, 2:]) / 2)
    return Masks(figures, tuple(outlines))


def steps_of(edges: _Edges) -> NDArray[np.intp]:
    """Return (n,) how many pixels of the input the points of each box's mask are apart: 1, 2 or 4; 0: it has none.

    `edges` (n, 4) are the boxes' own. A frame has `FRAME_POINTS` points at the most. Where one for each pixel would be
    more, those of the largest boxes become fewer, and where that is not enough, what does not fit behind those before
    it has no mask.
    """
    sides = np.maximum(edges[:, 2:] - edges[:, :2], 0)
    pixels = sides.prod(axis=1)
    for most in _LARGE:
        finer = [pixels <= most * step**2 for step in _STEPS[:-1]]
        steps = np.select(finer, _STEPS[:-1], _STEPS[-1])
        points = (-(-sides // steps[:, None]) + 1).prod(axis=1)
        if points.sum() <= FRAME_POINTS:
            return steps
    left = FRAME_POINTS
    for row, needed in enumerate(points.tolist()):
        if needed > left:
            steps[row] = 0
        else:
            left -= needed
    return steps


def _figures_of(mask: Mask, edges: _Edges, step: int) -> tuple[float, float, float]:
    """Return a mask's area and its middle, x and y, in pixels of the input; all 0 where it has no point."""
    if not mask.size:
        return 0.0, 0.0, 0.0
    left, top = edges[:2].tolist()
    if step == 1:
        moments = cv2.moments(mask, binaryImage=True)
        area = moments["m00"]
        middle = (moments["m10"] / area + 0.5 + left, moments["m01"] / area + 0.5 + top) if area else (0.0, 0.0)
        return area, *middle
    # at the edges of a box its points are rectangles
    xs, ys = (_lines(edges, axis, step) for axis in (0, 1))
    (wide, x), (tall, y) = ((np.diff(lines), (lines[1:] + lines[:-1]) / 2) for lines in (xs - left, ys - top))
    of_rows = mask.astype(np.float32) @ np.stack([wide, wide * x], axis=1).astype(np.float32)
    (area, sum_x), (sum_y, _) = (np.stack([tall, tall * y]) @ of_rows.astype(np.float64)).tolist()
    return (area, sum_x / area + left, sum_y / area + top) if area else (0.0, 0.0, 0.0)


def _in_pixels(corners: NDArray[np.float64], edges: _Edges, step: int) -> NDArray[np.float64]:
    """Return corners (k, 2), counted in points of a mask, in pixels of the input."""
    if step == 1:
        return corners + edges[:2]
    lines = (_lines(edges, axis, step) for axis in (0, 1))
    along = [np.interp(corners[:, axis], np.arange(len(line)), line) for axis, line in enumerate(lines)]
    return np.stack(along, axis=1)


def _lines(edges: _Edges, axis: int, step: int) -> NDArray[np.intp]:
    """Return where a mask's points begin along an axis, from edge to edge of its box, and where the last one ends."""
    first, last = edges[axis], edges[axis + 2]
    lines: NDArray[np.intp] = np.clip(np.arange(first // step, -(-last // step) + 1) * step, first, last)
    return lines


def sampled_logits(xyxy: Boxes, coefficients: Coefficients, prototypes: Prototypes, side: int) -> NDArray[np.float32]:
    """Return what the masks of `coefficients` (n, 32) are before the sigmoid at side x side points spread over one box.

    (n, side * side), row by row. `xyxy` (4,) is the box in pixels of the input.
    """
    shares = (np.arange(side) + 0.5) / side
    xs, ys = (xyxy[axis] + shares * (xyxy[axis + 2] - xyxy[axis]) for axis in (0, 1))
    rows, columns = (_taps(at, length) for at, length in zip((ys, xs), prototypes.shape[1:], strict=True))
    points = sum(
        prototypes[:, row[:, None], column] * (row_share[:, None] * column_share)
        for row, row_share in rows
        for column, column_share in columns
    )
    logits: NDArray[np.float32] = coefficients @ np.asarray(points, np.float32).reshape(len(prototypes), -1)
    return logits


def _taps(at: NDArray[np.float32], length: int) -> list[tuple[NDArray[np.intp], NDArray[np.float32]]]:
    """Return the two neighbours of each position `at`, in pixels of the input, along an axis, and their shares."""
    position = np.clip(at / MASK_STRIDE - 0.5, 0, length - 1)
    first = np.floor(position).astype(np.intp)
    share = (position - first).astype(np.float32)
    return [(first, 1 - share), (np.minimum(first + 1, length - 1), share)]


def edges_of(boxes: NDArray[np.float64], prototypes: Prototypes) -> _Edges:
    """Return which whole pixels begin in boxes (..., 4) and in the input."""
    _, height, width = prototypes.shape
    return np.ceil(np.clip(boxes, 0, np.array([width, height] * 2) * MASK_STRIDE)).astype(np.intp)


def mask_at(edges: _Edges, coefficients: NDArray[np.float32], prototypes: Prototypes, step: int) -> Mask:
    """Return the mask (h, w) within a box's edges (4,), a point for each `step` pixels: 1 is the object."""
    count, height, width = prototypes.shape
    if edges[2] <= edges[0] or edges[3] <= edges[1]:
        return np.zeros((0, 0), np.uint8)
    finer = MASK_STRIDE // step  # points along each side of a prototype's pixel
    left, top = (edges[:2] // step).tolist()
    right, bottom = (-(-edges[2:] // step)).tolist()
    # a pixel more on each side, so that what is interpolated is the same as of the whole
    x1, y1 = max(left // finer - 1, 0), max(top // finer - 1, 0)
    x2, y2 = min(-(-right // finer) + 1, width), min(-(-bottom // finer) + 1, height)
    part = prototypes[:, y1:y2, x1:x2].reshape(count, -1).astype(np.float32, copy=False)
    logits = (coefficients @ part).reshape(y2 - y1, x2 - x1)
    if not np.isfinite(logits).all():  # not-a-number is not above 0, so a broken engine would look like small defects
        raise RunError("the engine returned masks that are not numbers")
    fine = logits if finer == 1 else cv2.resize(logits, None, fx=finer, fy=finer, interpolation=cv2.INTER_LINEAR)
    cut = fine[top - y1 * finer : bottom - y1 * finer, left - x1 * finer : right - x1 * finer]
    return np.ascontiguousarray(cut > 0).view(np.uint8)


def _outline(mask: Mask) -> NDArray[np.float64]:
    """Return the corners (k, 2) of the polygon around the largest part of a mask, along the edges of its points."""
    (left, top), part = _largest_part(mask)
    # one part has one contour, however ragged the mask is
    (contour, *_), _ = cv2.findContours(_nodes(part), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    apart = _APART * 2  # in nodes, of which there are two a point
    near = corners = cv2.approxPolyDP(contour, apart, closed=True)
    while len(corners) > MOST_CORNERS:
        apart *= 1.5
        corners = cv2.approxPolyDP(near, apart, closed=True)
    if len(corners) < 3:  # thinner than what an outline may be apart from it
        corners = cv2.boxPoints(cv2.minAreaRect(contour))[:, None]
    points = corners[:, 0].astype(np.float64) / 2 + (left, top)
    # clockwise as it is seen, like those of rotated boxes
    return points if cv2.contourArea(corners.astype(np.float32), oriented=True) > 0 else points[::-1]


def _largest_part(mask: Mask) -> tuple[tuple[int, int], Mask]:
    """Return the left upper point of the largest part of a mask, and that part alone (h, w)."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    left, top, width, height = stats[largest, : cv2.CC_STAT_AREA].tolist()
    return (left, top), (labels[top : top + height, left : left + width] == largest).view(np.uint8)


def _nodes(mask: Mask) -> Mask:
    """Return an image in which a contour runs along the edges of the mask's points, not through their middles.

    Its pixels (2 h + 1, 2 w + 1) are the nodes of a grid half as wide: each of the mask's points is its three by three.
    """
    height, width = mask.shape
    nodes = np.zeros((2 * height + 1, 2 * width + 1), np.uint8)
    nodes[: 2 * height, : 2 * width] = cv2.resize(mask, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    # each node takes what lies left and above of it as well
    return cv2.dilate(nodes, _CORNERS_OF_POINT, anchor=(1, 1)).astype(np.uint8, copy=False)
