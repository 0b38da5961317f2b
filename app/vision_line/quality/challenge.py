# SPDX-License-Identifier: AGPL-3.0-or-later
"""Challenge parts: what passing known parts shows about the line, and whether it is due.

Twenty parts without a miss look like proof and show only that the miss rate is below 13.9 %. So each result has its
exact limit beside it. Parts that are found at some passes and not at others are the interesting ones: their
probability of detection is sorted into the zones of J. Z. Knapp, H. K. Kushner, Journal of the Parenteral Drug
Association 34 (1980) 14.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from math import ceil, log, log1p

from vision_line.quality.intervals import CONFIDENCE, clopper_pearson

#: From this probability of detection on a part counts as found, and below the other as not found.
FOUND_FROM = 0.7
GREY_FROM = 0.3


def miss_rate_shown(passes: int, misses: int = 0, confidence: float = CONFIDENCE) -> float:
    """Return the upper limit of the miss rate that so many passes of defective parts show: 13.9 % for 20, no miss."""
    return clopper_pearson(misses, passes, 2.0 * confidence - 1.0)[1]


def passes_needed(miss_rate: float, confidence: float = CONFIDENCE) -> int:
    """Return how many passes without a miss show that the miss rate is below this one: 299 for 1 %."""
    if not 0.0 < miss_rate < 1.0:
        raise ValueError(f"expected a share between 0 and 1, got {miss_rate}")
    return ceil(log(1.0 - confidence) / log1p(-miss_rate))


class KnappZone(StrEnum):
    """How surely a part is found."""

    FOUND = "found"  # at 70 % of its passes or more
    GREY = "grey"
    NOT_FOUND = "not found"  # at less than 30 %


@dataclass(frozen=True, slots=True)
class PartDetection:
    """How often one challenge part was found, over all of its passes."""

    part: str
    found: int
    passes: int

    @property
    def share(self) -> float:
        """Probability of detection, as estimated."""
        return self.found / self.passes

    @property
    def interval(self) -> tuple[float, float]:
        """Its exact 95 % interval."""
        return clopper_pearson(self.found, self.passes)

    @property
    def zone(self) -> KnappZone:
        """Whether it is found surely, sometimes, or hardly."""
        return (
            KnappZone.FOUND
            if self.share >= FOUND_FROM
            else KnappZone.GREY
            if self.share >= GREY_FROM
            else KnappZone.NOT_FOUND
        )


def detection_by_part(passes: Iterable[tuple[str, bool]]) -> list[PartDetection]:
    """Count passes, each with its part and whether it was found; in the order of their first pass."""
    tried: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for part, was_found in passes:
        tried[part] += 1
        found[part] += was_found
    return [PartDetection(part, found[part], tried[part]) for part in tried]


@dataclass(frozen=True, slots=True)
class ChallengeLimits:
    """What a challenge may miss and reject wrongly at most, as shares of its passes."""

    miss: float
    false_reject: float


@dataclass(frozen=True, slots=True)
class ChallengeResult:
    """Passes of defective and of good parts, of one challenge or pooled over many."""

    defective: int
    missed: int
    good: int
    falsely_rejected: int

    def failures(self, limits: ChallengeLimits) -> list[str]:
        """Return what is beyond the limits, in words; nothing where the challenge is passed."""
        if not self.defective:
            return ["no defective part was passed, so nothing is shown about misses"]
        missed = _beyond("defective parts were missed", self.missed, self.defective, limits.miss)
        rejected = _beyond("good parts were rejected", self.falsely_rejected, self.good, limits.false_reject)
        return [failure for failure in (missed, rejected) if failure]


def _beyond(what: str, count: int, passes: int, limit: float) -> str:
    if not passes or count / passes <= limit:
        return ""
    low, high = clopper_pearson(count, passes)
    return f"{count} of {passes} {what}: {count / passes:.1%} ({low:.1%} to {high:.1%}), allowed are {limit:.1%}"


class ChallengeState(StrEnum):
    """Whether the line has shown lately that it finds what it must."""

    PENDING = "pending"  # none was done since the line began, and none is due yet
    PASSED = "passed"
    FAILED = "failed"  # the last challenge did: it stands until one is passed
    OVERDUE = "overdue"  # the last one is too long ago, or there was none since the line began


@dataclass(frozen=True, slots=True)
class ChallengeSchedule:
    """How often a camera is challenged: `every_s` seconds after it began to inspect, and after each challenge."""

    began_utc: float
    every_s: float

    def due_utc(self, last_utc: float | None) -> float:
        """Return when the next challenge must be done; `last_utc` is when the last one ended."""
        return max(self.began_utc, self.began_utc if last_utc is None else last_utc) + self.every_s

    def state(self, now_utc: float, last_utc: float | None, *, last_passed: bool) -> ChallengeState:
        """Return what holds now; a failed challenge stays failed, however long ago."""
        if last_utc is not None and not last_passed:
            return ChallengeState.FAILED
        if now_utc >= self.due_utc(last_utc):
            return ChallengeState.OVERDUE
        return ChallengeState.PENDING if last_utc is None else ChallengeState.PASSED
