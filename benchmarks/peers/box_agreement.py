# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether a contender found in its timed run what the reference finds in the same frames. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.peers.job import BoxRow

#: Two boxes are the same defect or thing.
LEAST_IOU = 0.6
#: A box is sure to be found by all when its score is so far above the threshold; decoders and resizers differ a little.
MARGIN = 0.1
#: Of the sure boxes of either side the other must have at least so many, and at least so many must have been compared.
LEAST_SHARE, LEAST_BOXES = 0.9, 10


@dataclass(frozen=True, slots=True)
class Agreement:
    """Sure boxes of both sides, and those of them that the other side has too."""

    frames: int
    boxes: int
    matched: int

    @property
    def share(self) -> float:
        """Return the share that both have; 0 where there was nothing to compare."""
        return self.matched / self.boxes if self.boxes else 0.0

    @property
    def right(self) -> bool:
        """Whether enough was compared, and agrees."""
        return self.boxes >= LEAST_BOXES and self.share >= LEAST_SHARE

    def __str__(self) -> str:
        """Say it in words."""
        verdict = "right" if self.right else "WRONG" if self.boxes >= LEAST_BOXES else "NOT CHECKED, too few boxes"
        return f"{verdict}: {self.matched} of {self.boxes} boxes in {self.frames} frames"


def compare_boxes(pairs: Iterable[tuple[Sequence[BoxRow], Sequence[BoxRow]]], threshold: float) -> Agreement:
    """Compare (found, reference) boxes of frames, both cut off at `threshold`."""
    frames = boxes = matched = 0
    for found, reference in pairs:
        frames += 1
        for sure, others in ((_sure(found, threshold), reference), (_sure(reference, threshold), found)):
            boxes += len(sure)
            matched += sum(any(_same(box, other) for other in others) for box in sure)
    return Agreement(frames, boxes, matched)


def _sure(boxes: Sequence[BoxRow], threshold: float) -> list[BoxRow]:
    return [box for box in boxes if box[4] >= threshold + MARGIN]


def _same(one: BoxRow, other: BoxRow) -> bool:
    return one[5] == other[5] and iou(one, other) >= LEAST_IOU


def iou(one: BoxRow, other: BoxRow) -> float:
    """Return the intersection over the union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (_area(one) + _area(other) - shared)


def _area(box: BoxRow) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
