# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who is offered what: leases, blind second reviews, and how far the queue is."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from vision_line.desk.local_time import ChosenTime
from vision_line.desk.reviewing.leases import LEASE_S, ReviewLeases
from vision_line.desk.reviewing.queue_cache import QUICK_S, QueueCache
from vision_line.desk.reviewing.review_turn import Queue, offered, progress_of, queue_of
from vision_line.quality import ReviewCandidate
from vision_line.reviews.answer import ItemKind
from vision_line.reviews.review_items import ReviewRow
from vision_line.reviews.review_plan import is_for_two


def row(number: int, *, margin: float = 0.4, lacks: str = "") -> ReviewRow:
    candidate = ReviewCandidate(f"event/run/{number}", "reject", margin)
    return ReviewRow(ItemKind.EVENT, number, candidate, lacks)


@pytest.fixture
def queue() -> Queue:
    """Return a queue of 200 clear events and 3 that are borderline."""
    return queue_of([*map(row, range(200)), *(row(1000 + n, margin=n / 100) for n in range(3))])


def keys(offers: list[tuple[ItemKind, int]]) -> list[str]:
    return [f"event/run/{number}" for _, number in offers]


def everything(queue: Queue, person: str, answered: dict[str, set[str]]) -> list[str]:
    return keys(offered(queue, answered, person, "", 1000, lambda _: True))


def test_the_borderline_comes_first_and_closest_first(queue: Queue) -> None:
    first = keys(offered(queue, {}, "anna", "", 3, lambda _: True))
    assert first == ["event/run/1000", "event/run/1001", "event/run/1002"]
    rest = keys(offered(queue, {}, "anna", first[-1], 1000, lambda _: True))
    assert len(first) + len(rest) == len(queue.reviews)
    assert not set(first) & set(rest)


def test_nobody_gets_an_item_again_and_a_second_person_only_what_is_for_two(queue: Queue) -> None:
    answered: dict[str, set[str]] = {key: {"anna"} for key in everything(queue, "anna", {})}
    assert everything(queue, "anna", answered) == []
    second = everything(queue, "vera", answered)
    assert second == [review.key for review in queue.reviews if is_for_two(review.key)]
    assert second, "no item of this queue is for two: take more"
    for key in second:
        answered[key] = {"anna", "vera"}
    assert everything(queue, "otto", answered) == []


def test_two_at_once_get_different_items_until_a_lease_ends(queue: Queue) -> None:
    clock = [0.0]
    leases = ReviewLeases(lambda: clock[0])

    def turn(person: str) -> set[str]:
        return set(keys(offered(queue, {}, person, "", 5, lambda key: leases.take(key, person))))

    annas = turn("anna")
    assert annas == turn("anna")
    assert not annas & (veras := turn("vera"))
    clock[0] = LEASE_S - 1
    assert not turn("otto") & (annas | veras)
    clock[0] = LEASE_S
    assert turn("otto") & (annas | veras)


def test_what_was_answered_is_free_for_a_second_person() -> None:
    leases = ReviewLeases(lambda: 0.0)
    assert leases.take("x", "anna")
    assert not leases.take("x", "vera")
    leases.end("x")
    assert leases.take("x", "vera")


def test_leases_are_bounded_in_memory() -> None:
    ticks: Iterator[float] = map(float, count(0, 10))
    leases = ReviewLeases(lambda: next(ticks))
    for number in range(5000):
        leases.take(str(number), "anna")
    assert len(leases._held) <= 1001


def test_how_far_it_is(queue: Queue) -> None:
    """By strata, the borderline first; what has no image is counted apart."""
    found = progress_of(queue, {"event/run/1000": {"anna"}, "event/run/1001": {"vera"}}, "anna")
    borderline, clear = found.strata
    assert (borderline.stratum, borderline.is_borderline, borderline.done, borderline.of) == (
        "reject, borderline",
        True,
        2,
        3,
    )
    assert (clear.stratum, clear.done, clear.items) == ("reject", 0, 200)
    assert (found.done, found.of, found.own) == (2, len(queue.reviews), 1)
    assert found.second == sum(map(is_for_two, ("event/run/1000", "event/run/1001")))


def test_what_has_no_image_is_left_out_and_counted() -> None:
    queue = queue_of([row(1, margin=0.0), row(2, lacks="the image was removed"), row(3, lacks="none was kept")])
    assert [review.key for review in queue.reviews] == ["event/run/1"]
    assert queue.skipped == {"the image was removed": 1, "none was kept": 1}


def test_a_slow_queue_is_used_again_for_a_while(queue: Queue) -> None:
    """In proportion to what it cost; a quick one is made anew, so that what is new is in it."""
    clock, used, made = [0.0], [0.0], [0]

    def make(cost_s: float) -> Queue:
        made[0] += 1
        used[0] += cost_s
        return queue

    cache = QueueCache(lambda: clock[0], lambda: used[0])
    one, other = ChosenTime(0, 1), ChosenTime(0, 2)
    for _ in range(3):
        cache.get(one, lambda: make(QUICK_S / 2))
    assert made == [3]
    for clock[0] in (0.0, 19.0):
        cache.get(one, lambda: make(1.0))
    assert made == [4]
    cache.get(other, lambda: make(1.0))
    clock[0] = 21.0
    cache.get(one, lambda: make(1.0))
    assert made == [6]
    for number in range(10):
        cache.get(ChosenTime(0, 10 + number), lambda: make(1.0))
    assert len(cache._kept) == 4
