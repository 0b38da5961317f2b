# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is reviewed in which order, how far two people agree, and what another threshold would have done."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.quality.answers import Refused
from vision_line.quality.kappa import Kappa, cohens_kappa
from vision_line.quality.review_queue import QueuedReview, ReviewCandidate, ReviewPlan, is_reviewed_twice, review_queue
from vision_line.quality.what_if import ScoredItem, ThresholdEffect, threshold_curve

PLAN = ReviewPlan(borderline=0.05, shares={"reject": 0.2, "near miss": 0.5, "audit": 1.0}, seed=7)
CANDIDATES = [
    *(ReviewCandidate(f"r{i}", "reject", 0.001 + i / 5000) for i in range(2000)),
    *(ReviewCandidate(f"n{i}", "near miss", 0.06) for i in range(1000)),
    *(ReviewCandidate(f"a{i}", "audit") for i in range(300)),
]
# J. L. Fleiss, Statistical Methods for Rates and Proportions, table 13.1: two diagnoses of 100 people, in per cent.
DIAGNOSES = np.array([[75, 1, 4], [5, 4, 1], [0, 0, 10]])

scored = st.lists(
    st.builds(ScoredItem, st.floats(0.3, 1.0), st.floats(1.0, 20.0), st.booleans()), min_size=1, max_size=40
)


