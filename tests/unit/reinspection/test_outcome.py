# SPDX-License-Identifier: AGPL-3.0-or-later
"""What would change with another model, and what of it is due to the recording."""

from __future__ import annotations

from vision_line.reinspection.footage import FootageKind, FoundDefect, Recording, Reinspected, TimedBox
from vision_line.reinspection.outcome import all_changes, count
from vision_line.reinspection.same_things import ChangeKind


def finding(x: float, key: str = "", verdict: str = "reject", name: str = "spur") -> FoundDefect:
    """Return what was found at a place, each far from the others."""
    return FoundDefect(key=key, class_name=name, verdict=verdict, score=0.9, boxes=(TimedBox(0.0, x, 10, x + 20, 30),))


def footage(kind: FootageKind, *recorded: FoundDefect, name: str = "one") -> Recording:
    return Recording(
        kind=kind, id=name, camera="cam01", at_utc=1e9, path="a", sha256="b", settings={}, recorded=recorded
    )


def found(*findings: FoundDefect, name: str = "one", problem: str = "") -> dict[str, Reinspected]:
    return {name: Reinspected(id=name, findings=findings, problem=problem)}


def nobody(_key: str) -> str:
    return ""


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
    (change,) = all_changes([clip], found(), None, {"event/r/1": "no defect"}.get)  # type: ignore[arg-type]
    assert (change.is_circumstance, change.people) == (None, "no defect")


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
