# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether answers came to review as they say: stratum and inclusion probability follow from the plan and the records.

Whoever makes the chain anew could weigh answers as they like; what was drawn, and with which probability, anybody can
work out again. Of a row that was removed less is known: whether the item was drawn at all, and the highest share.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

from vision_line.quality import ReviewCandidate
from vision_line.quality.review_queue import BORDERLINE
from vision_line.reviews.answer import GivenAnswer, ItemKind
from vision_line.reviews.review_items import ReviewItem, find_items
from vision_line.reviews.review_plan import ReviewPlace, place_of, stratum_of


def draws_problem(records: sqlite3.Connection | None, answers: Iterable[GivenAnswer]) -> str:
    """Return which answer says of its item another draw than the plan's, the first one by number; "" where none does.

    Answers without a stratum are not weighed: nothing is asked of them.

    Raises:
        sqlite3.Error, ValueError: as they come; `records` has rows that vision-line did not write.
    """
    weighed = sorted((one for one in answers if one.stratum), key=lambda one: one.number)
    keys = {one.item: None for one in weighed}
    items = {} if records is None else {str(item.key): item for item in find_items(records, keys)}
    return next(filter(None, (_problem(answer, items) for answer in weighed)), "")


def _problem(answer: GivenAnswer, items: Mapping[str, ReviewItem]) -> str:
    item = items.get(str(answer.item))
    place = _removed(answer) if item is None else place_of(item.candidate, item.probability)
    said = f"answer {answer.number} says that {answer.item} came to review"
    if place is None or answer.stratum != place.stratum:
        return f"{said} as {answer.stratum!r}, and it was {'not drawn' if place is None else repr(place.stratum)}"
    is_less = item is None and answer.item.kind is not ItemKind.EVENT and answer.inclusion <= place.inclusion
    if answer.inclusion != place.inclusion and not is_less:
        return f"{said} with the probability {answer.inclusion:g}, and it was {place.inclusion:g}"
    return ""


def _removed(answer: GivenAnswer) -> ReviewPlace | None:
    """Return how an item without a row came to review, if its image was kept for certain: its margin is believed."""
    stratum = stratum_of(answer.item.kind, answer.call.verdict)
    if answer.item.kind is ItemKind.EVENT and answer.stratum == stratum + BORDERLINE:
        return ReviewPlace(answer.stratum, 1.0)
    return place_of(ReviewCandidate(str(answer.item), stratum), 1.0)
