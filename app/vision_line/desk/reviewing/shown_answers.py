# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who may see which answer: what the first of two people said is hidden until the second has answered."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vision_line.desk.record_reader import DeskSource
from vision_line.reviews.answer import GivenAnswer, ReviewedBox, ReviewVerdict
from vision_line.reviews.answer_journal import answers_after, answers_of
from vision_line.reviews.blind_answers import waits_for_second


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    """An answer as a person sees it. `is_hidden`: it waits for a second person, who may be the one who asks.

    Then what was said is None or "".
    """

    number: int
    item: str
    person: str
    at_utc: float
    is_second: bool
    is_hidden: bool
    stratum: str
    inclusion: float
    took_s: float
    verdict: ReviewVerdict | None
    class_name: str | None
    boxes: Sequence[ReviewedBox] | None
    note: str


def answers_for(source: DeskSource, person: str, keys: Sequence[str]) -> dict[str, list[ShownAnswer]]:
    """Return the answers for these items as `person` sees them, the first one first.

    Raises:
        RunError: the reviews cannot be read.
    """
    with source.open_reviews() as connection:
        found = {} if connection is None else answers_of(connection, keys)
    return {key: [_shown(one, own, person) for one in own] for key, own in found.items()}


def answers_page(source: DeskSource, person: str, after: int, most: int) -> list[ShownAnswer]:
    """Return the answers that count numbered above `after`, in their order, as `person` sees them.

    Raises:
        RunError: the reviews cannot be read.
    """
    with source.open_reviews() as connection:
        if connection is None:
            return []
        found = answers_after(connection, after, most)
        beside = answers_of(connection, sorted({str(one.item) for one in found}))
    return [_shown(one, beside[str(one.item)], person) for one in found]


def overruled_keys(source: DeskSource, person: str) -> tuple[set[str], set[str]]:
    """Return the keys of all items that were answered, and of those whose first answer `person` may see overrules.

    Raises:
        RunError: the reviews cannot be read.
    """
    with source.open_reviews() as connection:
        found = [] if connection is None else answers_after(connection, 0, -1)
    beside: dict[str, list[GivenAnswer]] = {}
    for answer in found:
        beside.setdefault(str(answer.item), []).append(answer)
    overruled = {
        key
        for key, own in beside.items()
        for one in own
        if one.verdict is ReviewVerdict.OVERRULED and not one.is_second and not _is_hidden(one, own, person)
    }
    return set(beside), overruled


def visible_to(person: str, answers: Sequence[GivenAnswer]) -> list[GivenAnswer]:
    """Return those of one item's answers that a person may see."""
    return [one for one in answers if not _is_hidden(one, answers, person)]


def _is_hidden(answer: GivenAnswer, beside: Sequence[GivenAnswer], person: str) -> bool:
    return answer.person != person and waits_for_second(beside, time.time())


def _shown(answer: GivenAnswer, beside: Sequence[GivenAnswer], person: str) -> ShownAnswer:
    whole = ShownAnswer(
        number=answer.number,
        item=str(answer.item),
        person=answer.person,
        at_utc=answer.at_utc,
        is_second=answer.is_second,
        is_hidden=_is_hidden(answer, beside, person),
        stratum=answer.stratum,
        inclusion=answer.inclusion,
        took_s=answer.took_s,
        verdict=answer.verdict,
        class_name=answer.class_name,
        boxes=answer.boxes,
        note=answer.note,
    )
    return replace(whole, verdict=None, class_name=None, boxes=None, note="") if whole.is_hidden else whole
