# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which detection takes which true box: COCO's greedy matching, for all IoU thresholds at once.

The detections of an image and class choose in the order of their scores; each takes the free true box that it
overlaps most, if by the threshold or more. So what the detections above any score took does not depend on those
below it, and one matching serves every score threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from vision_line.devices.model.rotated_boxes import RotatedBoxes, boxes_of
from vision_line.devices.model.rotated_boxes import overlaps as rotated_overlaps
from vision_line.frames import Detections
from vision_line_compression.data.dataset import LabelledImage

#: IoU 0.50:0.05:0.95, as COCO averages over.
COCO_IOUS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Mask = NDArray[np.bool_]
Range = tuple[float, float]  # from and to, both included

EVERYTHING: Range = (0.0, float("inf"))


@dataclass(frozen=True, slots=True)
class Matches:
    """Columns over all d detections and all n true boxes of a data set, for t IoU thresholds.

    A true box outside the wanted range is `ignored`: it is no miss, and a detection that takes it is neither right nor
    wrong. `taken_at` is the score of the detection that took a true box, -1 where none did.
    """

    ious: tuple[float, ...]
    images: int
    image: Ints  # (d,)
    class_id: Ints  # (d,)
    score: Floats  # (d,)
    matched: Mask  # (t, d)
    ignored: Mask  # (t, d)
    true_image: Ints  # (n,)
    true_class_id: Ints  # (n,)
    true_ignored: Mask  # (n,)
    taken_at: Floats  # (t, n)

    def row(self, iou: float) -> int:
        """Return the row of one IoU threshold."""
        return self.ious.index(iou)

    def at_coco_ious(self) -> Matches:
        """Return the same matches at COCO's ten thresholds alone."""
        rows = [self.row(iou) for iou in COCO_IOUS]
        return replace(
            self,
            ious=COCO_IOUS,
            matched=self.matched[rows],
            ignored=self.ignored[rows],
            taken_at=self.taken_at[rows],
        )


@dataclass(frozen=True, slots=True)
class _Side:
    """The boxes of one image, either those found or the true ones: classes, scores (1 for true ones), sizes.

    `boxes` are (n, 4) corners, or (n, 5) rotated boxes.
    """

    boxes: Floats
    class_id: Ints
    score: Floats
    outside: Mask  # not in the wanted range


def match(
    found: Sequence[Detections],
    images: Sequence[LabelledImage],
    *,
    ious: Sequence[float] = COCO_IOUS,
    areas: Range = EVERYTHING,
    area_scales: Sequence[float] | None = None,
    most: int = 300,
    class_blind: bool = False,
    ious_given: Sequence[NDArray[np.float32]] | None = None,
) -> Matches:
    """Match the detections `found` of `images`, image by image and class by class.

    `areas` are in pixels of the image times its `area_scales` entry (default 1). `most` is the highest number of
    detections of an image and class that count (COCO: 100). Of images with `rotated` boxes overlaps are ProbIoU, by
    which Ultralytics evaluates rotated boxes; `ious_given`, of each image (d, n), stand for those of the boxes, whose
    areas count nevertheless. With `class_blind` a detection may take a true box of another class.
    """
    scales = [1.0] * len(images) if area_scales is None else area_scales
    parts = []
    for number, (detections, image, scale) in enumerate(zip(found, images, scales, strict=True)):
        boxes = detections.xyxy if image.rotated is None else _rotated(detections)
        seen = _side(boxes, detections.class_id, detections.score, areas, scale)
        wanted = image.xyxy if image.rotated is None else image.rotated
        true = _side(wanted, image.class_id, np.ones(len(image.class_id)), areas, scale)
        iou = overlaps(seen.boxes, true.boxes) if ious_given is None else ious_given[number].astype(np.float64)
        parts.append(_match_image(number, seen, true, iou, tuple(ious), most, class_blind=class_blind))
    return _joined(parts, tuple(ious))


def _rotated(found: Detections) -> RotatedBoxes:
    return np.zeros((0, 5), np.float32) if found.outlines is None else boxes_of(found.outlines)


