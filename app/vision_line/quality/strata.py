# SPDX-License-Identifier: AGPL-3.0-or-later
"""What was reviewed of what there is: strata, reviewed items and their weights.

Strata have no item in common: a defect of an audited frame that has an event or a near miss is counted there alone.
Each reviewed item stands for 1 / inclusion items of its stratum (D. G. Horvitz, D. J. Thompson, Journal of the American
Statistical Association 47 (1952) 663). The weights of a stratum are scaled to its known size, so that a queue that
nobody finished does not count as a smaller plant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from vision_line.quality.intervals import Floats


class StratumKind(StrEnum):
    """Where items come from."""

    EVENT = "event"
    NEAR_MISS = "near miss"  # a track that never became an event
    AUDIT = "audit"  # an inspected frame that was drawn at random


@dataclass(frozen=True, slots=True)
class Stratum:
    """Items of one kind that are reviewed alike."""

    name: str
    kind: StratumKind
    called: bool  # whether the line called them defects, for example rejected them
    population: int  # how many there are, reviewed or not; of audits: all inspected frames
    at_random: bool = True  # False: reviewed from one end, so that a part of them says nothing about the others

    def __post_init__(self) -> None:
        """Refuse audits that count as called."""
        if self.called and self.kind is not StratumKind.EVENT:
            raise ValueError(f"{self.name}: only events are called")


@dataclass(frozen=True, slots=True)
class ReviewedItem:
    """An item that a person has reviewed."""

    stratum: str
    inclusion: float  # the probability with which it came to review, above 0
    #: True defects that it stands for: 0 or 1 of an event or near miss. Of an audited frame, each defect in it counts
    #: 1 / (inspected frames that show it), because a defect that ten frames show is found ten times as easily.
    defects: float


@dataclass(frozen=True, slots=True)
class StratumSample:
    """The reviewed items of one stratum, as arrays (n,)."""

    stratum: Stratum
    weights: Floats  # items that each one stands for; they add up to the population
    defects: Floats

    @property
    def total(self) -> float:
        """True defects in the stratum, as estimated."""
        return float(np.clip((self.weights * self.defects).sum(), *self.bounds))

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and most true defects in the stratum, by what was reviewed; a frame may hold any number of them."""
        known, reviewed = float(self.defects.sum()), len(self.defects)
        held = self.stratum.kind is StratumKind.AUDIT
        return known, float("inf") if held else self.stratum.population - reviewed + known

    @property
    def gap(self) -> str:
        """Why the sample says nothing about its stratum; empty where it does."""
        reviewed, population = len(self.weights), self.stratum.population
        if population and not reviewed:
            return f"none of {population} reviewed in {self.stratum.name}"
        if reviewed < population and not self.stratum.at_random:
            return f"only {reviewed} of {population} reviewed in {self.stratum.name}, which were not drawn at random"
        return ""


def samples_of(strata: Sequence[Stratum], items: Sequence[ReviewedItem]) -> list[StratumSample]:
    """Return the sample of each stratum; ValueError for items that fit none, or are more than there are."""
    groups: dict[str, list[ReviewedItem]] = {stratum.name: [] for stratum in strata}
    for item in items:
        if item.stratum not in groups:
            raise ValueError(f"no such stratum: {item.stratum}")
        groups[item.stratum].append(item)
    return [_sample(stratum, groups[stratum.name]) for stratum in strata]


def _sample(stratum: Stratum, items: Sequence[ReviewedItem]) -> StratumSample:
    if len(items) > stratum.population:
        raise ValueError(f"{stratum.name}: {len(items)} items reviewed of {stratum.population}")
    inclusion = np.array([item.inclusion for item in items], np.float64)
    if not ((inclusion > 0) & (inclusion <= 1)).all():
        raise ValueError(f"{stratum.name}: an inclusion probability lies above 0, and at 1 at most")
    weights = 1.0 / inclusion
    scale = stratum.population / weights.sum() if items else 1.0
    return StratumSample(stratum, weights * scale, np.array([item.defects for item in items], np.float64))
