# SPDX-License-Identifier: AGPL-3.0-or-later
"""The figures of a reviewed time: each with its interval, or with the reason why there is none. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

from vision_line.frames import Verdict
from vision_line.quality import (
    BoundedFigure,
    Refused,
    ReviewedItem,
    ReviewEstimates,
    ScoredItem,
    ThresholdEffect,
    cohens_kappa,
    review_estimates,
    samples_of,
    threshold_curve,
)
from vision_line.quality.review_estimates import DRAWS
from vision_line.reviews.answer import ItemKind
from vision_line.reviews.figures.reviewed_time import CountedItem, ReviewedTime
from vision_line.reviews.settled_answers import NO_DEFECT, said

NOT_CALLED = "not called"

_STEP = 0.01
#: Draws of an interval in a trend: its limits are good to about a hundredth of their width.
_TREND_DRAWS = 4000


@dataclass(frozen=True, slots=True)
class ConfusionCell:
    """Items of which the line said `line` and people say `truth`: reviewed ones, and how many they stand for."""

    line: str
    truth: str
    reviewed: int
    estimated: float


@dataclass(frozen=True, slots=True)
class ReviewedCounts:
    """How much was reviewed, and what could not be used."""

    items: int
    reviewed: int
    unsure: int
    by_hand: int  # reviewed without having been drawn: says nothing about others
    audits: int
    inspected_frames: int
    frames_each: float  # inspected frames that show a defect, on average
    people: Mapping[str, int]
    challenge_items: int  # of challenge parts, and in no figure
    second_due: int  # answered by the first of two people, and in no figure until the second one answered
    known_since_utc: float  # records of the time before were removed, and it is in no figure; 0: none were


@dataclass(frozen=True, slots=True)
class PeriodFigures:
    """The rejects of one shift or day, of which so many were none; [since_utc, until_utc)."""

    since_utc: float
    until_utc: float
    rejects: int
    reviewed: int
    false_rejects: BoundedFigure | Refused


@dataclass(frozen=True, slots=True)
class TrendPoint:
    """A model's precision in one shift or day."""

    since_utc: float
    until_utc: float
    precision: BoundedFigure


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """What reviews say about one model in this time."""

    sha256: str
    name: str
    since_utc: float
    inspected_frames: int
    estimates: ReviewEstimates
    trend: Sequence[TrendPoint]


@dataclass(frozen=True, slots=True)
class ThresholdCurve:
    """What other thresholds would have called of the events; `refused` says why there is none."""

    refused: str
    floor: float = 0.0
    effects: Sequence[ThresholdEffect] = ()


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two people agree beyond chance, with a 95 % interval."""

    kappa: BoundedFigure | Refused
    agreed: float = 0.0
    items: int = 0


@dataclass(frozen=True, slots=True)
class ReviewFigures:
    """All figures of a time."""

    counts: ReviewedCounts
    estimates: ReviewEstimates
    confusion: Sequence[ConfusionCell]
    agreement: Agreement
    periods: Sequence[PeriodFigures]
    models: Sequence[ModelFigures]
    what_if: ThresholdCurve


#: A shift or day: from when to when.
Period = tuple[float, float]


def review_figures(time: ReviewedTime, periods: Sequence[Period]) -> ReviewFigures:
    """Compute the figures; `periods` are the shifts or days of the plant's clock, of which the removed part is cut."""
    known_utc = time.known_since_utc
    periods = [(max(since_utc, known_utc), until_utc) for since_utc, until_utc in periods if until_utc > known_utc]
    return ReviewFigures(
        counts=_counts(time),
        estimates=_estimates(time),
        confusion=sorted(_confusion(time), key=lambda cell: (cell.truth == NO_DEFECT, cell.truth, cell.line)),
        agreement=_agreement(time.items),
        periods=[one for period in periods if (one := _period(time, period)).rejects],
        models=[_model(time, periods, n) for n in range(len(time.models)) if _of_model(time, n).frames],
        what_if=_what_if(time),
    )


def _counts(time: ReviewedTime) -> ReviewedCounts:
    answered = [item for item in time.items if item.answers is not None]
    people = Counter(
        answer.person
        for item in answered
        if item.answers is not None
        for answer in (item.answers.first, *item.answers.others)
    )
    return ReviewedCounts(
        items=len(time.items),
        reviewed=len(answered),
        unsure=sum(item.answers is not None and item.answers.is_unsure for item in answered),
        by_hand=sum(item.answers is not None and item.answers.first.stratum != item.stratum for item in answered),
        audits=sum(item.kind is ItemKind.AUDIT and item.is_sampled for item in answered),
        inspected_frames=time.inspected,
        frames_each=time.frames_each,
        people=dict(sorted(people.items())),
        challenge_items=time.left_out,
        second_due=sum(item.waits_for_second for item in time.items),
        known_since_utc=time.known_since_utc,
    )


