# SPDX-License-Identifier: AGPL-3.0-or-later
"""Misses and false detections at the operating threshold and at others, and whether scores mean what they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from vision_line_compression.evaluate.matching import Floats, Ints, Mask, Matches
from vision_line_compression.evaluate.rates import binomial_rate, poisson_rate
from vision_line_compression.evaluate.results import (
    CalibrationBin,
    MissedGroup,
    OperatingPoint,
    ScoreCalibration,
    Sweep,
)

#: The thresholds of a sweep: close together where a cautious inspection operates.
SWEEP_THRESHOLDS = (
    0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15, 0.18, 0.2, 0.22, 0.25, 0.28, 0.3, 0.35, 0.4,
    0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95,
)  # fmt: skip

#: Edges of the groups of longer sides, in pixels of the network's input: from 8 px on a defect covers one cell.
LONGER_SIDE_EDGES = (0.0, 8.0, 16.0, 24.0, 32.0, 48.0, 96.0, float("inf"))

#: Whether a score means what it says is asked in this many bins, from this score on.
CALIBRATION_BINS = 10
CALIBRATION_FLOOR = 0.05


@dataclass(frozen=True, slots=True)
class MissCounts:
    """What happens in each image at one threshold: columns over the images, for sums and resampling."""

    missed: Floats
    false_detections: Floats
    boxes: Floats


def count_per_image(matches: Matches, match_iou: float, threshold: float) -> MissCounts:
    """Count the misses and false detections of each image at `threshold`."""
    row = matches.row(match_iou)
    missed = matches.taken_at[row] <= threshold
    wrong = ~matches.matched[row] & (matches.score > threshold)
    return MissCounts(
        missed=per_image(matches.true_image[missed], matches.images),
        false_detections=per_image(matches.image[wrong], matches.images),
        boxes=per_image(matches.true_image, matches.images),
    )


def operating_point(
    matches: Matches,
    class_blind: Matches,
    match_iou: float,
    threshold: float,
    *,
    classes: Sequence[str],
    longer_sides: Floats,
) -> OperatingPoint:
    """Describe what an inspection at `threshold` misses and wrongly finds.

    `class_blind` are matches of the same detections that ignore classes; `longer_sides` belong to the true boxes, in
    their order, in pixels of the network's input. A detection counts above the threshold, as in an inspection.
    """
    row = matches.row(match_iou)
    missed = matches.taken_at[row] <= threshold
    unseen = class_blind.taken_at[class_blind.row(match_iou)] <= threshold
    detected = matches.score > threshold
    wrong = detected & ~matches.matched[row]
    clean = np.setdiff1d(np.arange(matches.images), matches.true_image)
    alarmed = np.unique(matches.image[detected])
    by_class, by_longer_side = box_groups(matches, classes, longer_sides)
    return OperatingPoint(
        match_iou=match_iou,
        threshold=threshold,
        boxes=len(missed),
        missed=int(missed.sum()),
        unseen=int((missed & unseen).sum()),
        miss_rate=binomial_rate(int(missed.sum()), len(missed)),
        false_detections=int(wrong.sum()),
        false_per_image=poisson_rate(int(wrong.sum()), matches.images),
        images_with_false=binomial_rate(len(np.unique(matches.image[wrong])), matches.images),
        clean_images_alarmed=binomial_rate(len(np.intersect1d(clean, alarmed)), len(clean)),
        precision=1.0 - float(wrong.sum()) / float(detected.sum()) if detected.any() else None,
        by_class={name: _found(missed, boxes) for name, boxes in by_class.items()},
        by_longer_side={name: _found(missed, boxes) for name, boxes in by_longer_side.items()},
    )


def box_groups(
    matches: Matches, classes: Sequence[str], longer_sides: Floats
) -> tuple[dict[str, Mask], dict[str, Mask]]:
    """Return which true boxes (n,) are of each class, and which of each range of longer sides."""
    by_class = {name: matches.true_class_id == index for index, name in enumerate(classes)}
    by_longer_side = {
        _group_name(low, high): (longer_sides >= low) & (longer_sides < high)
        for low, high in pairwise(LONGER_SIDE_EDGES)
    }
    return by_class, by_longer_side


def sweep_thresholds(matches: Matches, match_iou: float, floor: float) -> Sweep:
    """Return misses and false detections at each of `SWEEP_THRESHOLDS` from `floor` on."""
    row = matches.row(match_iou)
    thresholds = np.array([threshold for threshold in SWEEP_THRESHOLDS if threshold >= floor])
    taken = np.sort(matches.taken_at[row])
    missed = np.searchsorted(taken, thresholds, side="right")
    wrong_scores = np.sort(matches.score[~matches.matched[row]])
    wrong = len(wrong_scores) - np.searchsorted(wrong_scores, thresholds, side="right")
    right = len(taken) - missed
    f1 = 2 * right / np.maximum(len(taken) + right + wrong, 1)
    return Sweep(
        match_iou=match_iou,
        threshold=tuple(thresholds.tolist()),
        missed=tuple(missed.tolist()),
        false_detections=tuple(wrong.tolist()),
        miss_rate=tuple((missed / max(len(taken), 1)).tolist()),
        false_per_image=tuple((wrong / matches.images).tolist()),
        best_f1_threshold=float(thresholds[f1.argmax()]) if right.any() else None,
    )


def calibration(matches: Matches, match_iou: float, floor: float = CALIBRATION_FLOOR) -> ScoreCalibration:
    """Compare scores from `floor` on with how often such a detection finds a true box.

    ECE = sum over bins b of (n_b / n) * |mean score of b - precision of b|. M. P. Naeini et al., Obtaining Well
    Calibrated Probabilities Using Bayesian Binning, AAAI 2015; for detections: F. Küppers et al., Multivariate
    Confidence Calibration for Object Detection, CVPR workshops 2020.
    """
    counted = matches.score >= floor
    scores, right = matches.score[counted], matches.matched[matches.row(match_iou)][counted]
    edges = np.linspace(floor, 1.0, CALIBRATION_BINS + 1)
    numbers = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, CALIBRATION_BINS - 1)
    bins = tuple(
        _bin(float(edges[n]), float(edges[n + 1]), scores, right, numbers == n) for n in range(CALIBRATION_BINS)
    )
    errors = [
        one.detections * abs(one.mean_score - one.precision)
        for one in bins
        if one.mean_score is not None and one.precision is not None
    ]
    return ScoreCalibration(floor=floor, expected_error=sum(errors) / len(scores) if len(scores) else None, bins=bins)


def _found(missed: Mask, group: Mask) -> MissedGroup:
    boxes, lost = int(group.sum()), int((missed & group).sum())
    return MissedGroup(boxes=boxes, missed=lost, miss_rate=binomial_rate(lost, boxes))


def _group_name(low: float, high: float) -> str:
    return f"{low:.0f}-{high:.0f}" if np.isfinite(high) else f"{low:.0f}-"


def per_image(image: Ints, images: int) -> Floats:
    """Return how often each of `images` occurs in `image`: (images,)."""
    return np.bincount(image, minlength=images).astype(np.float64)


def _bin(low: float, high: float, scores: Floats, right: Mask, inside: Mask) -> CalibrationBin:
    return CalibrationBin(
        low=low,
        high=high,
        detections=int(inside.sum()),
        mean_score=float(scores[inside].mean()) if inside.any() else None,
        precision=float(right[inside].mean()) if inside.any() else None,
    )
