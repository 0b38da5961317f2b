# SPDX-License-Identifier: AGPL-3.0-or-later
"""What results show, with exact intervals, and what so many passes can show at all. Pure; for page and terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from vision_line.challenges.acts import LineChallenge
from vision_line.challenges.entry_bodies import ChallengeOutcome, CountedPass, PassOutcome, ResultBody
from vision_line.challenges.measuring import counted
from vision_line.quality.challenge import (
    ChallengeResult,
    KnappZone,
    PartDetection,
    detection_by_part,
    miss_rate_shown,
    passes_needed,
)
from vision_line.quality.intervals import clopper_pearson

#: Passes of these are counted for a part's probability of detection.
_SHOWN = (PassOutcome.FOUND, PassOutcome.MISSED)


@dataclass(frozen=True, slots=True)
class Shown:
    """Passes of one challenge or of many, with what they show."""

    counts: ChallengeResult
    not_inspected: int
    parts: Sequence[PartDetection]  # of defective parts

    @property
    def miss_interval(self) -> tuple[float, float]:
        """The exact 95 % interval of the miss rate."""
        return clopper_pearson(self.counts.missed, self.counts.defective)

    @property
    def false_reject_interval(self) -> tuple[float, float]:
        """The same of good parts that were rejected."""
        return clopper_pearson(self.counts.falsely_rejected, self.counts.good)

    @property
    def says(self) -> str:
        """What the passes show about misses, in one sentence."""
        counts = self.counts
        if not counts.defective:
            return "no defective part was inspected: nothing is shown about misses"
        shown = miss_rate_shown(counts.defective, counts.missed)
        return (
            f"{counts.missed} of {counts.defective} defective passes missed: the miss rate is below"
            f" {share(shown)} (95 %, one-sided)"
        )

    @property
    def unsure_parts(self) -> list[PartDetection]:
        """The parts that are not found surely."""
        return [part for part in self.parts if part.zone is not KnappZone.FOUND]


def shown(passes: Iterable[CountedPass]) -> Shown:
    """Return what passes show."""
    every = list(passes)
    hidden = sum(one.outcome is PassOutcome.NOT_INSPECTED for one in every)
    detected = ((one.part, one.outcome is PassOutcome.FOUND) for one in every if one.outcome in _SHOWN)
    return Shown(counted(every), hidden, detection_by_part(detected))


def pooled(challenges: Iterable[LineChallenge], target: str) -> Shown:
    """Return what all challenges of a target show together, without those that are void."""
    return _together(one for one in _results(challenges, target) if one.outcome is not ChallengeOutcome.VOID)


def void(challenges: Iterable[LineChallenge], target: str) -> tuple[int, Shown]:
    """Return how many challenges of a target are void, and what they would have shown: nobody shall lose a miss so."""
    found = [one for one in _results(challenges, target) if one.outcome is ChallengeOutcome.VOID]
    return len(found), _together(found)


def _results(challenges: Iterable[LineChallenge], target: str) -> Iterator[ResultBody]:
    return (one.result for one in challenges if one.target == target and one.result is not None)


def _together(results: Iterable[ResultBody]) -> Shown:
    return shown(one for result in results for one in result.passes)


def can_show(passes: int) -> str:
    """Say what so many passes of defective parts can show at best."""
    best = miss_rate_shown(passes)
    return (
        f"{passes} passes without a miss show a miss rate below {share(best)};"
        f" for 1 % it takes {passes_needed(0.01)}, for 5 % {passes_needed(0.05)}"
    )


def share(value: float) -> str:
    """Return a share as people read it: `13.9 %`, `0.48 %`."""
    return f"{100 * value:.2f} %" if value < 0.01 else f"{100 * value:.1f} %"


def outcome_of(challenge: LineChallenge, now_utc: float) -> str:
    """Return what became of a challenge, in a word or two."""
    if challenge.result is not None:
        return challenge.result.outcome
    if challenge.aborted_utc is not None:
        return "broken off"
    if challenge.ended_utc is not None:
        return "ended, no result yet"
    return "goes on" if challenge.is_open(now_utc) else "nobody ended it"
