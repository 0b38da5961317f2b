# SPDX-License-Identifier: AGPL-3.0-or-later
"""Everything of a time that could be reviewed, how many frames were inspected, and what people said."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from vision_line.frames import Verdict
from vision_line.quality import BORDERLINE, Stratum, StratumKind
from vision_line.records.columns import Table
from vision_line.records.known_rows import known_since_utc
from vision_line.records.records import Records
from vision_line.records.row_models import model_of_row
from vision_line.reviews.answer import GivenAnswer, ItemKind
from vision_line.reviews.answer_journal import BlindPair, answers_by_item, blind_pairs
from vision_line.reviews.blind_answers import has_second, waits_for_second
from vision_line.reviews.figures.audited_time import unaudited_frames
from vision_line.reviews.figures.missed_defects import AROUND_S, missed_in
from vision_line.reviews.review_items import IsLeftOut, SettingsInForce, nothing_left_out
from vision_line.reviews.review_plan import AUDITS, NEAR_MISSES, PLAN, is_for_two, stratum_of
from vision_line.reviews.settled_answers import SettledItem

#: Verdicts that call a defect.
CALLED = frozenset({Verdict.REJECT.value, Verdict.WARN.value})

_MINUTE_S = 60

_MODELS = """SELECT model_sha256, model_name, started_utc AS since_utc FROM runs UNION ALL
    SELECT c.model_sha256, c.model_name, c.since_utc FROM cameras c JOIN runs r ON r.run = c.run
    WHERE c.model_sha256 NOT IN ('', r.model_sha256) ORDER BY since_utc"""
#: A minute in which a camera changed over counts for its newer model.
_FRAMES = f"""SELECT {model_of_row("model_sha256")} AS model, t.minute_utc, sum(t.inspected) AS inspected
    FROM coverage t JOIN runs r ON r.run = t.run
    WHERE t.minute_utc >= ? AND t.minute_utc < ? GROUP BY model, t.minute_utc"""  # noqa: S608  names, of this package
_MODEL = f"{model_of_row('model_sha256')} AS model"
#: Each kind with the same columns, in the order of `_counted`; also near misses that never had an image.
_ITEMS = {
    ItemKind.EVENT: f"""SELECT t.run, r.run_id, t.event_id, t.camera, t.first_seen_utc, t.verdict, t.class, t.top_score,
        e.path IS NOT NULL AND e.deleted_utc IS NULL, {_MODEL} FROM events t JOIN runs r ON r.run = t.run
        LEFT JOIN evidence e ON e.run = t.run AND e.event_id = t.event_id
        WHERE t.first_seen_utc >= ? AND t.first_seen_utc < ? AND (t.ended OR r.ended_utc IS NOT NULL)""",  # noqa: S608  the same
    ItemKind.NEAR_MISS: f"""SELECT t.run, r.run_id, t.near_miss_id, t.camera, t.first_seen_utc, '', t.class, t.score,
        t.path IS NOT NULL AND t.deleted_utc IS NULL, {_MODEL} FROM near_misses t JOIN runs r ON r.run = t.run
        WHERE t.first_seen_utc >= ? AND t.first_seen_utc < ?""",  # noqa: S608  the same
    ItemKind.AUDIT: f"""SELECT t.run, r.run_id, t.camera || '/' || t.sequence, t.camera, t.arrived_utc, '', '', NULL,
        t.path IS NOT NULL AND t.deleted_utc IS NULL, {_MODEL} FROM audits t JOIN runs r ON r.run = t.run
        WHERE t.arrived_utc >= ? AND t.arrived_utc < ?""",  # noqa: S608  the same
}
_HITS = """SELECT t.camera, t.first_seen_utc, t.hits FROM events t
    WHERE t.first_seen_utc >= ? AND t.first_seen_utc < ? ORDER BY t.camera"""


@dataclass(frozen=True, slots=True)
class CountedItem:
    """An item of the time. `has_image`: it can be reviewed.

    `missed` are the classes of an audited frame's defects of which there is no record. `blind` is what two people said
    of it before either saw the other's answer.
    """

    stratum: str
    kind: ItemKind
    run_id: str
    model_sha256: str
    camera: str
    seen_utc: float
    verdict: str
    class_name: str
    score: float | None
    has_image: bool
    answers: SettledItem | None = None
    missed: tuple[str, ...] = ()
    frames_each: float = 1.0  # inspected frames that show a defect
    blind: BlindPair | None = None
    waits_for_second: bool = False  # somebody answered, and what they said is kept from the second person

    @property
    def is_called(self) -> bool:
        """Whether the line called it a defect."""
        return self.verdict in CALLED

    @property
    def is_sampled(self) -> bool:
        """Whether it was reviewed as the queue drew it, and the reviewer could tell."""
        return self.answers is not None and self.answers.first.stratum == self.stratum and not self.answers.is_unsure

    @property
    def is_to_do(self) -> bool:
        """Whether it can be reviewed, and nobody did."""
        return self.has_image and self.answers is None and not self.waits_for_second

    @property
    def inclusion(self) -> float:
        """The probability with which it came to review."""
        return 1.0 if self.answers is None else self.answers.first.inclusion

    @property
    def defects(self) -> float:
        """True defects that it stands for, of a reviewed one."""
        if self.kind is ItemKind.AUDIT:
            return len(self.missed) / self.frames_each
        return float(self.answers is not None and self.answers.is_defect)


@dataclass(frozen=True, slots=True)
class UsedModel:
    """A model that inspected in the time."""

    sha256: str
    name: str
    since_utc: float


@dataclass(frozen=True, slots=True)
class ReviewedTime:
    """A time with all of its items; `frames` are the inspected ones by model and minute, `unaudited` those not drawn.

    `left_out`: how many items are of challenge parts, and not among `items`; their frames stay among `frames`.
    `known_since_utc`: nothing before is in it, since rows of then were removed from the records; 0: it is whole.
    """

    items: Sequence[CountedItem]
    frames: Mapping[tuple[str, float], int]
    models: Sequence[UsedModel]
    frames_each: float
    left_out: int = 0
    unaudited: Mapping[tuple[str, float], int] = field(default_factory=dict)
    known_since_utc: float = 0.0

    def part(self, wanted: Callable[[str, float], bool]) -> ReviewedTime:
        """Return the items and frames of which `wanted` says so, by model and time."""
        return ReviewedTime(
            [item for item in self.items if wanted(item.model_sha256, item.seen_utc)],
            {key: count for key, count in self.frames.items() if wanted(*key)},
            self.models,
            self.frames_each,
            unaudited={key: count for key, count in self.unaudited.items() if wanted(*key)},
        )

    @property
    def is_removed(self) -> bool:
        """Whether nothing of the time is left in the records."""
        return bool(self.known_since_utc) and not (self.items or self.inspected)

    @property
    def not_audited(self) -> str:
        """Why audits do not stand for all inspected frames; "" where they do."""
        audits = sum(item.kind is ItemKind.AUDIT for item in self.items)
        if audits > self.inspected:
            return f"{audits} frames were audited, and only {self.inspected} inspected ones are in the records"
        off = sum(self.unaudited.values())
        return f"audits were off for {off} of {self.inspected} inspected frames" if off else ""

    @property
    def inspected(self) -> int:
        """Inspected frames."""
        return sum(self.frames.values())

    def strata(self) -> list[Stratum]:
        """Return what is reviewed alike, with how many there are, reviewed or not.

        Of the borderline everything has to be reviewed; what lost its image is taken to be as the rest then, and so is
        what waits for a second person, which chance alone chose.
        """
        sizes = Counter(item.stratum for item in self.items if item.kind is not ItemKind.AUDIT)
        sizes[NEAR_MISSES] += 0  # there may be none
        waiting = {item.stratum for item in self.items if item.is_to_do}
        found = [
            Stratum(name, kind, _is_called(name), size, not name.endswith(BORDERLINE) or name not in waiting)
            for name, size in sorted(sizes.items())
            for kind in (StratumKind.NEAR_MISS if name == NEAR_MISSES else StratumKind.EVENT,)
        ]
        audited = sum(item.kind is ItemKind.AUDIT for item in self.items)
        return [*found, Stratum(AUDITS, StratumKind.AUDIT, called=False, population=max(audited, self.inspected))]


def read_reviewed_time(
    connection: Records,
    reviews: sqlite3.Connection | None,
    since_utc: float,
    until_utc: float,
    is_left_out: IsLeftOut = nothing_left_out,
) -> ReviewedTime:
    """Return whole minutes of the records with their answers; `is_left_out`: which camera's moments are no production.

    What waits for a second person has no answer yet: a figure of that item alone would tell what the first one said.
    Tables lose their rows one after the other: of a time of which one lost some, the others would tell of defects that
    an audit found and no event explains, and of calls that are not all. So it begins behind what was removed.

    Raises:
        sqlite3.Error, ValueError: as they come.
    """
    given = {} if reviews is None else dict(answers_by_item(reviews))
    waiting = _waiting(reviews, given)
    said = {key: SettledItem.of(own) for key, own in given.items() if key not in waiting}
    blind = {} if reviews is None else {key: pair for key, pair in blind_pairs(reviews).items() if is_for_two(key)}
    asked_utc, end_utc = since_utc // _MINUTE_S * _MINUTE_S, -(-until_utc // _MINUTE_S) * _MINUTE_S
    known_utc = _known_since_utc(connection)
    moment = (max(asked_utc, known_utc), end_utc)
    hits = _mean_hits(connection, moment, is_left_out)
    usual = fmean(hits.values()) if hits else 1.0
    settings = SettingsInForce(connection)
    items: list[CountedItem] = []
    left_out = 0
    for kind, sql in _ITEMS.items():
        for row in connection.execute(sql, moment).fetchall():
            if is_left_out(row["camera"], row[4]):
                left_out += 1
                continue
            item = _counted(kind, row, settings, max(1.0, hits.get(row["camera"], usual)))
            key = f"{kind}/{row['run_id']}/{row[2]}"
            if key in waiting:
                items.append(replace(item, waits_for_second=True))
                continue
            item = replace(item, blind=blind[key]) if key in blind else item
            items.append(_answered(connection, item, said[key]) if key in said else item)
    return ReviewedTime(
        items=items,
        frames={
            (row["model"], float(row["minute_utc"])): row["inspected"] for row in connection.execute(_FRAMES, moment)
        },
        models=_models(connection),
        frames_each=max(1.0, usual),
        left_out=left_out,
        unaudited=unaudited_frames(connection, *moment),
        known_since_utc=known_utc if known_utc > asked_utc else 0.0,
    )


def _known_since_utc(connection: Records) -> float:
    """Return the first whole minute of which nothing was removed, nor what explains its audits; 0: nothing was."""
    removed_utc = known_since_utc(connection, Table.EVENTS, Table.NEAR_MISSES, Table.AUDITS, Table.COVERAGE)
    return ((removed_utc + AROUND_S) // _MINUTE_S + 1) * _MINUTE_S if removed_utc else 0.0


def _mean_hits(connection: Records, moment: tuple[float, float], is_left_out: IsLeftOut) -> dict[str, float]:
    """Return how many frames show an event of production, on average, by camera."""
    hits = defaultdict[str, list[int]](list)
    for camera, seen_utc, count in connection.execute(_HITS, moment):
        if not is_left_out(camera, seen_utc):
            hits[camera].append(count)
    return {camera: fmean(counts) for camera, counts in hits.items()}


def _waiting(reviews: sqlite3.Connection | None, given: Mapping[str, Sequence[GivenAnswer]]) -> set[str]:
    """Return the keys of what waits for a second person."""
    if reviews is None or not has_second(reviews):
        return set()
    now_utc = time.time()
    return {key for key, own in given.items() if waits_for_second(own, now_utc)}


def _counted(kind: ItemKind, row: sqlite3.Row, settings: SettingsInForce, frames_each: float) -> CountedItem:
    run, run_id, _, camera, seen_utc, verdict, class_name, score, has_image, model = row
    stratum = stratum_of(kind, verdict)
    if kind is ItemKind.EVENT:
        margin = settings.thresholds(run, camera, class_name, seen_utc).margin(score)
        stratum += BORDERLINE if margin is not None and margin <= PLAN.borderline else ""
    return CountedItem(
        stratum=stratum,
        kind=kind,
        run_id=run_id,
        model_sha256=model,
        camera=camera,
        seen_utc=seen_utc,
        verdict=verdict,
        class_name=class_name,
        score=score,
        has_image=bool(has_image),
        frames_each=frames_each,
    )


def _answered(connection: Records, item: CountedItem, answers: SettledItem) -> CountedItem:
    """Return the item with what was said; unchanged where nobody said where an audited frame's defects are."""
    if item.kind is not ItemKind.AUDIT or answers.is_unsure:
        return replace(item, answers=answers)
    missed = missed_in(connection, answers.first)
    return item if missed is None else replace(item, answers=answers, missed=tuple(missed))


def _is_called(stratum: str) -> bool:
    return stratum.removesuffix(BORDERLINE) in CALLED


def _models(connection: Records) -> list[UsedModel]:
    uses = defaultdict[str, list[sqlite3.Row]](list)
    for row in connection.execute(_MODELS):
        uses[row["model_sha256"]].append(row)
    return [UsedModel(sha256, own[-1]["model_name"], own[0]["since_utc"]) for sha256, own in uses.items()]
