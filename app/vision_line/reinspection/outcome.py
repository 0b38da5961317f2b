# SPDX-License-Identifier: AGPL-3.0-or-later
"""What would change with another model: counts, and each change with what people said of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Self

from vision_line.config.models import Frozen
from vision_line.reinspection.footage import FootageKind, FoundDefect, Recording, Reinspected, TimedBox
from vision_line.reinspection.same_things import ChangeKind, FindingChange, compare
from vision_line.reviews.answer import ItemKind
from vision_line.reviews.settled_answers import SettledItem, said

#: Says what people settled on about the item of a key, None where nobody answered.
PeopleSay = Callable[[str], SettledItem | None]


class ReviewedAs(StrEnum):
    """What people called a thing that the line had found."""

    DEFECT = "defect"
    NO_DEFECT = "no defect"
    UNCLEAR = "unclear"  # they were unsure, or answered for a whole frame and did not say which thing is wrong
    NOT_REVIEWED = ""


class ModelIdentity(Frozen):
    """Which model it is, and from which score on it finds anything: one network may have several."""

    name: str
    sha256: str
    score_threshold: float
    nms_iou: float


class ChangedFinding(Frozen):
    """One change. `key` is the item's as reviews have it, of what is gained the footage's; `at_utc` is the footage's.

    `people` is what people said of the item, `reviewed_as` what that means of the thing; of what is gained it means
    nothing.

    `is_circumstance`: the model from before, on the same recording, shows the same change from what the line recorded.
    So it is due to the recording, of which every frame is inspected and no beginning is known, not to the model.
    """

    kind: ChangeKind
    footage: FootageKind
    camera: str
    at_utc: float
    key: str
    class_before: str = ""
    class_after: str = ""
    verdict_before: str = ""
    verdict_after: str = ""
    score_before: float | None = None
    score_after: float | None = None
    people: str = ""
    reviewed_as: ReviewedAs = ReviewedAs.NOT_REVIEWED
    is_circumstance: bool | None = None


class NotReinspected(Frozen):
    """A recording that was not inspected, or not all of it, and why."""

    footage: FootageKind
    id: str
    why: str


class KindCounts(Frozen):
    """Of one kind of footage: how many recordings were inspected, and what became of what the line had found there."""

    inspected: int = 0
    not_inspected: int = 0
    same: int = 0
    verdict: int = 0
    other_class: int = 0
    lost: int = 0
    gained: int = 0

    def with_one(self, changes: Iterable[FindingChange], *, is_inspected: bool) -> Self:
        """Return the counts with one recording more."""
        kinds = [change.kind for change in changes]
        return self.model_copy(
            update={
                "inspected": self.inspected + is_inspected,
                "not_inspected": self.not_inspected + (not is_inspected),
                "same": self.same + kinds.count(ChangeKind.SAME),
                "verdict": self.verdict + kinds.count(ChangeKind.VERDICT),
                "other_class": self.other_class + kinds.count(ChangeKind.CLASS),
                "lost": self.lost + kinds.count(ChangeKind.LOST),
                "gained": self.gained + kinds.count(ChangeKind.GAINED),
            }
        )


class Outcome(Frozen):
    """`changes.json`. `before` is the model that inspected the same recordings for comparison, None: none did."""

    version: str
    after: ModelIdentity
    before: ModelIdentity | None
    counts: dict[FootageKind, KindCounts]
    counts_before: dict[FootageKind, KindCounts]
    changes: tuple[ChangedFinding, ...]
    not_inspected: tuple[NotReinspected, ...]


def became(one: Recording, found: Sequence[FoundDefect]) -> list[FindingChange]:
    """Return what became of what was recorded of a recording.

    The image of an event or near miss was kept for that alone: what else is in it has its own, and nothing is gained.
    """
    changes = compare(one.recorded, found, one.beside)
    if one.kind in (FootageKind.CLIP, FootageKind.AUDIT):
        return changes
    return [change for change in changes if change.kind is not ChangeKind.GAINED]


def changed(
    one: Recording, after: Sequence[FoundDefect], before: Sequence[FoundDefect] | None, people: PeopleSay
) -> list[ChangedFinding]:
    """Return what changes in a recording; `before` is what the model from before finds in it."""
    circumstances = None if before is None else became(one, before)
    return [
        _entry(one, change, circumstances, people)
        for change in became(one, after)
        if change.kind is not ChangeKind.SAME
    ]


def count(footage: Sequence[Recording], found: Mapping[str, Reinspected]) -> dict[FootageKind, KindCounts]:
    """Return the counts of a model."""
    counts: dict[FootageKind, KindCounts] = {}
    for one in footage:
        result = found[one.id]
        changes = [] if result.problem else became(one, result.findings)
        counts[one.kind] = counts.get(one.kind, KindCounts()).with_one(changes, is_inspected=not result.problem)
    return counts


def all_changes(
    footage: Sequence[Recording],
    after: Mapping[str, Reinspected],
    before: Mapping[str, Reinspected] | None,
    people: PeopleSay,
) -> Iterator[ChangedFinding]:
    """Yield what changes in all recordings that were inspected."""
    for one in footage:
        if (result := after[one.id]).problem:
            continue
        old = None if before is None or before[one.id].problem else before[one.id].findings
        yield from changed(one, result.findings, old, people)


def reviewed_as(found: FoundDefect, settled: SettledItem) -> ReviewedAs:
    """Return what people called a finding; of an audited frame they name all true defects, or overrule it whole."""
    if settled.is_unsure:
        return ReviewedAs.UNCLEAR
    if settled.is_defect:
        return ReviewedAs.DEFECT
    answer = settled.first
    if answer.item.kind is not ItemKind.AUDIT:
        return ReviewedAs.NO_DEFECT
    if answer.boxes is None:
        return ReviewedAs.UNCLEAR
    true = [
        FoundDefect(class_name=box.class_name, score=1.0, boxes=(TimedBox(0.0, box.x1, box.y1, box.x2, box.y2),))
        for box in answer.boxes
    ]
    (change, *_) = compare([found], true)
    return ReviewedAs.NO_DEFECT if change.kind is ChangeKind.LOST else ReviewedAs.DEFECT


def _entry(
    one: Recording, change: FindingChange, circumstances: Sequence[FindingChange] | None, people: PeopleSay
) -> ChangedFinding:
    before, after = change.before, change.after
    key = one.id if before is None else before.key or one.id
    settled = people(key)
    return ChangedFinding(
        kind=change.kind,
        footage=one.kind,
        camera=one.camera,
        at_utc=one.at_utc,
        key=key,
        class_before="" if before is None else before.class_name,
        class_after="" if after is None else after.class_name,
        verdict_before="" if before is None else before.verdict,
        verdict_after="" if after is None else after.verdict,
        score_before=None if before is None else before.score,
        score_after=None if after is None else after.score,
        people="" if settled is None else said(settled.first),
        reviewed_as=ReviewedAs.NOT_REVIEWED if before is None or settled is None else reviewed_as(before, settled),
        is_circumstance=None if circumstances is None else _is_circumstance(change, circumstances),
    )


def _is_circumstance(change: FindingChange, circumstances: Sequence[FindingChange]) -> bool:
    """Whether the model from before changes the same from what the line recorded."""
    alike = [other for other in circumstances if other.kind is change.kind]
    if change.after is None:
        return any(other.before == change.before for other in alike)
    if change.before is None:
        found = [other.after for other in alike if other.after is not None]
        return any(pair.kind is ChangeKind.SAME for pair in compare(found, [change.after]))
    return any(
        other.before == change.before
        and other.after is not None
        and (other.after.class_name, other.after.verdict) == (change.after.class_name, change.after.verdict)
        for other in alike
    )