def _estimates(time: ReviewedTime, draws: int = DRAWS) -> ReviewEstimates:
    if time.is_removed:
        gone = Refused("the records of this time were removed")
        return ReviewEstimates(gone, gone, gone, gone)
    items = [ReviewedItem(item.stratum, item.inclusion, item.defects) for item in time.items if item.is_sampled]
    found = review_estimates(time.strata(), items, time.inspected, draws=draws)
    if time.not_audited and not isinstance(found.escapes_per_million, Refused):
        return replace(found, recall=Refused(time.not_audited), escapes_per_million=Refused(time.not_audited))
    return found


def _weighted(time: ReviewedTime) -> Iterator[tuple[CountedItem, float]]:
    """Yield the sampled items with how many each stands for."""
    sampled = defaultdict[str, list[CountedItem]](list)
    for item in time.items:
        if item.is_sampled:
            sampled[item.stratum].append(item)
    strata = [stratum for stratum in time.strata() if sampled[stratum.name]]
    every = [ReviewedItem(item.stratum, item.inclusion, 0.0) for own in sampled.values() for item in own]
    for sample in samples_of(strata, every):
        yield from zip(sampled[sample.stratum.name], sample.weights.tolist(), strict=True)


def _confusion(time: ReviewedTime) -> Iterator[ConfusionCell]:
    reviewed: Counter[tuple[str, str]] = Counter()
    estimated = defaultdict[tuple[str, str], float](float)
    for item, weight in _weighted(time):
        for line, truth, share in _said_and_true(item):
            reviewed[line, truth] += 1
            estimated[line, truth] += weight * share
    for (line, truth), count in reviewed.items():
        yield ConfusionCell(line, truth, count, estimated[line, truth])


def _said_and_true(item: CountedItem) -> Iterator[tuple[str, str, float]]:
    """Yield what the line said and what is true, and which part of the item's weight that has."""
    if item.kind is ItemKind.AUDIT:
        yield from ((NOT_CALLED, name, 1.0 / item.frames_each) for name in item.missed)
    elif item.answers is not None:
        truth = (item.answers.class_name or item.class_name) if item.answers.is_defect else NO_DEFECT
        if item.is_called or truth != NO_DEFECT:
            yield (item.class_name if item.is_called else NOT_CALLED), truth, 1.0


def _agreement(items: Sequence[CountedItem]) -> Agreement:
    """Compare blind answers: once two people have talked, or seen each other's, they agree."""
    pairs = [(said(item.blind[0]), said(item.blind[1])) for item in items if item.blind is not None]
    found = cohens_kappa([one for one, _ in pairs], [other for _, other in pairs])
    if isinstance(found, Refused):
        agreed = sum(one == other for one, other in pairs) / len(pairs) if pairs else 0.0
        return Agreement(found, agreed, len(pairs))
    return Agreement(BoundedFigure(found.value, found.low, found.high), found.agreed, found.items)


def _within(period: Period) -> Callable[[str, float], bool]:
    return lambda _model, at_utc: period[0] <= at_utc < period[1]


def _period(time: ReviewedTime, period: Period) -> PeriodFigures:
    part = time.part(_within(period))
    rejects = [item for item in part.items if item.verdict == Verdict.REJECT]
    alone = ReviewedTime(rejects, part.frames, part.models, part.frames_each)
    return PeriodFigures(
        *period,
        rejects=len(rejects),
        reviewed=sum(item.is_sampled for item in rejects),
        false_rejects=_estimates(alone, _TREND_DRAWS).false_calls,
    )


def _of_model(time: ReviewedTime, number: int) -> ReviewedTime:
    sha256 = time.models[number].sha256
    return time.part(lambda model, _at_utc: model == sha256)


def _model(time: ReviewedTime, periods: Sequence[Period], number: int) -> ModelFigures:
    model, own = time.models[number], _of_model(time, number)
    trend = ((period, _estimates(own.part(_within(period)), _TREND_DRAWS).precision) for period in periods)
    return ModelFigures(
        sha256=model.sha256,
        name=model.name,
        since_utc=model.since_utc,
        inspected_frames=own.inspected,
        estimates=_estimates(own),
        trend=[TrendPoint(*period, precision) for period, precision in trend if isinstance(precision, BoundedFigure)],
    )


def _what_if(time: ReviewedTime) -> ThresholdCurve:
    """Ask for events alone: near misses stay what they are at any threshold, since `min_hits` keeps them out."""
    events = [item for item in time.items if item.kind is ItemKind.EVENT]
    alone = ReviewedTime(events, {}, time.models, time.frames_each)
    scored = [
        ScoredItem(item.score, weight, item.defects > 0) for item, weight in _weighted(alone) if item.score is not None
    ]
    if not scored:
        return ThresholdCurve("no event was reviewed as the queue drew it")
    sampled = [ReviewedItem(item.stratum, item.inclusion, 0.0) for item in events if item.is_sampled]
    if gap := "; ".join(one.gap for one in samples_of(alone.strata(), sampled) if one.gap):
        return ThresholdCurve(gap)
    floor = min(item.score for item in events if item.score is not None)
    first = ceil(floor / _STEP)
    thresholds = [floor, *(n * _STEP for n in range(first, 100) if n * _STEP > floor)]
    return ThresholdCurve("", floor, threshold_curve(scored, thresholds, floor))
