# SPDX-License-Identifier: AGPL-3.0-or-later
"""How far the masks that a model finds overlap with the labelled ones, pixel by pixel of the image.

A labelled mask is the pixels whose middles lie in its polygon. A mask that was found is the whole of it, where records
and messages have the polygon around its largest part: its coefficients weight the prototypes, what comes out is
interpolated to the image's pixels, above 0 is the object, and nothing outside of its box is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vision_line.devices.model.heads import HeadDecoder, SegmentOutput, class_floors
from vision_line.devices.model.masks import MASK_STRIDE, Coefficients, Prototypes
from vision_line.devices.model.model import Model
from vision_line.devices.preprocessing.letterbox import Letterbox
from vision_line.devices.result_reader import FrameOutput
from vision_line.errors import RunError
from vision_line.frames import Boxes, Corners, Detections, Frame, Scores
from vision_line_compression.data.dataset import LabelledImage

#: IoU of each mask that was found with each labelled one, (d, n).
MaskOverlaps = NDArray[np.float32]

Pixels = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class CutMask:
    """A mask within the smallest part of its image that holds it: `pixels` (h, w), the first at column and row."""

    left: int
    top: int
    pixels: Pixels

    @property
    def area(self) -> int:
        """Pixels of the object."""
        return int(np.count_nonzero(self.pixels))

    def shared(self, other: CutMask) -> int:
        """Return how many pixels are of both."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        right = min(self.left + self.pixels.shape[1], other.left + other.pixels.shape[1])
        bottom = min(self.top + self.pixels.shape[0], other.top + other.pixels.shape[0])
        if right <= left or bottom <= top:
            return 0
        parts = [
            mask.pixels[top - mask.top : bottom - mask.top, left - mask.left : right - mask.left]
            for mask in (self, other)
        ]
        return int(np.count_nonzero(parts[0] & parts[1]))


class MaskReader:
    """Reads a segmentation model's outputs as an inspection does, and compares the masks with the labelled ones.

    `overlaps` are those of each image by its number, which is its frame's: (d, n).
    """

    def __init__(self, model: Model, score_floor: float, images: Sequence[LabelledImage]) -> None:
        """Read what `model` says of `images`, from `score_floor` on."""
        self.overlaps: dict[int, MaskOverlaps] = {}
        self._model, self._images = model, images
        self.set_score_floor(score_floor)

    def set_score_floor(self, floor: float | Scores) -> None:
        """Read detections from this score on, for all classes or (classes,) one for each."""
        floors = class_floors(len(self._model.classes), floor)
        self._head = HeadDecoder(self._model.head, floors, self._model.nms_iou)

    def read(self, frame: Frame, box: Letterbox, output: FrameOutput) -> Detections:
        """Return the boxes in `output` in the frame's pixels.

        Raises:
            RunError: it holds no numbers.
        """
        if not isinstance(output, SegmentOutput):
            raise RunError("the engine returned no prototypes, expected them beside the boxes of a model of masks")
        places, prototypes = (part.astype(np.float32, copy=False) for part in output)
        found, coefficients = self._head.decode_segments(places)
        xyxy = box.to_frame(box.cut_to_content(found.xyxy))
        inside = (xyxy[:, 2:] > xyxy[:, :2]).all(axis=1)
        seen = Detections(xyxy[inside], found.score[inside], found.class_id[inside])
        image = self._images[frame.sequence]
        self.overlaps[frame.sequence] = mask_overlaps(seen.xyxy, coefficients[inside], prototypes, box, image)
        return seen


