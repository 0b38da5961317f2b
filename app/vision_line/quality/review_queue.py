# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is reviewed, and in which order: the borderline first, then a random share of everything else.

The borderline teaches the most and says nothing about the rest, so it is a stratum of its own that counts only when it
is done. The share is drawn by a seeded hash of each item's key: the same item is in or out however often one asks, and
new items change nothing for the others. It is reviewed in the order of that draw, so that a queue that nobody finishes
is still a random sample, and of each stratum the same part is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b

#: What the names of borderline strata end in.
BORDERLINE = ", borderline"


@dataclass(frozen=True, slots=True)
class ReviewCandidate:
    """Something that could be reviewed."""

    key: str
    stratum: str
    margin: float | None = None  # how far the best score is from the nearest threshold; None: it has none, as an audit


@dataclass(frozen=True, slots=True)
class QueuedReview:
    """Something to review, with the probability with which it came here."""

    key: str
    stratum: str
    inclusion: float


@dataclass(frozen=True, slots=True)
class ReviewPlan:
    """Which part is reviewed."""

    borderline: float  # margins up to this one are borderline
    shares: Mapping[str, float]  # of each stratum's other items, above 0 and at 1 at most; a stratum not named: none
    seed: int


def review_queue(candidates: Iterable[ReviewCandidate], plan: ReviewPlan) -> list[QueuedReview]:
    """Return what to review, in its order, whatever the order of the candidates."""
    borderline: list[tuple[float, str, QueuedReview]] = []
    others: list[tuple[float, str, QueuedReview]] = []
    for candidate in candidates:
        key = candidate.key
        share = plan.shares.get(candidate.stratum, 0.0)
        if candidate.margin is not None and candidate.margin <= plan.borderline:
            borderline.append((candidate.margin, key, QueuedReview(key, candidate.stratum + BORDERLINE, 1.0)))
        elif (place := _uniform("review", plan.seed, key)) < share:
            others.append((place / share, key, QueuedReview(key, candidate.stratum, share)))
    return [review for _, _, review in (*sorted(borderline, key=_order), *sorted(others, key=_order))]


def is_reviewed_twice(key: str, seed: int, share: float = 0.1) -> bool:
    """Whether two people review this item, neither seeing the other's answer."""
    return _uniform("twice", seed, key) < share


def _order(entry: tuple[float, str, QueuedReview]) -> tuple[float, str]:
    return entry[:2]


def _uniform(purpose: str, seed: int, key: str) -> float:
    """Return a number of [0, 1) that looks random and is always the same; each purpose has its own."""
    digest = blake2b(f"{purpose} {seed} {key}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53
