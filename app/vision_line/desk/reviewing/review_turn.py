# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a person reviews next, and how far the queue is: from the items of a time and their answers. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from vision_line.quality import QueuedReview, review_queue
from vision_line.quality.review_queue import BORDERLINE
from vision_line.reviews.answer import ItemKind
from vision_line.reviews.review_items import ReviewRow
from vision_line.reviews.review_plan import PLAN, is_for_two

#: Who answered which item: people by key, of answers that count.
Answered = Mapping[str, set[str]]


@dataclass(frozen=True, slots=True)
class StratumProgress:
    """How far one stratum is; `of`: items of it that came to review, `items`: how many there are."""

    stratum: str
    is_borderline: bool
    done: int
    of: int
    items: int


@dataclass(frozen=True, slots=True)
class ReviewProgress:
    """How far the queue is. `second`: items that wait for another person; `skipped`: why how many are left out."""

    strata: Sequence[StratumProgress]
    done: int
    of: int
    own: int
    second: int
    skipped: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Queue:
    """The queue of a time; `rows`: which row each item is that has an image."""

    reviews: Sequence[QueuedReview]
    rows: Mapping[str, tuple[ItemKind, int]]
    places: Mapping[str, int]  # in `reviews`, by key
    drawn: Mapping[str, int]  # reviews of each stratum
    sizes: Mapping[str, int]  # items of each stratum, in review or not; without the borderline
    skipped: Mapping[str, int]


def queue_of(found: Iterable[ReviewRow]) -> Queue:
    """Return the queue: what lacks its image, or is a challenge part's, is left out, and counted."""
    kept: list[ReviewRow] = []
    skipped: Counter[str] = Counter()
    for row in found:
        if row.lacks:
            skipped[row.lacks] += 1
        else:
            kept.append(row)
    reviews = review_queue((row.candidate for row in kept), PLAN)
    places = {review.key: place for place, review in enumerate(reviews)}
    drawn = Counter(review.stratum for review in reviews)
    sizes = Counter(row.candidate.stratum for row in kept)
    return Queue(
        reviews=reviews,
        rows={row.candidate.key: (row.kind, row.number) for row in kept if row.candidate.key in places},
        places=places,
        drawn=drawn,
        sizes={stratum: size - drawn[stratum + BORDERLINE] for stratum, size in sizes.items()},
        skipped=dict(skipped.most_common()),
    )


def offered(
    queue: Queue, answered: Answered, person: str, behind: str, most: int, take: Callable[[str], bool]
) -> list[tuple[ItemKind, int]]:
    """Return which rows come next for a person behind the item `behind`, "" from the front; `take`: whether it is free.

    Nobody gets an item twice, and a second person only one that is for two.
    """
    keys = (review.key for review in islice(queue.reviews, queue.places.get(behind, -1) + 1, None))
    open_to = (key for key in keys if is_open_to(key, person, answered) and take(key))
    return [queue.rows[key] for key in islice(open_to, most)]


def is_open_to(key: str, person: str, answered: Answered) -> bool:
    """Whether a person may be asked about an item."""
    people = answered.get(key, set())
    return not people or (person not in people and is_second_due(key, people))


def is_second_due(key: str, people: set[str]) -> bool:
    """Whether one person answered an item that is for two."""
    return len(people) == 1 and is_for_two(key)


def progress_of(queue: Queue, answered: Answered, person: str) -> ReviewProgress:
    """Return how far the queue is; whoever answered an item first, it is done."""
    people = {key: by for key, by in answered.items() if key in queue.places and by}
    done = Counter(queue.reviews[queue.places[key]].stratum for key in people)
    strata = [
        StratumProgress(name, name.endswith(BORDERLINE), done[name], of, queue.sizes.get(name, of))
        for name, of in sorted(queue.drawn.items(), key=lambda one: (not one[0].endswith(BORDERLINE), one[0]))
    ]
    return ReviewProgress(
        strata=strata,
        done=len(people),
        of=len(queue.reviews),
        own=sum(person in by for by in people.values()),
        second=sum(is_second_due(key, by) for key, by in people.items()),
        skipped=queue.skipped,
    )
