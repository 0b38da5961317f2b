# SPDX-License-Identifier: AGPL-3.0-or-later
"""Parts of lanes over hours, as `vision-line lanes` enters them: how many of each hour have which verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tests.fakes.passed_parts import make_part

from vision_line.parts.part import PartCause, PartVerdict
from vision_line.parts.part_entries import add_part, last_sequence
from vision_line.parts.parts_file import writing

HOUR_S = 3600.0
#: A Friday, midnight in UTC, long over: who approves a baseline is refused one from the future.
BEGAN_UTC = 1_764_288_000.0


@dataclass(frozen=True)
class HourOfParts:
    """What passes a lane within an hour that begins so many hours after `BEGAN_UTC`."""

    hour: int
    inspected: int
    rejected: int
    not_inspected: int = 0
    lot: str = ""
    recipe: str = ""


def pass_hours(directory: Path, hours: Iterable[HourOfParts], lane: str = "a") -> None:
    """Enter these parts, evenly over each hour: rejected ones first, then accepted ones, then those not inspected."""
    with writing(directory) as connection:
        sequence = last_sequence(connection, lane)
        for one in hours:
            verdicts = [PartVerdict.REJECT] * one.rejected
            verdicts += [PartVerdict.ACCEPT] * (one.inspected - one.rejected)
            verdicts += [PartVerdict.NOT_INSPECTED] * one.not_inspected
            for n, verdict in enumerate(verdicts):
                sequence += 1
                at_utc = BEGAN_UTC + HOUR_S * (one.hour + (n + 0.5) / len(verdicts))
                cause = PartCause.GAP if verdict is PartVerdict.NOT_INSPECTED else PartCause.NONE
                part = make_part(
                    sequence, at_utc, lane=lane, lot=one.lot, recipe=one.recipe, verdict=verdict, cause=cause
                )
                add_part(connection, part)


def usual_hours(hours: int, parts: int = 60, share: float = 0.05, first: int = 0, seed: int = 3) -> list[HourOfParts]:
    """Return hours in which only chance works, one part in 30 not inspected."""
    chance = np.random.default_rng(seed)
    rejected, missed = chance.binomial(parts, share, hours), chance.binomial(2, 1 / 2, hours)
    return [HourOfParts(first + n, parts, int(rejected[n]), int(missed[n])) for n in range(hours)]


def total(hours: Iterable[HourOfParts]) -> Counter[str]:
    """Return how many parts these hours have, by what became of them."""
    sums: Counter[str] = Counter()
    for one in hours:
        sums.update(inspected=one.inspected, rejected=one.rejected, not_inspected=one.not_inspected)
    return sums
