# SPDX-License-Identifier: AGPL-3.0-or-later
"""Compares two sets of detections of one frame: pairs one to one, and the largest differences within pairs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from vision_line.frames import Detections

#: Tolerances for the results of the same frame.
MOST_PIXELS, MOST_SCORE = 1.0, 0.02

#: Boxes whose sides are further apart than this are different defects, pixels.
_PAIRED_WITHIN_PX = 8.0


@dataclass(frozen=True, slots=True)
class ResultDifference:
    """Differences of two sets of detections. `unmatched` counts detections that only one of them has."""

    pairs: int = 0
    unmatched: int = 0
    pixels: float = 0.0  # largest distance of a side of two paired boxes
    score: float = 0.0  # largest difference of the scores of a pair

    @property
    def is_none(self) -> bool:
        """Whether it lies within the tolerance."""
        return not self.unmatched and self.pixels <= MOST_PIXELS and self.score <= MOST_SCORE


def difference(some: Detections, others: Detections, floor: float) -> ResultDifference:
    """Return the differences of two sets of detections of one frame.

    Pairs are of one class, the closest first. An unmatched detection within the tolerance of `floor`, the lowest score
    that either side returns, does not count: its partner may lie just below.
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
    unmatched = _certain_beside(some, rows, floor) + _certain_beside(others, columns, floor)
    return ResultDifference(len(pairs), unmatched, float(sides.max(initial=0.0)), float(scores.max(initial=0.0)))


def together(parts: Iterable[ResultDifference]) -> ResultDifference:
    """Return the combined differences of many frames."""
    return reduce(
        lambda a, b: ResultDifference(
            a.pairs + b.pairs, a.unmatched + b.unmatched, max(a.pixels, b.pixels), max(a.score, b.score)
        ),
        parts,
        ResultDifference(),
    )


def _certain_beside(found: Detections, paired: NDArray[np.intp], floor: float) -> int:
    left = np.delete(found.score, paired)
    return int((left > floor + MOST_SCORE).sum())