def answers_of(table: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> tuple[list[str], list[str]]:
    """Return two people's answers that make this table."""
    pairs = [(str(i), str(j)) for (i, j), count in np.ndenumerate(table) for _ in range(count)]
    return [one for one, _ in pairs], [other for _, other in pairs]


def kappa_of(table: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Kappa:
    kappa = cohens_kappa(*answers_of(table))
    assert isinstance(kappa, Kappa)
    return kappa


def test_the_borderline_comes_first() -> None:
    """The nearest to a threshold first, all of it, as a stratum of its own."""
    queue = review_queue(CANDIDATES, PLAN)
    near = [item for item in queue if item.stratum == "reject, borderline"]

    assert queue[: len(near)] == near
    assert [item.key for item in near] == [f"r{i}" for i in range(245 + 1)]
    assert {item.inclusion for item in near} == {1.0}


def test_each_stratum_has_its_share() -> None:
    """Within four standard errors; audits were drawn before, and come all."""
    queue = review_queue(CANDIDATES, PLAN)
    counts = {name: sum(item.stratum == name for item in queue) for name in PLAN.shares}

    assert counts["reject"] == pytest.approx(1754 * 0.2, abs=4 * (1754 * 0.2 * 0.8) ** 0.5)
    assert counts["near miss"] == pytest.approx(500, abs=4 * 250**0.5)
    assert counts["audit"] == 300
    assert {(item.stratum, item.inclusion) for item in queue[246:]} == set(PLAN.shares.items())


def test_a_queue_that_nobody_finishes() -> None:
    """Half of it is about half of each stratum, and within one not the oldest."""
    others = review_queue(CANDIDATES, PLAN)[246:]
    half = others[: len(others) // 2]

    for name in PLAN.shares:
        of = [item for item in others if item.stratum == name]
        done = [int(item.key[1:]) for item in half if item.stratum == name]
        assert len(done) / len(of) == pytest.approx(0.5, abs=0.12)
        assert np.mean(done) == pytest.approx(np.mean([int(item.key[1:]) for item in of]), rel=0.15)


@given(seed=st.integers(0, 1000))
def test_the_queue_does_not_depend_on_the_order(seed: int) -> None:
    """However the rows came from the database."""
    some = CANDIDATES[::29]
    shuffled = Random(seed).sample(some, len(some))

    assert review_queue(shuffled, PLAN) == review_queue(some, PLAN)


def test_new_items_change_nothing_for_the_others() -> None:
    """Who was out stays out, and the order stays."""
    before = review_queue(CANDIDATES[::2], PLAN)
    kept = {item.key for item in before}

    assert [item for item in review_queue(CANDIDATES, PLAN) if item.key in kept] == before


def test_another_seed_draws_others() -> None:
    """So that next month's share is not this month's."""
    other = ReviewPlan(PLAN.borderline, PLAN.shares, seed=8)

    assert review_queue(CANDIDATES, other) != review_queue(CANDIDATES, PLAN)


def test_what_has_no_share_is_not_reviewed() -> None:
    """A stratum that the plan does not name, beyond the borderline."""
    plan = ReviewPlan(0.05, {}, 7)

    assert review_queue([ReviewCandidate("x", "warn", 0.3)], plan) == []
    assert review_queue([ReviewCandidate("y", "warn", 0.05)], plan) == [QueuedReview("y", "warn, borderline", 1.0)]


def test_a_tenth_is_reviewed_twice() -> None:
    """Whatever else was drawn: the two draws know nothing of each other."""
    queued = [item.key for item in review_queue(CANDIDATES, PLAN) if item.stratum == "near miss"]
    every = [candidate.key for candidate in CANDIDATES]

    assert sum(is_reviewed_twice(key, 7) for key in every) / len(every) == pytest.approx(0.1, abs=0.02)
    assert sum(is_reviewed_twice(key, 7) for key in queued) / len(queued) == pytest.approx(0.1, abs=0.05)


def test_kappa_as_published() -> None:
    """Diagnoses: 0.89 agreed and a kappa of 0.68; two readers of 50 applications: 0.4."""
    diagnoses = kappa_of(DIAGNOSES)

    assert (diagnoses.agreed, diagnoses.value) == pytest.approx((0.89, 0.68), abs=5e-3)
    assert kappa_of(np.array([[20, 5], [10, 15]])).value == pytest.approx(0.4, abs=1e-9)


def test_the_standard_error_of_kappa() -> None:
    """As far apart as the kappas of samples of 1000 really are, within three standard errors of that."""
    rng = np.random.default_rng(1)
    kappas = [kappa_of(rng.multinomial(1000, (DIAGNOSES / 100).ravel()).reshape(3, 3)).value for _ in range(400)]
    known = kappa_of(DIAGNOSES * 10)

    assert np.std(kappas) == pytest.approx(known.standard_error, rel=0.11)


#: The truth of which samples are drawn, as shares: two people who agree on 0.85 or more, on few answers or many.
TRUTHS = {
    "alike": np.array([[0.425, 0.075], [0.075, 0.425]]),
    "one is rare": np.array([[0.825, 0.075], [0.075, 0.025]]),
    "one person says it more often": np.array([[0.6, 0.15], [0.0, 0.25]]),
    "nearly perfect": np.array([[0.79, 0.005], [0.005, 0.2]]),
    "three answers": np.full((3, 3), 0.025) + np.eye(3) * (0.85 / 3 - 0.025),
}


@pytest.mark.parametrize("truth", TRUTHS.values(), ids=TRUTHS)
def test_the_interval_of_kappa_covers_the_truth(truth: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> None:
    """In 93 % of the samples that have one, from five items on; of 400 the share is good to 1.3 %."""
    rng = np.random.default_rng(5)
    chance = float(truth.sum(0) @ truth.sum(1))
    known = (float(np.trace(truth)) - chance) / (1.0 - chance)
    for items in (5, 10, 20, 50):
        tables = rng.multinomial(items, truth.ravel(), 400).reshape(-1, *truth.shape)
        found = [one for table in tables if isinstance(one := cohens_kappa(*answers_of(table)), Kappa)]

        assert np.mean([one.low <= known <= one.high for one in found]) >= 0.93, items
        assert len(found) > 150  # the others have one answer to everything


def test_few_pairs_that_all_agree_prove_no_perfect_agreement() -> None:
    """The lower limit is that of the agreement, 0.478 of five (0.05 / 2 = share**5), beyond chance."""
    few = kappa_of(np.array([[2, 0], [0, 3]]))
    many = kappa_of(np.array([[200, 0], [0, 300]]))

    assert (few.value, few.high) == pytest.approx((1.0, 1.0))
    assert few.low == pytest.approx((0.025**0.2 - 0.52) / 0.48)
    assert 0.98 < many.low < 1.0


def test_the_interval_of_kappa_with_many_items_is_hardly_wider_than_its_standard_error_says() -> None:
    """Of Fleiss' diagnoses, 50 times as many: a tenth at most."""
    kappa = kappa_of(DIAGNOSES * 50)
    least = 2 * 1.9599 * kappa.standard_error

    assert least <= kappa.high - kappa.low <= 1.1 * least


@given(first=st.lists(st.sampled_from("cou"), min_size=1, max_size=30), data=st.data())
def test_kappa_of_two_people(first: list[str], data: st.DataObject) -> None:
    """It knows no first and second, and is 1 where both agree."""
    second = data.draw(st.lists(st.sampled_from("cou"), min_size=len(first), max_size=len(first)))
    one, other = cohens_kappa(first, second), cohens_kappa(second, first)

    if isinstance(one, Kappa) and isinstance(other, Kappa):
        assert (one.value, one.standard_error) == pytest.approx((other.value, other.standard_error), abs=1e-7)
        assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-7)
        assert -1.0 <= one.low <= one.value <= one.high <= 1.0
        assert (one.value == pytest.approx(1.0)) == (first == second)
    else:
        assert len({*first, *second}) == 1


def test_no_agreement_without_items() -> None:
    """Nothing to compare, or answers to different items."""
    assert cohens_kappa([], []) == Refused("no item was reviewed by two people")
    for items in range(1, 31):
        assert isinstance(cohens_kappa(["c"] * items, ["c"] * items), Refused), items
    with pytest.raises(ValueError, match="the same items"):
        cohens_kappa(["c"], [])


def test_another_threshold() -> None:
    """A higher one misses more and calls less for nothing; on the threshold is called."""
    items = [ScoredItem(0.5, 10.0, True), ScoredItem(0.6, 2.0, False), ScoredItem(0.8, 4.0, True)]

    assert threshold_curve(items, [0.3, 0.6, 0.61, 0.9], floor=0.3) == [
        ThresholdEffect(0.3, 14.0, 2.0, 0.0),
        ThresholdEffect(0.6, 4.0, 2.0, 10.0),
        ThresholdEffect(0.61, 4.0, 0.0, 10.0),
        ThresholdEffect(0.9, 0.0, 0.0, 14.0),
    ]


@given(items=scored, thresholds=st.lists(st.floats(0.3, 1.0), min_size=1, max_size=10))
def test_no_defect_is_lost_on_the_curve(items: list[ScoredItem], thresholds: list[float]) -> None:
    """Called or missed, they add up; a higher threshold never calls more."""
    curve = threshold_curve(items, sorted(thresholds), floor=0.3)
    defects = sum(item.weight for item in items if item.defective)

    assert [effect.true_calls + effect.missed for effect in curve] == pytest.approx([defects] * len(curve))
    assert all(a.false_calls >= b.false_calls and a.missed <= b.missed for a, b in pairwise(curve))


@pytest.mark.parametrize(("threshold", "score"), [(0.29, 0.5), (0.5, 0.2)])
def test_nothing_is_said_below_the_floor(threshold: float, score: float) -> None:
    """What scored lower left no record."""
    with pytest.raises(ValueError, match=r"below 0\.3"):
        threshold_curve([ScoredItem(score, 1.0, True)], [threshold], floor=0.3)