def mask_overlaps(
    xyxy: Boxes, coefficients: Coefficients, prototypes: Prototypes, box: Letterbox, image: LabelledImage
) -> MaskOverlaps:
    """Return the IoU of the masks of boxes (d, 4), in pixels of the image, with each of the labelled ones: (d, n)."""
    true = true_masks(image)
    found: MaskOverlaps = np.zeros((len(xyxy), len(true)), np.float32)
    near = _touching(xyxy, image.xyxy)
    for row in np.flatnonzero(near.any(axis=1)):
        mask = found_mask(xyxy[row], coefficients[row], prototypes, box, image.size_wh)
        for column in np.flatnonzero(near[row]):
            shared = mask.shared(true[column])
            found[row, column] = shared / max(mask.area + true[column].area - shared, 1)
    return found


def true_masks(image: LabelledImage) -> list[CutMask]:
    """Return the labelled masks of an image."""
    return [polygon_mask(polygon * np.array(image.size_wh), image.size_wh) for polygon in image.polygons]


def polygon_mask(corners: NDArray[np.floating], size_wh: tuple[int, int]) -> CutMask:
    """Return the pixels whose middles lie in the polygon `corners` (k, 2), by the even-odd rule."""
    left, top = (int(max(np.floor(low), 0)) for low in corners.min(axis=0))
    right, bottom = (int(min(np.ceil(high), size)) for high, size in zip(corners.max(axis=0), size_wh, strict=True))
    height, width = max(bottom - top, 0), max(right - left, 0)
    rows = np.arange(height)[:, None] + top + 0.5
    (x1, y1), (x2, y2) = corners.T, np.roll(corners, -1, axis=0).T
    crossed = (y1 <= rows) != (y2 <= rows)
    with np.errstate(divide="ignore", invalid="ignore"):  # of edges along a row, which none crosses
        at = x1 + (rows - y1) * (x2 - x1) / (y2 - y1)
    first = np.clip(np.ceil(np.where(crossed, at, 0.0) - left - 0.5), 0, width).astype(np.intp)
    crossings = np.zeros((height, width + 1), np.intp)
    row, edge = np.nonzero(crossed)
    np.add.at(crossings, (row, first[row, edge]), 1)
    return CutMask(left, top, np.cumsum(crossings[:, :width], axis=1) % 2 == 1)


def found_mask(
    xyxy: NDArray[np.float32],
    coefficients: NDArray[np.float32],
    prototypes: Prototypes,
    box: Letterbox,
    size_wh: tuple[int, int],
) -> CutMask:
    """Return the mask of one box (4,), in pixels of the image: those that begin in the box, as Ultralytics cuts it.

    Raises:
        RunError: it is not of numbers.
    """
    left, top, right, bottom = np.ceil(np.clip(xyxy, 0, np.array(size_wh * 2))).astype(int).tolist()
    if right <= left or bottom <= top:
        return CutMask(left, top, np.zeros((0, 0), bool))
    logits = np.tensordot(coefficients, prototypes, axes=1).astype(np.float32)
    if not np.isfinite(logits).all():
        raise RunError("the engine returned masks that are not numbers")
    corners: Corners = (left + 0.5, top + 0.5, right + 0.5, bottom + 0.5)  # middles of pixels
    (x1, y1, x2, y2), *_ = box.to_input(np.array([corners], np.float32)) / MASK_STRIDE - 0.5
    columns, rows = right - left, bottom - top
    step_x, step_y = (x2 - x1) / columns, (y2 - y1) / rows
    fine = cv2.warpAffine(
        logits,
        np.array([[step_x, 0, x1], [0, step_y, y1]], np.float64),
        (columns, rows),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return CutMask(left, top, np.asarray(fine) > 0)


def in_order(overlaps: Mapping[int, MaskOverlaps], images: int) -> tuple[MaskOverlaps, ...]:
    """Return the overlaps of each image in their order."""
    return tuple(overlaps[number] for number in range(images))


def _touching(first: Boxes, second: Boxes) -> Pixels:
    """Return which boxes (d, 4) and (n, 4) touch or overlap, as (d, n): others' masks share no pixel."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    touching: Pixels = np.logical_and.reduce(low <= high + 1, axis=-1)
    return touching
