# SPDX-License-Identifier: AGPL-3.0-or-later
"""Counts as an evaluation publishes them: a share or a count per image, with its exact 95 % interval."""

from __future__ import annotations

from vision_line.quality.intervals import CONFIDENCE, clopper_pearson, garwood
from vision_line_compression.evaluate.results import Rate


def binomial_rate(hits: int, trials: int, confidence: float = CONFIDENCE) -> Rate:
    """Return the share `hits / trials` with its exact binomial interval; without trials it is unknown: 0 to 1."""
    low, high = clopper_pearson(hits, trials, confidence)
    return Rate(value=hits / trials if trials else None, low=low, high=high)


def poisson_rate(count: int, exposure: int, confidence: float = CONFIDENCE) -> Rate:
    """Return `count / exposure` (such as false detections per image) with the exact interval of a Poisson count."""
    if count < 0 or exposure < 1:
        raise ValueError(f"expected a count over at least one, got {count} over {exposure}")
    low, high = garwood(count, confidence)
    return Rate(value=count / exposure, low=low / exposure, high=high / exposure)
