# SPDX-License-Identifier: AGPL-3.0-or-later
"""From a detection head's raw output to boxes in pixels of the network input."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from vision_line.devices.model.masks import COEFFICIENTS, Coefficients, Prototypes, masks_of
from vision_line.devices.model.rotated_boxes import RotatedBoxes, hulls_of, outlines_of, suppress_rotated
from vision_line.devices.model.tasks import ModelTask
from vision_line.errors import RunError
from vision_line.frames import Boxes, ClassIds, Detections, Scores

#: Largest number of detections of one frame, as in Ultralytics; there the best of all classes, here of each in turn.
MAX_DETECTIONS = 300

Output = NDArray[np.float32]


class SegmentOutput(NamedTuple):
    """What a segmentation model puts out for one frame: rows of places as a detection head's, and the prototypes."""

    places: Output
    prototypes: Prototypes  # (32, height / 4, width / 4)


#: What the head of any model puts out for one frame.
HeadOutput: TypeAlias = Output | SegmentOutput

#: Rows of an output before the class scores: centre x, y, width, height.
BOX_ROWS = 4
#: From so many classes on an engine on a GPU hands back each box's best class alone, (6, n): half the bytes or less.
_BEST_CLASS_FROM = 8

#: Boxes that are compared each with each; more are taken in blocks, best first, until there are enough.
BLOCK = 256

#: No box of an image reaches so far, in pixels; beyond it classes would run into each other.
FARTHEST = np.float32(1e6)

_SCORE_ROW, _CLASS_ROW, _BEST_CLASS_ROWS = 4, 5, 6

Mask = NDArray[np.bool_]
Rows = NDArray[np.intp]


class HeadKind(StrEnum):
    """Layout of a network's output. Stable: written in `bundle.json`."""

    YOLOV8 = "yolov8"  # (4 + classes, n): centre x, y, width, height, class scores; NMS outside (v8, 11, ...)
    # or of engines on a GPU, with many classes, (6, n): centre x, y, width, height, the best score, its class
    END2END = "end2end"  # (n, 6): x1, y1, x2, y2, score, class; nothing left to suppress (v10, 26, exports with NMS)
    # Rotated boxes: centre x, y, width, height, and the angle in radians behind all else.
    YOLOV8_OBB = "yolov8-obb"  # (4 + classes + 1, n)
    END2END_OBB = "end2end-obb"  # (n, 7)
    # Masks: 32 coefficients behind all else, and a second output, (32, height / 4, width / 4), that they weight.
    YOLOV8_SEG = "yolov8-seg"  # (4 + classes + 32, n)
    END2END_SEG = "end2end-seg"  # (n, 38)

    @property
    def is_end2end(self) -> bool:
        """Whether nothing is left to suppress, and a row of the output is a box."""
        return self in _END2END

    @property
    def task(self) -> ModelTask:
        """What models with this output are for."""
        return ModelTask.OBB if self in _ROTATED else ModelTask.SEGMENT if self in _MASKED else ModelTask.DETECT

    def rows(self, classes: int) -> int:
        """Return how many numbers the output has of a box, of a model with `classes`."""
        return (6 if self.is_end2end else BOX_ROWS + classes) + (self in _ROTATED) + COEFFICIENTS * (self in _MASKED)


_END2END = frozenset({HeadKind.END2END, HeadKind.END2END_OBB, HeadKind.END2END_SEG})
_ROTATED = frozenset({HeadKind.YOLOV8_OBB, HeadKind.END2END_OBB})
_MASKED = frozenset({HeadKind.YOLOV8_SEG, HeadKind.END2END_SEG})


def head_of(task: ModelTask, *, is_end2end: bool) -> HeadKind:
    """Return the layout of a model's output."""
    (found,) = (kind for kind in HeadKind if kind.task is task and kind.is_end2end == is_end2end)
    return found


