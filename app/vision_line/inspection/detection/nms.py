# SPDX-License-Identifier: AGPL-3.0-or-later
"""Non-maximum suppression per class, vectorised, with the result of the plain greedy loop."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vision_line.frames import Boxes, ClassIds, Scores

#: Boxes processed together; bounds the overlap matrix to BLOCK x max(BLOCK, kept).
BLOCK = 256

Mask = NDArray[np.bool_]
Rows = NDArray[np.intp]


def suppress(xyxy: Boxes, score: Scores, class_id: ClassIds, iou: float, limit: int) -> Rows:
    """Return the rows that survive, highest score first (ties: lower row first), at most `limit`.

    A box goes when a surviving box of its class with a higher score overlaps it by more than `iou`. Classes are kept
    apart by comparing them, not by shifting boxes: a shift of thousands of pixels costs float32 its fractions.
    """
    order = np.argsort(-score, kind="stable")
    kept = order[:0]
    for begin in range(0, len(order), BLOCK):
        rows = order[begin : begin + BLOCK]
        if len(kept):
            rows = rows[~_overlapping(xyxy, class_id, kept, rows, iou).any(axis=0)]
        kept = np.concatenate([kept, rows[_survivors(_overlapping(xyxy, class_id, rows, rows, iou))]])
        if len(kept) >= limit:
            break
    return kept[:limit]


def _overlapping(xyxy: Boxes, class_id: ClassIds, first: Rows, second: Rows, iou: float) -> Mask:
    """Return for each pair (first, second) whether they are of one class and overlap by more than `iou`."""
    a, b = xyxy[first, None], xyxy[None, second]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    both = np.prod(np.maximum(sides, 0, out=sides), axis=-1)
    area_a, area_b = np.prod(a[..., 2:] - a[..., :2], axis=-1), np.prod(b[..., 2:] - b[..., :2], axis=-1)
    # multiplied, not divided: two empty boxes have no ratio
    mask: Mask = (both > np.float32(iou) * (area_a + area_b - both)) & (class_id[first, None] == class_id[None, second])
    return mask


def _survivors(overlapping: Mask) -> Mask:
    """Return which of n boxes, sorted by score, survive each other, from their (n, n) overlaps.

    Each round lets only the survivors of the round before suppress. What rank a round has settled stays settled, so
    it ends, after as many rounds as the longest chain of suppressions, with the greedy loop's result.
    """
    by_better = np.triu(overlapping, k=1)
    alive: Mask = ~np.any(by_better, axis=0)
    while True:
        after: Mask = ~np.any(by_better[alive], axis=0)
        if np.array_equal(after, alive):
            return alive
        alive = after
