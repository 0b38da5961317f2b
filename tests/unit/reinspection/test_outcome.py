# SPDX-License-Identifier: AGPL-3.0-or-later
"""What would change with another model, and what of it is due to the recording."""

from __future__ import annotations

import pytest

from vision_line.reinspection.footage import FootageKind, FoundDefect, Recording, Reinspected, TimedBox
from vision_line.reinspection.outcome import PeopleSay, ReviewedAs, all_changes, count
from vision_line.reinspection.same_things import ChangeKind
from vision_line.reviews.answer import GivenAnswer, ItemKey, ItemKind, LineCall, ReviewedBox, ReviewVerdict
from vision_line.reviews.settled_answers import SettledItem


def finding(x: float, key: str = "", verdict: str = "reject", name: str = "spur") -> FoundDefect:
    """Return what was found at a place, each far from the others."""
    return FoundDefect(key=key, class_name=name, verdict=verdict, score=0.9, boxes=(TimedBox(0.0, x, 10, x + 20, 30),))


def footage(kind: FootageKind, *recorded: FoundDefect, name: str = "one") -> Recording:
    return Recording(
        kind=kind, id=name, camera="cam01", at_utc=1e9, path="a", sha256="b", settings={}, recorded=recorded
    )


def found(*findings: FoundDefect, name: str = "one", problem: str = "") -> dict[str, Reinspected]:
    return {name: Reinspected(id=name, findings=findings, problem=problem)}


def nobody(_key: str) -> None:
    return None


def somebody(kind: ItemKind, verdict: ReviewVerdict, boxes: tuple[ReviewedBox, ...] | None = None) -> PeopleSay:
    """Return what says that of every item."""
    answer = GivenAnswer(
        item=ItemKey(kind, "r", "1"),
        person="kim",
        verdict=verdict,
        boxes=boxes,
        call=LineCall("reject", "spur"),
        number=1,
        at_utc=1e9,
        is_second=False,
    )
    return lambda _key: SettledItem.of([answer])


def true_box(x: float) -> ReviewedBox:
    return ReviewedBox("spur", x, 10, x + 20, 30)


def test_what_changes_with_both_models_is_circumstance() -> None:
    """One is lost with both, one with the new one alone; one is gained with both."""
    clip = footage(FootageKind.CLIP, finding(0, "event/r/1"), finding(100, "event/r/2"))
    old, new = found(finding(100), finding(300)), found(finding(300))

    changes = list(all_changes([clip], new, old, nobody))
    assert [(change.kind, change.key, change.is_circumstance) for change in changes] == [
        (ChangeKind.LOST, "event/r/1", True),
        (ChangeKind.LOST, "event/r/2", False),
        (ChangeKind.GAINED, "one", True),
    ]


def test_another_verdict_with_one_model_alone_is_no_circumstance() -> None:
    clip = footage(FootageKind.CLIP, finding(0, "event/r/1"))
    (change,) = all_changes([clip], found(finding(0, verdict="warn")), found(finding(0, verdict="accept")), nobody)
    assert (change.verdict_before, change.verdict_after, change.is_circumstance) == ("reject", "warn", False)


def test_without_the_model_from_before_nobody_knows() -> None:
    clip = footage(FootageKind.CLIP, finding(0, "event/r/1"))
    (change,) = all_changes([clip], found(), None, somebody(ItemKind.EVENT, ReviewVerdict.OVERRULED))
    assert (change.is_circumstance, change.people) == (None, "no defect")


@pytest.mark.parametrize(
    ("people", "words", "reviewed_as"),
    [
        (nobody, "", ReviewedAs.NOT_REVIEWED),
        (somebody(ItemKind.EVENT, ReviewVerdict.CONFIRMED), "spur", ReviewedAs.DEFECT),
        (somebody(ItemKind.EVENT, ReviewVerdict.OVERRULED), "no defect", ReviewedAs.NO_DEFECT),
        (somebody(ItemKind.EVENT, ReviewVerdict.UNSURE), "unsure", ReviewedAs.UNCLEAR),
        (somebody(ItemKind.AUDIT, ReviewVerdict.CONFIRMED), "detections confirmed", ReviewedAs.DEFECT),
        (somebody(ItemKind.AUDIT, ReviewVerdict.OVERRULED), "detections overruled", ReviewedAs.UNCLEAR),
        (somebody(ItemKind.AUDIT, ReviewVerdict.OVERRULED, ()), "no defect", ReviewedAs.NO_DEFECT),
        (somebody(ItemKind.AUDIT, ReviewVerdict.OVERRULED, (true_box(300),)), "spur", ReviewedAs.NO_DEFECT),
        (
            somebody(ItemKind.AUDIT, ReviewVerdict.OVERRULED, (true_box(300), true_box(2))),
            "spur, spur",
            ReviewedAs.DEFECT,
        ),
    ],
)
def test_what_people_called_a_lost_thing(people: PeopleSay, words: str, reviewed_as: ReviewedAs) -> None:
    """A defect only where they said so: who was unsure, or overruled a frame, did not."""
    image = footage(FootageKind.AUDIT, finding(0, "item"))
    (change,) = all_changes([image], found(), None, people)
    assert (change.people, change.reviewed_as) == (words, reviewed_as)


def test_what_people_said_of_a_frame_says_nothing_of_what_is_gained_there() -> None:
    image = footage(FootageKind.AUDIT, finding(0, "item"))
    people = somebody(ItemKind.AUDIT, ReviewVerdict.CONFIRMED)
    (change,) = all_changes([image], found(finding(0), finding(200)), None, people)
    assert (change.kind, change.reviewed_as) == (ChangeKind.GAINED, ReviewedAs.NOT_REVIEWED)


def test_the_image_of_one_thing_gains_nothing() -> None:
    """What else is in it has its own image."""
    for kind in (FootageKind.EVENT, FootageKind.NEAR_MISS):
        image = footage(kind, finding(0, "event/r/1"))
        assert list(all_changes([image], found(finding(0), finding(200)), None, nobody)) == []
    audit = footage(FootageKind.AUDIT, finding(0, "audit/r/1"))
    assert [one.kind for one in all_changes([audit], found(finding(0), finding(200)), None, nobody)] == [
        ChangeKind.GAINED
    ]


def test_what_was_not_inspected_is_in_no_count() -> None:
    clips = [footage(FootageKind.CLIP, finding(0), name="whole"), footage(FootageKind.CLIP, finding(0), name="damaged")]
    results = found(finding(0), name="whole") | found(name="damaged", problem="cut off")

    counts = count(clips, results)[FootageKind.CLIP]
    assert (counts.inspected, counts.not_inspected, counts.same, counts.lost) == (1, 1, 1, 0)
    assert list(all_changes(clips, results, None, nobody)) == []