def has_best_class(classes: int) -> bool:
    """Whether an engine on a GPU hands back the best class of each box alone, of a yolov8 head with `classes`."""
    return classes >= _BEST_CLASS_FROM


def split_rows(output: Output, classes: int) -> tuple[Output, Output | None]:
    """Return the scores (classes or 1, n) in a yolov8 head's output, and the classes (n,) where it has one a box."""
    if has_best_class(classes) and len(output) == _BEST_CLASS_ROWS:
        return output[_SCORE_ROW : _SCORE_ROW + 1], output[_CLASS_ROW]
    return output[BOX_ROWS : BOX_ROWS + classes], None


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
    _lowest_floor: float = field(init=False)

    def __post_init__(self) -> None:
        """Find the floor below which no class counts."""
        object.__setattr__(self, "_lowest_floor", float(self.score_floor.min()))

    def decode(self, output: HeadOutput) -> Detections:
        """Return the detections in `output` (one frame, no batch axis), in input pixels, highest score first.

        Raises:
            RunError: the scores, or the boxes, classes or masks of what counts, are not numbers.
        """
        if isinstance(output, SegmentOutput):
            found, coefficients = self.decode_segments(output.places)
            return with_masks(found, coefficients, output.prototypes)
        if self.kind is HeadKind.YOLOV8:
            return self._decode_yolov8(output)[0]
        if self.kind is HeadKind.END2END:
            return self._decode_end2end(output)[0]
        return _outlined(*self.decode_rotated(output))

    def decode_segments(self, places: Output) -> tuple[Detections, Coefficients]:
        """Return the detections, without masks, in the first output of a segmentation model, and their coefficients.

        Raises RunError as `decode`.
        """
        if self.kind is HeadKind.END2END_SEG:
            found, rows = self._decode_end2end(places)
            return found, places[rows, -COEFFICIENTS:]
        found, rows = self._decode_yolov8(places)
        return found, places[-COEFFICIENTS:].take(rows, axis=1).T

    def _decode_yolov8(self, output: Output) -> tuple[Detections, Rows]:
        """Return the detections and which of the output's columns they are; a box without extent is none."""
        classes = len(self.score_floor)
        best = np.maximum.reduce(split_rows(output, classes)[0])
        _check_numbers(best)
        (rows,) = (best > self._lowest_floor).nonzero()
        if not rows.size:
            return Detections.empty(), rows
        candidates = output.take(rows, axis=1)
        _check_numbers(candidates[:BOX_ROWS])
        score: Scores = best[rows]
        scores, numbers = split_rows(candidates, classes)
        class_id: ClassIds = scores.argmax(axis=0).astype(np.int32) if numbers is None else _class_ids(numbers, classes)
        found = Detections(corners_of(candidates[:BOX_ROWS]), score, class_id)
        wanted = (score > self.score_floor[class_id]) & (np.minimum.reduce(np.abs(candidates[2:BOX_ROWS])) > 0)
        if not np.logical_and.reduce(wanted):
            found, rows = found[wanted], rows[wanted]
        kept = suppress(found.xyxy, found.score, found.class_id, self.nms_iou, self.max_detections)
        return found[kept], rows[kept]

    def decode_rotated(self, output: Output) -> tuple[RotatedBoxes, Scores, ClassIds]:
        """Return the rotated boxes (n, 5) in `output`, their scores and classes, as `decode` does.

        A box without extent is none. Raises RunError as `decode`, and where an angle is not a number.
        """
        if self.kind is HeadKind.END2END_OBB:
            boxes, score, class_id = self._rotated_rows(output)
            rows = np.argsort(-score, kind="stable")
        else:
            boxes, score, class_id = self._rotated_columns(output)
            rows = suppress_rotated(boxes, score, class_id, self.nms_iou, self.max_detections)
        rows = limited(rows, class_id, self.max_detections)
        return boxes[rows], score[rows], class_id[rows]

    def _rotated_rows(self, output: Output) -> tuple[RotatedBoxes, Scores, ClassIds]:
        _check_numbers(output[:, 4])
        class_id = _class_ids(output[:, 5], len(self.score_floor))
        rows = np.flatnonzero(output[:, 4] > self.score_floor[class_id])
        return _with_extent(output[rows][:, [0, 1, 2, 3, 6]], output[rows, 4], class_id[rows])

    def _rotated_columns(self, output: Output) -> tuple[RotatedBoxes, Scores, ClassIds]:
        best = np.maximum.reduce(output[BOX_ROWS:-1])
        _check_numbers(best)
        candidates = output.take(np.flatnonzero(best > self._lowest_floor), axis=1)
        scores = candidates[BOX_ROWS:-1]
        class_id = scores.argmax(axis=0).astype(np.int32)
        score = scores.max(axis=0, initial=0.0)
        wanted = score > self.score_floor[class_id]
        boxes = np.concatenate([candidates[:BOX_ROWS], candidates[-1:]]).T
        return _with_extent(boxes[wanted], score[wanted], class_id[wanted])

    def _decode_end2end(self, output: Output) -> tuple[Detections, Rows]:
        """Return the detections and which of the output's rows they are."""
        _check_numbers(output[:, 4])
        class_id = _class_ids(output[:, 5], len(self.score_floor))
        rows = np.flatnonzero(output[:, 4] > self.score_floor[class_id])
        rows = limited(rows[np.argsort(-output[rows, 4], kind="stable")], class_id, self.max_detections)
        _check_numbers(output[rows, :4])
        return Detections(ordered(output[rows, :4]), output[rows, 4].copy(), class_id[rows]), rows


