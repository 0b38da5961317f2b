# SPDX-License-Identifier: AGPL-3.0-or-later
"""Letterbox geometry: where a frame lies in a network input, and the way of boxes back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vision_line.frames import Boxes, Detections, Masks, Outline, Outlines
from vision_line.ports import ShapeHW


@dataclass(frozen=True)
class Letterbox:
    """A frame of `src_wh` scaled by one factor to fit `dst_hw`, centred, the rest padded.

    The geometry is that of Ultralytics' `LetterBox(auto=False, scaleup=True, center=True)`, rounding included, so that
    an evaluation with it sees the same pixels: scale = min(dst / src), smaller frames are scaled up, the content is
    rounded half to even and at least one pixel, and of an odd rest the smaller half lies left or on top.
    """

    src_wh: tuple[int, int]
    dst_hw: ShapeHW

    def __post_init__(self) -> None:
        """Refuse empty frames and inputs."""
        if min(*self.src_wh, *self.dst_hw) < 1:
            raise ValueError(f"letterbox: expected sizes >= 1, got {self.src_wh} -> {self.dst_hw}")

    @cached_property
    def scale(self) -> float:
        """Return input pixels per frame pixel."""
        return min(self.dst_hw[0] / self.src_wh[1], self.dst_hw[1] / self.src_wh[0])

    @cached_property
    def content_wh(self) -> tuple[int, int]:
        """Return the size of the scaled frame in the input."""
        width, height = self.src_wh
        return max(round(width * self.scale), 1), max(round(height * self.scale), 1)

    @cached_property
    def left_top(self) -> tuple[int, int]:
        """Return where the scaled frame begins in the input."""
        return (self.dst_hw[1] - self.content_wh[0]) // 2, (self.dst_hw[0] - self.content_wh[1]) // 2

    @cached_property
    def content(self) -> tuple[slice, slice]:
        """Return the rows and columns of the input that the frame fills."""
        (left, top), (width, height) = self.left_top, self.content_wh
        return slice(top, top + height), slice(left, left + width)

    @cached_property
    def waste(self) -> float:
        """Return the padded share of the input, 0..1."""
        return 1.0 - self.content_wh[0] * self.content_wh[1] / (self.dst_hw[0] * self.dst_hw[1])

    @cached_property
    def _ratio_xyxy(self) -> Boxes:
        # per axis, since rounding the content makes the two differ by up to half an input pixel over its whole length
        ratio = [content / src for content, src in zip(self.content_wh, self.src_wh, strict=True)]
        return np.array(ratio * 2, np.float32)

    @cached_property
    def _offset_xyxy(self) -> Boxes:
        return np.array(self.left_top * 2, np.float32)

    @cached_property
    def _limit_xyxy(self) -> Boxes:
        return np.array(self.src_wh * 2, np.float32)

    def to_frame(self, xyxy: Boxes) -> Boxes:
        """Return boxes (n, 4) in input pixels as boxes in frame pixels, clipped to the frame."""
        boxes: Boxes = (xyxy - self._offset_xyxy) / self._ratio_xyxy
        return np.minimum(np.maximum(boxes, np.float32(0), out=boxes), self._limit_xyxy, out=boxes)

    def outlines_to_frame(self, outlines: Outlines) -> Outlines:
        """Return corners (n, 4, 2) in input pixels in frame pixels, not clipped: a cut rotated box is none."""
        moved: Outlines = (outlines - self._offset_xyxy[:2]) / self._ratio_xyxy[:2]
        return moved

    def masks_to_frame(self, masks: Masks) -> Masks:
        """Return masks in input pixels, which lie in the content, in frame pixels."""
        ratio = self._ratio_xyxy[:2]
        area = masks.figures[:, :1] / np.prod(ratio)
        centre = (masks.figures[:, 1:] - self._offset_xyxy[:2]) / ratio
        return Masks(np.concatenate([area, centre], axis=1), tuple(map(self._outline_to_frame, masks.outlines)))

    def _outline_to_frame(self, outline: Outline | None) -> Outline | None:
        if outline is None:
            return None
        points = self.outlines_to_frame(np.array(outline, np.float32).reshape(-1, 2))
        return tuple(np.clip(points, 0, self._limit_xyxy[:2]).ravel().tolist())

    def cut_to_content(self, xyxy: Boxes) -> Boxes:
        """Return boxes (n, 4) in input pixels cut at the edge of the frame; one in the padding alone has no extent."""
        low = self._offset_xyxy
        return np.clip(xyxy, low, low + np.array(self.content_wh * 2, np.float32))

    def to_input(self, xyxy: Boxes) -> Boxes:
        """Return boxes (n, 4) in frame pixels as boxes in input pixels."""
        scaled: Boxes = xyxy * self._ratio_xyxy + self._offset_xyxy
        return scaled


def in_frame(found: Detections, box: Letterbox) -> Detections:
    """Return `found`, in pixels of the input, in pixels of the frame, without boxes that lie in the padding alone."""
    if not len(found):
        return found
    xyxy = box.to_frame(found.xyxy)
    outlines = None if found.outlines is None else box.outlines_to_frame(found.outlines)
    masks = None if found.masks is None else box.masks_to_frame(found.masks)
    seen = Detections(xyxy, found.score, found.class_id, outlines, masks)
    inside: NDArray[np.bool_] = np.logical_and.reduce(xyxy[:, 2:] > xyxy[:, :2], axis=1)
    return seen if np.logical_and.reduce(inside) else seen[inside]
