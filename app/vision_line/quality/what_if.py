# SPDX-License-Identifier: AGPL-3.0-or-later
"""What another threshold would have called, from reviewed items and the best score of each.

It answers down to the floor alone, the score from which the line keeps near misses: what scored lower left no record,
and a curve that went on would show no misses where nobody looked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class ScoredItem:
    """A reviewed event or near miss: its best score, how many it stands for, and whether it is a defect."""

    score: float
    weight: float
    defective: bool


@dataclass(frozen=True, slots=True)
class ThresholdEffect:
    """What a threshold does, in estimated items of the record."""

    threshold: float
    true_calls: float
    false_calls: float
    missed: float  # defects that are in the record and would not be called


def threshold_curve(items: Sequence[ScoredItem], thresholds: Sequence[float], floor: float) -> list[ThresholdEffect]:
    """Return the effect of each threshold; an item is called whose score reaches it. ValueError below the floor."""
    if any(threshold < floor for threshold in thresholds):
        raise ValueError(f"below {floor} nothing was recorded, so nothing is known")
    if any(item.score < floor for item in items):
        raise ValueError(f"an item scores below {floor}, from where on items are recorded")
    rising = sorted(items, key=lambda item: item.score)
    before = np.searchsorted([item.score for item in rising], thresholds)
    good, bad = (
        np.concatenate([[0.0], np.cumsum([item.weight * (item.defective is defective) for item in rising])])
        for defective in (False, True)
    )
    return [
        ThresholdEffect(threshold, float(bad[-1] - bad[n]), float(good[-1] - good[n]), float(bad[n]))
        for threshold, n in zip(thresholds, before, strict=True)
    ]