def _with_extent(boxes: RotatedBoxes, score: Scores, class_id: ClassIds) -> tuple[RotatedBoxes, Scores, ClassIds]:
    _check_numbers(boxes)
    boxes = np.concatenate([boxes[:, :2], np.abs(boxes[:, 2:4]), boxes[:, 4:]], axis=1)  # the reason of `corners_of`
    extended = (boxes[:, 2:4] > 0).all(axis=1)
    return boxes[extended], score[extended], class_id[extended]


def _outlined(boxes: RotatedBoxes, score: Scores, class_id: ClassIds) -> Detections:
    outlines = outlines_of(boxes)
    return Detections(hulls_of(outlines), score, class_id, outlines)


def with_masks(found: Detections, coefficients: Coefficients, prototypes: Prototypes) -> Detections:
    """Return `found`, in pixels of the input, with the masks that `coefficients` (n, 32) make of `prototypes`.

    Raises:
        RunError: a coefficient, or a prototype where a box lies, is not a number.
    """
    if not len(found):
        return found
    return Detections(found.xyxy, found.score, found.class_id, masks=masks_of(found.xyxy, coefficients, prototypes))


def _class_ids(numbers: Output, classes: int) -> ClassIds:
    _check_numbers(numbers)
    # clipped, because an id out of range would be an index error in the middle of the run
    return np.clip(numbers, 0, classes - 1).astype(np.int32)


def _check_numbers(values: Output) -> None:
    # not-a-number compares false, so a broken engine would look like a good part
    if not np.logical_and.reduce(np.isfinite(values), axis=None):  # `all` takes twice as long for a few values
        raise RunError("the engine returned scores, boxes or classes that are not numbers")


def corners_of(xywh: Output) -> Boxes:
    """Return (4, n) centres and sizes as (n, 4) corners, the lower ones first.

    A head that learned edges as plain numbers (v26) may put one beyond its opposite, by a hair where a defect is as
    thin: its size is negative. The box between them is what it found; OpenCV would take one of negative area to cover
    all others.
    """
    centre, half = xywh[:2], np.abs(xywh[2:]) / 2
    return np.concatenate([centre - half, centre + half]).T.copy()


def ordered(corners: Boxes) -> Boxes:
    """Return corners (n, 4), a copy, with the lower ones first, for the reason of `corners_of`."""
    first, second = corners[:, :2], corners[:, 2:]
    return np.concatenate([np.minimum(first, second), np.maximum(first, second)], axis=1)


