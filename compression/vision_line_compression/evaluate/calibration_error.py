# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether a score means what it says: expected calibration error of the detections' scores.

ECE = sum over bins b of (n_b / n) * |mean score of b - precision of b|. M. P. Naeini et al., Obtaining Well Calibrated
Probabilities Using Bayesian Binning, AAAI 2015; for detections: F. Küppers et al., Multivariate Confidence
Calibration for Object Detection, CVPR workshops 2020.
"""

from __future__ import annotations

import numpy as np

from vision_line_compression.evaluate.matching import Floats, Mask, Matches
from vision_line_compression.evaluate.results import CalibrationBin, ScoreCalibration

BINS = 10
FLOOR = 0.05


def calibration(matches: Matches, match_iou: float, floor: float = FLOOR) -> ScoreCalibration:
    """Compare scores from `floor` on with how often such a detection finds a true box."""
    counted = matches.score >= floor
    scores, right = matches.score[counted], matches.matched[matches.row(match_iou)][counted]
    edges = np.linspace(floor, 1.0, BINS + 1)
    numbers = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, BINS - 1)
    bins = tuple(_bin(float(edges[n]), float(edges[n + 1]), scores, right, numbers == n) for n in range(BINS))
    errors = [
        one.detections * abs(one.mean_score - one.precision)
        for one in bins
        if one.mean_score is not None and one.precision is not None
    ]
    return ScoreCalibration(floor=floor, expected_error=sum(errors) / len(scores) if len(scores) else None, bins=bins)


def _bin(low: float, high: float, scores: Floats, right: Mask, inside: Mask) -> CalibrationBin:
    return CalibrationBin(
        low=low,
        high=high,
        detections=int(inside.sum()),
        mean_score=float(scores[inside].mean()) if inside.any() else None,
        precision=float(right[inside].mean()) if inside.any() else None,
    )
