# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which of two lists of findings are the same thing: by class, moment and place. Pure.

Both lists are of the same footage, but one may come from the line as it ran: its moments are those of arrival, other
than the footage's by how long the network held the first frame back, and it did not inspect every frame. So one shift
of time is allowed for the whole footage, places are compared at moments between which things move evenly, as on a belt,
and a distance is as many sizes of the thing, not a share that overlaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from math import hypot, inf
from statistics import median

from vision_line.reinspection.footage import FoundDefect, TimedBox

#: How far the moments of two lists may be shifted against each other, and by which step this is tried, in seconds.
MOST_SHIFT_S = 1.0
_SHIFT_STEP_S = 0.05
#: So far beyond what was seen of it a thing's way is believed, in seconds: it comes into view late, or goes early.
BEYOND_S = 0.5
#: Middles that are further apart than so many sizes are two things.
NEAR_SIZES = 1.0


class ChangeKind(StrEnum):
    """What became of a finding."""

    SAME = "same"
    VERDICT = "verdict"  # the same thing with another verdict
    CLASS = "class"  # the same thing, called otherwise
    LOST = "lost"
    GAINED = "gained"


@dataclass(frozen=True, slots=True)
class FindingChange:
    """A finding before, None where it is gained, and after, None where it is lost."""

    kind: ChangeKind
    before: FoundDefect | None
    after: FoundDefect | None


def compare(
    before: Sequence[FoundDefect], after: Sequence[FoundDefect], beside: Sequence[FoundDefect] = ()
) -> list[FindingChange]:
    """Return what became of each finding of `before`, in its order, and then what is gained.

    Nearest pairs first, those of one class before others. What is left over, and is another part of a thing that has
    its pair already, is neither lost nor gained: it was counted as two. `beside` are findings that are no matter of
    this comparison: what is one of them is not gained.
    """
    known = (*before, *beside)
    shift_s = _shift(known, after)
    near = _near_pairs(known, after, shift_s)
    pairs, taken = _paired(near)
    of_one_class = [pair for pair in near if not pair.other_class]
    split = {pair.before for pair in of_one_class if pair.after in taken} - pairs.keys()
    joined = taken | {pair.after for pair in of_one_class if pair.before in pairs}
    changes = [
        FindingChange(ChangeKind.LOST, one, None)
        if (other := pairs.get(number)) is None
        else FindingChange(_kind(one, after[other]), one, after[other])
        for number, one in enumerate(before)
        if number not in split
    ]
    return changes + [
        FindingChange(ChangeKind.GAINED, None, two) for other, two in enumerate(after) if other not in joined
    ]


@dataclass(frozen=True, slots=True, order=True)
class _Pair:
    """Two findings, by their numbers, that may be the same thing: the likeliest is the least."""

    other_class: bool
    sizes: float
    before: int
    after: int


def _shift(before: Sequence[FoundDefect], after: Sequence[FoundDefect]) -> float:
    """Return how much later `before` says things were: by which most are found again, of several the smallest."""
    steps = round(MOST_SHIFT_S / _SHIFT_STEP_S)
    shifts = sorted((step * _SHIFT_STEP_S for step in range(-steps, steps + 1)), key=abs)
    if all(len(one.boxes) == 1 for one in (*before, *after)):
        return 0.0  # nothing moves

    def fit(shift_s: float) -> tuple[int, float]:
        near = [pair for pair in _near_pairs(before, after, shift_s) if not pair.other_class]
        pairs, _ = _paired(near)
        sizes = {(pair.before, pair.after): pair.sizes for pair in near}
        return len(pairs), -round(median([sizes[pair] for pair in pairs.items()] or [0.0]), 1)

    return max(shifts, key=fit)


def _near_pairs(before: Sequence[FoundDefect], after: Sequence[FoundDefect], shift_s: float) -> list[_Pair]:
    """Return all pairs that may be the same thing, the likeliest first."""
    return sorted(
        _Pair(one.class_name != two.class_name, sizes, number, other)
        for number, one in enumerate(before)
        for other, two in enumerate(after)
        if (sizes := _sizes_away(one.boxes, _later(two.boxes, shift_s))) <= NEAR_SIZES
    )


def _paired(near: Sequence[_Pair]) -> tuple[dict[int, int], set[int]]:
    """Return each finding's partner, the likeliest that is left, and who is a partner."""
    pairs, taken = dict[int, int](), set[int]()
    for pair in near:
        if pair.before not in pairs and pair.after not in taken:
            pairs[pair.before] = pair.after
            taken.add(pair.after)
    return pairs, taken


def _kind(one: FoundDefect, two: FoundDefect) -> ChangeKind:
    if one.class_name != two.class_name:
        return ChangeKind.CLASS
    return ChangeKind.SAME if one.verdict == two.verdict else ChangeKind.VERDICT


def _later(boxes: Sequence[TimedBox], shift_s: float) -> Sequence[TimedBox]:
    return [box._replace(at_s=box.at_s + shift_s) for box in boxes]


def _sizes_away(one: Sequence[TimedBox], two: Sequence[TimedBox]) -> float:
    """Return the median distance while both were seen, infinite where they were never in view together."""
    begin_s, end_s = max(one[0].at_s, two[0].at_s), min(one[-1].at_s, two[-1].at_s)
    if begin_s > end_s + BEYOND_S:
        return inf
    middle_s = (begin_s + end_s) / 2
    moments = (begin_s, middle_s, end_s) if begin_s <= end_s else (middle_s,)
    return median(_distance(_place(one, at_s), _place(two, at_s)) for at_s in moments)


def _place(boxes: Sequence[TimedBox], at_s: float) -> TimedBox:
    """Return where a thing is, or would be on its way, at a moment."""
    if len(boxes) == 1:
        return boxes[0]
    before, after = next(((a, b) for a, b in pairwise(boxes) if at_s <= b.at_s), (boxes[-2], boxes[-1]))
    share = (at_s - before.at_s) / (after.at_s - before.at_s)
    x1, y1, x2, y2 = (a + share * (b - a) for a, b in zip(before[1:], after[1:], strict=True))
    return TimedBox(at_s, x1, y1, x2, y2)


def _distance(one: TimedBox, two: TimedBox) -> float:
    """Return how many sizes the middles are apart."""
    size = (_diagonal(one) + _diagonal(two)) / 2
    away = hypot((one.x1 + one.x2 - two.x1 - two.x2) / 2, (one.y1 + one.y2 - two.y1 - two.y2) / 2)
    return away / size if size else (0.0 if not away else inf)


def _diagonal(box: TimedBox) -> float:
    return hypot(box.x2 - box.x1, box.y2 - box.y1)
