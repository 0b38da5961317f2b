# SPDX-License-Identifier: AGPL-3.0-or-later
"""From a detection head's raw output to boxes in pixels of the network input."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from vision_line.errors import RunError
from vision_line.frames import Boxes, ClassIds, Detections, Scores

#: Largest number of detections of one frame, as in Ultralytics.
MAX_DETECTIONS = 300

Output = NDArray[np.float32]

#: Boxes processed together; bounds the overlap matrix to BLOCK x max(BLOCK, kept).
BLOCK = 256

Mask = NDArray[np.bool_]
Rows = NDArray[np.intp]


class HeadKind(StrEnum):
    """Layout of a network's output. Stable: written in `bundle.json`."""

    YOLOV8 = "yolov8"  # (4 + classes, n): centre x, y, width, height, class scores; NMS outside (v8, 11, ...)
    END2END = "end2end"  # (n, 6): x1, y1, x2, y2, score, class; nothing left to suppress (v10, 26, exports with NMS)


@dataclass(frozen=True, slots=True)
class HeadDecoder:
    """Decodes the outputs of one model; pure, so any thread may use it.

    `score_floor` (classes,): only scores above their class's floor count, so nothing is decoded that no camera
    needs. Scores are compared with `>`, and a box counts for its best class only, as in Ultralytics.
    """

    kind: HeadKind
    score_floor: Scores
    nms_iou: float
    max_detections: int = MAX_DETECTIONS

    def decode(self, output: Output) -> Detections:
        """Return the detections in `output` (one frame, no batch axis), in input pixels, highest score first.

        Raises:
            RunError: the scores, or the boxes or classes of what counts, are not numbers.
        """
        if self.kind is HeadKind.END2END:
            return self._decode_end2end(output)
        return self._decode_yolov8(output)

    def _decode_yolov8(self, output: Output) -> Detections:
        scores = output[4:]
        best = scores.max(axis=0)
        _check_numbers(best)
        rows = np.flatnonzero(best > self.score_floor.min())
        if not len(rows):
            return Detections.empty()
        candidates = scores[:, rows]
        class_id: ClassIds = candidates.argmax(axis=0).astype(np.int32)
        score: Scores = candidates[class_id, np.arange(len(rows))]
        _check_numbers(output[:4, rows])
        wanted = score > self.score_floor[class_id]
        found = Detections(_to_xyxy(output[:4, rows]), score, class_id)[wanted]
        return found[suppress(found.xyxy, found.score, found.class_id, self.nms_iou, self.max_detections)]

    def _decode_end2end(self, output: Output) -> Detections:
        _check_numbers(output[:, 4:])
        # clipped, because an id out of range would be an index error in the middle of the run
        class_id = np.clip(output[:, 5], 0, len(self.score_floor) - 1).astype(np.int32)
        rows = np.flatnonzero(output[:, 4] > self.score_floor[class_id])
        rows = rows[np.argsort(-output[rows, 4], kind="stable")][: self.max_detections]
        _check_numbers(output[rows, :4])
        return Detections(output[rows, :4].copy(), output[rows, 4].copy(), class_id[rows])


def _check_numbers(values: Output) -> None:
    # not-a-number compares false, so a broken engine would look like a good part
    if not np.isfinite(values).all():
        raise RunError("the engine returned scores, boxes or classes that are not numbers")


def _to_xyxy(xywh: Output) -> Boxes:
    """Return (4, n) centres and sizes as (n, 4) corners."""
    centre, half = xywh[:2], xywh[2:] / 2
    return np.concatenate([centre - half, centre + half]).T.copy()


def class_floors(classes: int, floor: float | Scores) -> Scores:
    """Return `floor` as an array (classes,), one value for all classes or one for each.

    Raises:
        ValueError: another number of values than classes.
    """
    floors = np.array(np.broadcast_to(np.asarray(floor, np.float32), (classes,)))
    floors.setflags(write=False)
    return floors


def suppress(xyxy: Boxes, score: Scores, class_id: ClassIds, iou: float, limit: int) -> Rows:
    """Return the rows that survive, highest score first (ties: lower row first), at most `limit`.

    Non-maximum suppression per class, vectorised, with the result of the plain greedy loop.
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