def overlaps(found: Floats, true: Floats) -> Floats:
    """Return the IoU of each box (d, 4) with each of (n, 4), as (d, n); of rotated boxes (d, 5) the ProbIoU."""
    if found.shape[1] == 5:
        return rotated_overlaps(found, true)
    a, b = found[:, None], true[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    both = np.prod(np.maximum(sides, 0.0), axis=-1)
    areas = np.prod(a[..., 2:] - a[..., :2], axis=-1) + np.prod(b[..., 2:] - b[..., :2], axis=-1)
    ious: Floats = np.divide(both, areas - both, out=np.zeros_like(both), where=both > 0)
    return ious


def _side(
    wanted: NDArray[np.float32],
    class_id: NDArray[np.int32],
    score: NDArray[np.float32] | Floats,
    areas: Range,
    scale: float,
) -> _Side:
    boxes = wanted.astype(np.float64)
    sides = boxes[:, 2:4] if boxes.shape[1] == 5 else boxes[:, 2:] - boxes[:, :2]
    area = np.prod(sides, axis=1) * scale
    outside = (area < areas[0]) | (area > areas[1])
    return _Side(boxes, class_id.astype(np.intp), score.astype(np.float64), outside)


def _match_image(
    number: int,
    seen: _Side,
    true: _Side,
    iou: Floats,
    ious: tuple[float, ...],
    most: int,
    *,
    class_blind: bool,
) -> Matches:
    order = _ranked(seen, most)
    seen, iou = _Side(seen.boxes[order], seen.class_id[order], seen.score[order], seen.outside[order]), iou[order]
    if not class_blind:
        iou[seen.class_id[:, None] != true.class_id[None]] = 0.0
    taken_by = _greedy(iou, true.outside, np.array(ious))
    matched = np.zeros((len(ious), len(order)), bool)
    ignored = np.repeat(seen.outside[None], len(ious), axis=0)
    taken_at = np.full(taken_by.shape, -1.0)
    rows, boxes = np.nonzero(taken_by >= 0)
    takers = taken_by[rows, boxes]
    matched[rows, takers] = True
    ignored[rows, takers] = true.outside[boxes]
    taken_at[rows, boxes] = seen.score[takers]
    return Matches(
        ious=ious,
        images=1,
        image=np.full(len(order), number),
        class_id=seen.class_id,
        score=seen.score,
        matched=matched,
        ignored=ignored,
        true_image=np.full(len(true.class_id), number),
        true_class_id=true.class_id,
        true_ignored=true.outside,
        taken_at=taken_at,
    )


def _ranked(seen: _Side, most: int) -> Ints:
    """Return the rows by falling score (ties: lower row first), at most `most` of a class."""
    order = np.argsort(-seen.score, kind="stable")
    if len(order) <= most:
        return order
    by_class = [order[seen.class_id[order] == class_id][:most] for class_id in np.unique(seen.class_id)]
    kept = np.concatenate(by_class)
    return kept[np.argsort(-seen.score[kept], kind="stable")]


def _greedy(iou: Floats, outside: Mask, ious: Floats) -> Ints:
    """Return for each threshold and true box the row of the detection that takes it, -1 for none: (t, n)."""
    taken_by = np.full((len(ious), iou.shape[1]), -1, np.intp)
    if not iou.size:
        return taken_by
    thresholds = np.minimum(ious, 1 - 1e-10)[:, None]
    backwards = np.arange(iou.shape[1])[::-1]  # of equal overlaps the last box is taken, as in COCO's program
    for row in np.flatnonzero(iou.max(axis=1) >= thresholds.min()):
        near = np.where((taken_by < 0) & (iou[row] >= thresholds), iou[row], -1.0)
        for wanted in (~outside, outside):  # boxes out of range only where no other is left
            candidates = np.where(wanted, near, -1.0)[:, ::-1]
            best = candidates.argmax(axis=1)
            hits = candidates[np.arange(len(ious)), best] >= 0
            taken_by[hits, backwards[best[hits]]] = row
            near[hits] = -1.0
    return taken_by


def _joined(parts: Sequence[Matches], ious: tuple[float, ...]) -> Matches:
    if not parts:
        raise ValueError("matching: expected at least one image")
    along = {"matched": 1, "ignored": 1, "taken_at": 1}  # (t, ...), all others have one axis
    columns = {
        column.name: np.concatenate([getattr(part, column.name) for part in parts], axis=along.get(column.name, 0))
        for column in fields(Matches)
        if column.name not in {"ious", "images"}
    }
    return Matches(ious=ious, images=len(parts), **columns)
