# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which findings of two models are the same thing."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from vision_line.reinspection.footage import FoundDefect, TimedBox
from vision_line.reinspection.same_things import MOST_SHIFT_S, ChangeKind, compare

BELT = 110.0  # pixels a second


def crossing(
    begin_s: float, end_s: float, y: float, name: str = "spur", verdict: str = "reject", enters_s: float = 0.0
) -> FoundDefect:
    """Return a defect of 20 x 20 pixels that enters at `enters_s` and was seen from `begin_s` on."""
    boxes = (at(begin_s, BELT * (begin_s - enters_s), y), at(end_s, BELT * (end_s - enters_s), y))
    return FoundDefect(class_name=name, verdict=verdict, score=0.9, boxes=boxes if begin_s < end_s else boxes[:1])


def at(at_s: float, x: float, y: float) -> TimedBox:
    return TimedBox(at_s, x, y, x + 20, y + 20)


def kinds(
    before: list[FoundDefect], after: list[FoundDefect], beside: list[FoundDefect] | None = None
) -> list[ChangeKind]:
    return [change.kind for change in compare(before, after, beside or [])]


def test_a_thing_that_is_seen_for_another_part_of_its_way_is_the_same() -> None:
    assert kinds([crossing(1.0, 4.0, 50)], [crossing(0.2, 3.0, 50)]) == [ChangeKind.SAME]


def test_verdict_and_class_may_change() -> None:
    assert kinds([crossing(0, 3, 50)], [crossing(0, 3, 50, verdict="warn")]) == [ChangeKind.VERDICT]
    assert kinds([crossing(0, 3, 50)], [crossing(0, 3, 50, "short")]) == [ChangeKind.CLASS]


def test_the_class_counts_more_than_the_distance() -> None:
    after = [crossing(0, 3, 50, "short"), crossing(0, 3, 60)]
    changes = compare([crossing(0, 3, 50)], after)
    assert [(change.kind, change.after) for change in changes] == [
        (ChangeKind.SAME, after[1]),
        (ChangeKind.GAINED, after[0]),
    ]


def test_things_on_other_ways_or_at_other_times_are_not_the_same() -> None:
    """Two sizes beside it; or 3 s later, on the same way."""
    assert kinds([crossing(0, 3, 50)], [crossing(0, 3, 110)]) == [ChangeKind.LOST, ChangeKind.GAINED]
    assert kinds([crossing(0, 3, 50)], [crossing(4, 7, 50, enters_s=4)]) == [ChangeKind.LOST, ChangeKind.GAINED]


def test_one_thing_that_is_counted_twice_is_neither_lost_nor_gained() -> None:
    halves = [crossing(0, 1.4, 50), crossing(1.5, 3, 50)]
    assert kinds([crossing(0, 3, 50)], halves) == [ChangeKind.SAME]
    assert kinds(halves, [crossing(0, 3, 50)]) == [ChangeKind.SAME]


def test_what_is_no_matter_of_the_comparison_is_not_gained() -> None:
    after = [crossing(0, 3, 50), crossing(0, 3, 200)]
    assert kinds([after[0]], after, [after[1]]) == [ChangeKind.SAME]


def test_nothing_is_found_again_where_nothing_is_found() -> None:
    assert kinds([], []) == []
    assert kinds([crossing(0, 3, 50)], []) == [ChangeKind.LOST]
    assert kinds([], [crossing(0, 3, 50)]) == [ChangeKind.GAINED]


lists_of_things = st.lists(
    st.builds(
        lambda begin, length, row, name: crossing(begin, begin + length, 60.0 * row, name, enters_s=begin - 0.5),
        st.integers(0, 20).map(float),
        st.sampled_from([0.0, 0.4, 2.0]),
        st.integers(0, 5),
        st.sampled_from(["spur", "short"]),
    ),
    max_size=6,
    unique_by=lambda one: (one.boxes[0].at_s, one.boxes[0].y1),
)


@settings(max_examples=40)
@given(lists_of_things)
def test_what_is_found_again_is_the_same(things: list[FoundDefect]) -> None:
    """Whatever else is there: each is nearest to itself."""
    assert kinds(things, things) == [ChangeKind.SAME] * len(things)


@settings(max_examples=40)
@given(lists_of_things, st.floats(-MOST_SHIFT_S, MOST_SHIFT_S))
def test_a_shift_of_the_whole_footage_changes_nothing(things: list[FoundDefect], shift_s: float) -> None:
    """But for what was seen once: of that nobody knows where it was at another moment."""
    moving = [one for one in things if len(one.boxes) == 2]
    later = [
        one.model_copy(update={"boxes": tuple(box._replace(at_s=box.at_s + shift_s) for box in one.boxes)})
        for one in moving
    ]
    assert kinds(moving, later) == [ChangeKind.SAME] * len(moving)


@settings(max_examples=40)
@given(lists_of_things, lists_of_things)
def test_each_is_said_at_most_once_and_none_is_made_up(before: list[FoundDefect], after: list[FoundDefect]) -> None:
    changes = compare(before, after)
    olds = [change.before for change in changes if change.before is not None]
    news = [change.after for change in changes if change.after is not None]
    assert all(olds.count(one) <= before.count(one) for one in olds)
    assert all(news.count(one) <= after.count(one) for one in news)
    for change in changes:
        assert (change.before is None) == (change.kind is ChangeKind.GAINED)
        assert (change.after is None) == (change.kind is ChangeKind.LOST)
