# SPDX-License-Identifier: AGPL-3.0-or-later
"""What comes to review: strata by what the line said, which share of each, and what is borderline. Pure.

The shares are constants, so that whether an item comes to review depends on nothing but its name, and its probability
is known for ever. An item's key holds its run's random id, so that one seed draws other items in each plant.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from vision_line.frames import Verdict
from vision_line.quality import ReviewCandidate, ReviewPlan, is_reviewed_twice, review_queue
from vision_line.reviews.answer import ItemKind

NEAR_MISSES = "near misses"
AUDITS = "audits"

SEED = 1
#: Of scores: an event whose highest score lies this close to one of its class's thresholds is borderline.
BORDERLINE_MARGIN = 0.05
#: Of each stratum, the share that comes to review beside the borderline.
SHARES: Mapping[str, float] = MappingProxyType(
    {Verdict.REJECT.value: 0.2, Verdict.WARN.value: 0.2, Verdict.ACCEPT.value: 0.1, NEAR_MISSES: 0.2, AUDITS: 0.25}
)
PLAN = ReviewPlan(BORDERLINE_MARGIN, SHARES, SEED)


@dataclass(frozen=True, slots=True)
class ReviewPlace:
    """With which stratum and inclusion probability an item came to review."""

    stratum: str
    inclusion: float


@dataclass(frozen=True, slots=True)
class ClassThresholds:
    """The scores from which on a class warns and is rejected; None: everything warns, or nobody knows."""

    warn: float | None
    reject: float | None

    @classmethod
    def of(cls, settings: str, class_name: str) -> ClassThresholds:
        """Return those of a class in a camera's recorded settings, which are JSON; old ones may lack them."""
        found = json.loads(settings or "{}")

        def threshold(name: str) -> float | None:
            value = found.get(f"{name}s", {}).get(class_name, found.get(name))
            return value if isinstance(value, int | float) else None

        return cls(threshold("warn_threshold"), threshold("reject_threshold"))

    def margin(self, score: float) -> float | None:
        """Return how far a score is from the nearest of them; None: there is none."""
        return min((abs(score - one) for one in (self.warn, self.reject) if one is not None), default=None)


def stratum_of(kind: ItemKind, verdict: str) -> str:
    """Return the stratum of an item that is not borderline; `verdict` is the line's, of an event."""
    match kind:
        case ItemKind.NEAR_MISS:
            return NEAR_MISSES
        case ItemKind.AUDIT:
            return AUDITS
    return verdict


def place_of(candidate: ReviewCandidate, drawn_with: float) -> ReviewPlace | None:
    """Return how an item that was kept with the probability `drawn_with` comes to review; None: it does not."""
    queued = review_queue([candidate], PLAN)
    return ReviewPlace(queued[0].stratum, queued[0].inclusion * drawn_with) if queued else None


def is_for_two(key: str) -> bool:
    """Whether two people review this item, neither seeing the other's answer."""
    return is_reviewed_twice(key, SEED)
