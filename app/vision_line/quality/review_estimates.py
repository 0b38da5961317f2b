# SPDX-License-Identifier: AGPL-3.0-or-later
"""Precision, recall and escapes from a reviewed sample, with 95 % intervals that cover the truth in 95 of 100 plants.

The estimates are ratios of weighted totals over strata. For the intervals, what each stratum may hold is drawn many
times and the figure computed from each draw; its quantiles are the limits. A stratum's share is drawn from the beta
distribution of Jeffreys' interval (L. D. Brown, T. T. Cai, A. DasGupta, Statistical Science 16 (2001) 101). Unequal
weights go in by their effective counts (L. Kish, Survey Sampling, 1965), as if one more defect of the largest had been
found (M. P. Fay, E. J. Feuer, Statistics in Medicine 16 (1997) 791). Draws lie closer together as more of a stratum is
reviewed: where all was, nothing is left to guess. Exact intervals cannot be added up over strata.

Draws begin at a fixed seed, so that the same reviews give the same figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vision_line.quality.answers import BoundedFigure, Refused
from vision_line.quality.intervals import CONFIDENCE, Floats
from vision_line.quality.strata import ReviewedItem, Stratum, StratumKind, StratumSample, samples_of

DRAWS = 20_000


@dataclass(frozen=True, slots=True)
class ReviewEstimates:
    """What reviews say about the line."""

    precision: BoundedFigure | Refused  # of what the line called, the share that was a defect
    recall: BoundedFigure | Refused  # of the defects, the share that the line called
    escapes_per_million: BoundedFigure | Refused  # defects that it did not call, per million inspected parts
    false_calls: BoundedFigure | Refused  # called, and no defect


@dataclass(frozen=True, slots=True)
class _Totals:
    """True defects among what the line called and among what it did not: as estimated first, then as drawn."""

    called: Floats
    missed: Floats


def review_estimates(
    strata: Sequence[Stratum],
    items: Sequence[ReviewedItem],
    inspected_parts: int,
    *,
    confidence: float = CONFIDENCE,
    draws: int = DRAWS,
) -> ReviewEstimates:
    """Estimate from reviewed items; a figure that they cannot support is refused, with the reason.

    `inspected_parts`: what escapes are counted against; frames, where there are no parts.
    """
    samples = samples_of(strata, items)
    called = [sample for sample in samples if sample.stratum.called]
    missed = [sample for sample in samples if not sample.stratum.called]
    calls = sum(sample.stratum.population for sample in called)
    totals = _drawn(called, missed, draws)

    def figure(refusal: Refused | None, of: Callable[[_Totals], Floats]) -> BoundedFigure | Refused:
        return refusal or _bounded(of(totals), confidence)

    untested, blind = _refusal(called), _blind(missed)
    nothing = (
        None if totals.called[0] + totals.missed[0] > 0 else Refused("no defect was found, so none could be missed")
    )
    return ReviewEstimates(
        precision=figure(untested or _without(calls, "the line called nothing"), lambda t: t.called / calls),
        recall=figure(blind or untested or nothing, lambda t: t.called / (t.called + t.missed)),
        escapes_per_million=figure(
            blind or _without(inspected_parts, "nothing was inspected"), lambda t: 1e6 * t.missed / inspected_parts
        ),
        false_calls=figure(untested, lambda t: calls - t.called),
    )


def _without(number: int, reason: str) -> Refused | None:
    return None if number else Refused(reason)


def _refusal(samples: Sequence[StratumSample]) -> Refused | None:
    gaps = [sample.gap for sample in samples if sample.gap]
    return Refused("; ".join(gaps)) if gaps else None


def _blind(missed: Sequence[StratumSample]) -> Refused | None:
    """Return why nothing can be said about misses: who looks at detections alone never sees one."""
    audited = any(sample.stratum.kind is StratumKind.AUDIT and len(sample.weights) for sample in missed)
    return _refusal(missed) if audited else Refused("without reviewed audits nothing is known about what was missed")


def _drawn(called: Sequence[StratumSample], missed: Sequence[StratumSample], draws: int) -> _Totals:
    rng = np.random.default_rng(0)

    def summed(samples: Sequence[StratumSample]) -> Floats:
        total: Floats = sum((_stratum_totals(sample, draws, rng) for sample in samples), np.zeros(draws + 1))
        return total

    return _Totals(summed(called), summed(missed))


def _stratum_totals(sample: StratumSample, draws: int, rng: np.random.Generator) -> Floats:
    """Return the defects of a stratum (1 + draws,): the estimate, then what it may be."""
    reviewed, total = len(sample.weights), sample.total
    if not reviewed:
        return np.zeros(draws + 1)  # an empty stratum: one that is not empty has a gap
    parts = sample.weights * sample.defects
    largest = float(parts.max()) if total else float(sample.weights.mean())
    each = (float((parts**2).sum()) + largest**2) / (total + largest)  # of what was found, and one more
    found = total / each
    size = max(found, float(sample.weights.sum()) ** 2 / float((sample.weights**2).sum()))
    drawn = rng.beta(found + 0.5, size - found + 0.5, draws) * size * each
    unknown = (1.0 - reviewed / sample.stratum.population) ** 0.5
    return np.concatenate([[total], np.clip(total + (drawn - total) * unknown, *sample.bounds)])


def _bounded(figures: Floats, confidence: float) -> BoundedFigure:
    """Return the first figure with the quantiles of the others; at an end of its range it is its own limit."""
    tail = (1.0 - confidence) / 2
    low, high = np.quantile(figures[1:], [tail, 1.0 - tail])
    value = float(figures[0])
    return BoundedFigure(value, min(value, float(low)), max(value, float(high)))