def class_floors(classes: int, floor: float | Scores) -> Scores:
    """Return `floor` as an array (classes,), one value for all classes or one for each.

    Raises:
        ValueError: another number of values than classes.
    """
    floors = np.array(np.broadcast_to(np.asarray(floor, np.float32), (classes,)))
    floors.setflags(write=False)
    return floors


def suppress(xyxy: Boxes, score: Scores, class_id: ClassIds, iou: float, limit: int) -> Rows:
    """Return the rows that survive, highest score first (ties: lower row first), at most `limit` as by `limited`.

    Non-maximum suppression per class, with the result of the plain greedy loop. A box goes when a surviving box of its
    class with a higher score overlaps it by more than `iou`. Scores are above 0, and so are the boxes' sides, but for
    what rounding makes of the smallest: of boxes without extent one of a class may be left.
    """
    if len(score) <= BLOCK:
        return limited(_survivors(xyxy, score, class_id, iou), class_id, limit)
    order = np.argsort(-score, kind="stable")
    kept, counts = order[:0], np.zeros(class_id.max() + 1, np.intp)
    for begin in range(0, len(order), BLOCK):
        rows = order[begin : begin + BLOCK]
        rows = rows[counts[class_id[rows]] < limit]
        if len(kept) and len(rows):
            rows = rows[~_overlapping(xyxy, class_id, kept, rows, iou).any(axis=0)]
        kept = np.concatenate([kept, rows[_survivors(xyxy[rows], score[rows], class_id[rows], iou)]])
        counts = np.bincount(class_id[kept], minlength=len(counts))
    return limited(kept, class_id, limit)


def limited(rows: Rows, class_id: ClassIds, limit: int) -> Rows:
    """Return at most `limit` of `rows`, which come best first, in their order: many of one class push out no other.

    Each class has its best before any has its second best, and so on.
    """
    if len(rows) <= limit:
        return rows
    own = class_id[rows]
    by_class = np.argsort(own, kind="stable")
    first = np.searchsorted(own[by_class], own[by_class])
    rank = np.empty(len(rows), np.intp)
    rank[by_class] = np.arange(len(rows)) - first
    return rows[np.sort(np.argsort(rank, kind="stable")[:limit])]


def _survivors(xyxy: Boxes, score: Scores, class_id: ClassIds, iou: float) -> Rows:
    """Return which of a block's boxes survive each other, highest score first.

    OpenCV compares all with all that survive, so it takes only blocks. It keeps classes apart by shifting their boxes,
    in double precision: nothing is lost of boxes within `FARTHEST`.
    """
    xyxy = np.minimum(np.maximum(xyxy, -FARTHEST), FARTHEST)  # half the time of `clip`
    xywh = xyxy - xyxy.min(initial=0.0)  # it shifts by the largest coordinate: enough where none is below 0
    xywh[:, 2:] = xyxy[:, 2:] - xyxy[:, :2]
    kept = cv2.dnn.NMSBoxesBatched(xywh.tolist(), score.tolist(), class_id.tolist(), 0.0, iou)
    return np.array(kept, np.intp)


def _overlapping(xyxy: Boxes, class_id: ClassIds, first: Rows, second: Rows, iou: float) -> Mask:
    """Return for each pair (first, second) whether they are of one class and overlap by more than `iou`."""
    a, b = xyxy[first, None], xyxy[None, second]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    both = np.prod(np.maximum(sides, 0, out=sides), axis=-1)
    area_a, area_b = np.prod(a[..., 2:] - a[..., :2], axis=-1), np.prod(b[..., 2:] - b[..., :2], axis=-1)
    # multiplied, not divided: two empty boxes have no ratio
    mask: Mask = (both > np.float32(iou) * (area_a + area_b - both)) & (class_id[first, None] == class_id[None, second])
    return mask
