# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether two sides found the same in a picture: detections paired one to one, and how far the pairs are apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from vision_line.frames import Detections

#: What results of the same picture may differ by.
MOST_PIXELS, MOST_SCORE = 1.0, 0.02

#: Boxes whose sides are further apart than this are not of one defect, pixels.
_PAIRED_WITHIN_PX = 8.0


@dataclass(frozen=True, slots=True)
class ResultDifference:
    """How two sides differ. `alone` counts detections that only one of them has."""

    pairs: int = 0
    alone: int = 0
    pixels: float = 0.0  # largest distance of a side of two paired boxes
    score: float = 0.0  # largest difference of the scores of a pair

    @property
    def is_none(self) -> bool:
        """Whether it lies within the tolerance."""
        return not self.alone and self.pixels <= MOST_PIXELS and self.score <= MOST_SCORE


def difference(some: Detections, others: Detections, floor: float) -> ResultDifference:
    """Return how two sides' detections of one picture differ.

    Pairs are of one class, the closest first. A detection without partner that is within the tolerance of `floor`, the
    lowest score that either side hands back, does not count: its partner may lie just below.
    """
    apart = np.abs(some.xyxy[:, None] - others.xyxy[None]).max(axis=2, initial=0.0)  # (n, m)
    apart[some.class_id[:, None] != others.class_id[None]] = np.inf
    pairs: list[tuple[int, int]] = []
    while apart.size and apart.min() <= _PAIRED_WITHIN_PX:
        row, column = divmod(int(apart.argmin()), apart.shape[1])
        pairs.append((row, column))
        apart[row], apart[:, column] = np.inf, np.inf
    rows, columns = np.array(pairs, np.intp).reshape(-1, 2).T
    scores = np.abs(some.score[rows] - others.score[columns])
    sides = np.abs(some.xyxy[rows] - others.xyxy[columns])
    alone = _certain_beside(some, rows, floor) + _certain_beside(others, columns, floor)
    return ResultDifference(len(pairs), alone, float(sides.max(initial=0.0)), float(scores.max(initial=0.0)))


def together(parts: Iterable[ResultDifference]) -> ResultDifference:
    """Return the difference of many pictures."""
    return reduce(
        lambda a, b: ResultDifference(
            a.pairs + b.pairs, a.alone + b.alone, max(a.pixels, b.pixels), max(a.score, b.score)
        ),
        parts,
        ResultDifference(),
    )


def _certain_beside(found: Detections, paired: NDArray[np.intp], floor: float) -> int:
    left = np.delete(found.score, paired)
    return int((left > floor + MOST_SCORE).sum())
