# SPDX-License-Identifier: AGPL-3.0-or-later
"""Average precision as COCO defines it: precision made monotone, read at 101 recalls, averaged over IoU thresholds.

T.-Y. Lin et al., Microsoft COCO: Common Objects in Context, 2014; the evaluation's rules at cocodataset.org.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vision_line_compression.evaluate.matching import Floats, Ints, Mask, Matches

#: COCO reads precision at the recalls 0.00, 0.01 ... 1.00.
RECALLS = np.linspace(0.0, 1.0, 101)

#: What COCO adds to a denominator of 0.
_LEAST = np.spacing(1)


@dataclass(frozen=True, slots=True)
class ClassRanking:
    """The detections of one class over all images by falling score, ready to be weighed image by image."""

    image: Ints  # (d,)
    right: Mask  # (t, d)
    wrong: Mask  # (t, d)
    true_per_image: Floats  # (images,) true boxes that count


def rank(matches: Matches, classes: int) -> tuple[ClassRanking, ...]:
    """Return the rankings of all classes."""
    return tuple(_rank_class(matches, class_id) for class_id in range(classes))


def _rank_class(matches: Matches, class_id: int) -> ClassRanking:
    rows = np.flatnonzero(matches.class_id == class_id)
    rows = rows[np.argsort(-matches.score[rows], kind="stable")]
    counting = (matches.true_class_id == class_id) & ~matches.true_ignored
    return ClassRanking(
        image=matches.image[rows],
        right=matches.matched[:, rows] & ~matches.ignored[:, rows],
        wrong=~matches.matched[:, rows] & ~matches.ignored[:, rows],
        true_per_image=np.bincount(matches.true_image[counting], minlength=matches.images).astype(np.float64),
    )


def average_precision(ranking: ClassRanking, weights: Floats | None = None) -> Floats:
    """Return the average precision at each IoU threshold (t,), not-a-number for a class without true boxes.

    `weights` (images,) says how often each image counts (bootstrap); None: once.
    """
    true = ranking.true_per_image.sum() if weights is None else ranking.true_per_image @ weights
    if true == 0:
        return np.full(len(ranking.right), np.nan)
    times = 1.0 if weights is None else weights[ranking.image]
    right = np.cumsum(ranking.right * times, axis=1)
    wrong = np.cumsum(ranking.wrong * times, axis=1)
    recall = right / true
    precision = right / (right + wrong + _LEAST)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    padded = np.concatenate([envelope, np.zeros((len(envelope), 1))], axis=1)
    at = [np.searchsorted(row, RECALLS, side="left") for row in recall]
    return np.array([row[index].mean() for row, index in zip(padded, at, strict=True)])


def mean_average_precision(rankings: tuple[ClassRanking, ...], weights: Floats | None = None) -> Floats:
    """Return mAP at each IoU threshold (t,), over the classes that have true boxes; not-a-number without any."""
    table = np.array([average_precision(ranking, weights) for ranking in rankings])
    present = ~np.isnan(table[:, 0])
    return table[present].mean(axis=0) if present.any() else np.full(table.shape[1], np.nan)
