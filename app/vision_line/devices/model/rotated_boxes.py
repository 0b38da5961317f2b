# SPDX-License-Identifier: AGPL-3.0-or-later
"""Rotated boxes: their outlines, how much two overlap, and which of many are one and the same. Pure.

Rows (n, 5): centre x, y, width, height in pixels, and by which angle in radians the width's side turns from the x axis
to the y axis, which points down. Any angle will do: networks of some families say -pi/4 to 3 pi/4, others any number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vision_line.frames import Boxes, ClassIds, Outlines, Scores

RotatedBoxes = NDArray[np.float32]  # (n, 5)
Rows = NDArray[np.intp]
Figures = NDArray[np.float64]

#: As in Ultralytics' ProbIoU, so that overlaps are the same.
_EPS = 1e-7
_MOST_DISTANCE = 100.0

#: Boxes of a class that are compared each with each; more are taken in blocks, best first.
_BLOCK = 128


def outlines_of(boxes: RotatedBoxes) -> Outlines:
    """Return the corners (n, 4, 2) of `boxes`, one behind the other around each."""
    cos, sin = np.cos(boxes[:, 4]), np.sin(boxes[:, 4])
    across = np.stack([boxes[:, 2] * cos, boxes[:, 2] * sin], axis=1) / 2
    down = np.stack([-boxes[:, 3] * sin, boxes[:, 3] * cos], axis=1) / 2
    centre = boxes[:, :2]
    corners = [centre - across - down, centre + across - down, centre + across + down, centre - across + down]
    return np.stack(corners, axis=1).astype(np.float32)


def boxes_of(outlines: Outlines) -> RotatedBoxes:
    """Return the rotated boxes (n, 5) whose corners are `outlines`, as `outlines_of` gives them."""
    points = outlines.astype(np.float64)
    across, down = points[:, 1] - points[:, 0], points[:, 3] - points[:, 0]
    sides = np.hypot(across[:, 0], across[:, 1]), np.hypot(down[:, 0], down[:, 1])
    angle = np.arctan2(across[:, 1], across[:, 0])
    return np.column_stack([points.mean(axis=1), *sides, angle]).astype(np.float32)


def hulls_of(outlines: Outlines) -> Boxes:
    """Return the smallest upright boxes (n, 4) around `outlines`."""
    return np.concatenate([outlines.min(axis=1), outlines.max(axis=1)], axis=1)


def overlaps(first: RotatedBoxes | Figures, second: RotatedBoxes | Figures) -> Figures:
    """Return the ProbIoU (n, m) of boxes (n, 5) and (m, 5): 1 minus the Hellinger distance of two normal distributions.

    A box is the distribution whose variances along its sides are those of a box that is filled evenly. A square has no
    angle by this measure, which is that by which Ultralytics trains, suppresses and evaluates.
    """
    return _overlaps(_Gaussians(first).columns, _Gaussians(second).columns)


def suppress_rotated(boxes: RotatedBoxes, score: Scores, class_id: ClassIds, iou: float, limit: int) -> Rows:
    """Return the rows that survive, highest score first (ties: lower row first), at most `limit` of each class.

    The plain greedy loop for each class: a box goes when a surviving box of its class with a higher score overlaps it
    by more than `iou`. One that overlaps only a box that went stays: Ultralytics drops it, and with it a defect.
    """
    order = np.argsort(-score, kind="stable")
    exact = _Gaussians(boxes)
    survivors = [_greedy(exact, order[class_id[order] == number], iou, limit) for number in np.unique(class_id)]
    kept = np.concatenate([order[:0], *survivors])
    return kept[np.lexsort((kept, -score[kept]))]


def _greedy(boxes: _Gaussians, rows: Rows, iou: float, limit: int) -> Rows:
    """Return the survivors of `rows`, which come best first; they are compared in blocks, each with each."""
    kept = rows[:0]
    for begin in range(0, len(rows), _BLOCK):
        block = rows[begin : begin + _BLOCK]
        if len(kept):
            block = block[~(_overlaps(boxes[kept], boxes[block]) > iou).any(axis=0)]
        goes = _overlaps(boxes[block], boxes[block]) > iou
        stays = np.ones(len(block), bool)
        for row in range(len(block)):
            if stays[row]:
                stays[row + 1 :] &= ~goes[row, row + 1 :]
        kept = np.concatenate([kept, block[stays]])[:limit]
        if len(kept) == limit:
            break
    return kept


class _Gaussians:
    """Boxes as normal distributions: means, and covariances [[a, c], [c, b]]."""

    def __init__(self, boxes: RotatedBoxes | Figures) -> None:
        x, y, width, height, angle = boxes.astype(np.float64).T
        across, down = width**2 / 12, height**2 / 12
        cos, sin = np.cos(angle), np.sin(angle)
        a, b, c = across * cos**2 + down * sin**2, across * sin**2 + down * cos**2, (across - down) * cos * sin
        self.columns = np.stack([x, y, a, b, c, np.maximum(a * b - c**2, 0.0)])

    def __getitem__(self, rows: Rows) -> Figures:
        """Return the columns of `rows`."""
        return self.columns[:, rows]


def _overlaps(one: Figures, other: Figures) -> Figures:
    """Return the ProbIoU (n, m) of the columns of `_Gaussians`, (6, n) and (6, m)."""
    a, b, c = (one[number][:, None] + other[number] for number in (2, 3, 4))
    x, y = (one[number][:, None] - other[number] for number in (0, 1))
    common = np.maximum(a * b - c**2, 0.0)  # below by rounding alone, of boxes as thin as a line
    apart = (a * y**2 + b * x**2 - 2 * c * x * y) / (common + _EPS) / 4
    unlike = np.log(common / (4 * np.sqrt(one[5][:, None] * other[5]) + _EPS) + _EPS) / 2
    distance = np.clip(apart + unlike, _EPS, _MOST_DISTANCE)  # Bhattacharyya's
    shared: Figures = 1.0 - np.sqrt(1.0 - np.exp(-distance) + _EPS)
    return shared
