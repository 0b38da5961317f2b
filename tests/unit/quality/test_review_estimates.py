# SPDX-License-Identifier: AGPL-3.0-or-later
"""What reviews say: by hand, over simulated plants, and what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from vision_line.quality.answers import BoundedFigure, Refused
from vision_line.quality.review_estimates import review_estimates
from vision_line.quality.strata import ReviewedItem, Stratum, StratumKind, samples_of

REJECTS = Stratum("reject", StratumKind.EVENT, called=True, population=1000)
BORDERLINE = Stratum("reject, borderline", StratumKind.EVENT, called=True, population=40, at_random=False)
NEAR_MISSES = Stratum("near miss", StratumKind.NEAR_MISS, called=False, population=500)
AUDITS = Stratum("audit", StratumKind.AUDIT, called=False, population=100_000)
PARTS = 50_000
PLANTS = 1000
#: Of simulated plants: called or not, where it comes from, and the highest share of defects.
KINDS = (
    (True, StratumKind.EVENT, 0.95),
    (False, StratumKind.EVENT, 0.4),
    (False, StratumKind.NEAR_MISS, 0.2),
)


def reviews(
    stratum: Stratum, reviewed: int, defective: int, *, inclusion: float = 0.5, defects: float = 1.0
) -> list[ReviewedItem]:
    """Return reviewed items, of which the first so many are defective."""
    return [ReviewedItem(stratum.name, inclusion, defects * (i < defective)) for i in range(reviewed)]


def figure(answer: BoundedFigure | Refused) -> BoundedFigure:
    assert isinstance(answer, BoundedFigure)
    return answer


def reason(answer: BoundedFigure | Refused) -> str:
    assert isinstance(answer, Refused)
    return answer.reason


@dataclass
class Plant:
    """A simulated plant: every item's truth is known, and a part of it is reviewed as the queue would have it."""

    rng: np.random.Generator
    strata: list[Stratum] = field(default_factory=list)
    items: list[ReviewedItem] = field(default_factory=list)
    called: int = 0
    missed: int = 0

    def add(self, stratum: Stratum, rate: float, share: float, finished: float = 1.0) -> None:
        """Add a stratum of which this share is drawn, and of that a part is done when someone asks."""
        defective = self.rng.random(stratum.population) < rate
        drawn = self.rng.permutation(np.flatnonzero(self.rng.random(stratum.population) < share))
        done = drawn[: max(1, round(finished * len(drawn)))]
        self.strata.append(stratum)
        self.items += [ReviewedItem(stratum.name, share, float(defective[i])) for i in done]
        self.called += int(defective.sum()) if stratum.called else 0
        self.missed += 0 if stratum.called else int(defective.sum())

    def audit(self, frames: int, audits: int, defects: int) -> None:
        """Add defects that the line did not see at all, each shown by one to three frames."""
        held = np.zeros(frames)
        first, shown = self.rng.integers(0, frames - 3, defects), self.rng.integers(1, 4, defects)
        for ahead in range(3):
            np.add.at(held, first[shown > ahead] + ahead, 1 / shown[shown > ahead])
        self.strata.append(Stratum("audit", StratumKind.AUDIT, called=False, population=frames))
        drawn = self.rng.choice(frames, audits, replace=False)
        self.items += [ReviewedItem("audit", audits / frames, float(held[i])) for i in drawn]
        self.missed += defects

    @property
    def calls(self) -> int:
        return sum(stratum.population for stratum in self.strata if stratum.called)


def plants() -> Iterator[Plant]:
    """Yield plants of many kinds."""
    rng = np.random.default_rng(20261128)
    for _ in range(PLANTS):
        plant = Plant(rng)
        plant.add(Stratum("b", StratumKind.EVENT, True, int(rng.integers(30, 80)), False), rng.uniform(0.4, 0.7), 1.0)
        for called, kind, most in KINDS:
            stratum = Stratum(f"{kind} {called}", kind, called, int(rng.integers(300, 900)))
            plant.add(stratum, rng.uniform(most / 3, most), rng.uniform(0.1, 0.4), rng.uniform(0.6, 1.0))
        frames = int(rng.integers(20_000, 60_000))
        plant.audit(frames, int(rng.integers(1000, 2000)), int(rng.poisson(frames * rng.uniform(0.002, 0.01))))
        yield plant


def covers(answer: BoundedFigure | Refused, truth: float) -> bool:
    return figure(answer).low <= truth + 1e-9 and truth - 1e-9 <= figure(answer).high


def test_intervals_cover_the_truth_of_95_in_100_plants() -> None:
    """Of a thousand simulated plants 930 to 970, for each figure."""
    covered = np.zeros(4)
    for plant in plants():
        found = review_estimates(plant.strata, plant.items, PARTS, draws=1000)
        covered += [
            covers(found.precision, plant.called / plant.calls),
            covers(found.recall, plant.called / (plant.called + plant.missed)),
            covers(found.escapes_per_million, 1e6 * plant.missed / PARTS),
            covers(found.false_calls, plant.calls - plant.called),
        ]

    assert (covered >= 0.93 * PLANTS).all(), covered
    assert (covered <= 0.97 * PLANTS).all(), covered


def test_estimates_by_hand() -> None:
    """Weighted totals: 180 of 200 reviewed rejects, 5 of 50 near misses, 2 audited frames of 2000 with a defect."""
    items = [*reviews(REJECTS, 200, 180), *reviews(NEAR_MISSES, 50, 5), *reviews(AUDITS, 2000, 2, defects=0.5)]
    found = review_estimates([REJECTS, NEAR_MISSES, AUDITS], items, PARTS)

    missed = 50 + 50  # a tenth of 500; two frames, each for 50, with half a defect
    assert figure(found.precision).value == pytest.approx(0.9)
    assert figure(found.false_calls).value == pytest.approx(100)
    assert figure(found.recall).value == pytest.approx(900 / (900 + missed))
    assert figure(found.escapes_per_million).value == pytest.approx(1e6 * missed / PARTS)


def test_one_stratum_has_jeffreys_interval() -> None:
    """Where hardly any of it is reviewed: quantiles of the beta distribution."""
    large = Stratum("reject", StratumKind.EVENT, called=True, population=10_000_000)
    found = figure(review_estimates([large], reviews(large, 60, 48), PARTS, draws=400_000).precision)

    assert (found.low, found.high) == pytest.approx(beta.ppf([0.025, 0.975], 48.5, 12.5), abs=1e-3)


def test_what_is_reviewed_wholly_is_known() -> None:
    """No sampling, no doubt."""
    stratum = Stratum("reject", StratumKind.EVENT, called=True, population=50)

    assert review_estimates([stratum], reviews(stratum, 50, 40), PARTS).precision == BoundedFigure(0.8, 0.8, 0.8)


@pytest.mark.parametrize(("population", "narrower"), [(10_000_000, 1.0), (1000, 0.75**0.5), (500, 0.5**0.5)])
def test_the_more_is_reviewed_the_less_is_left_to_guess(population: int, narrower: float) -> None:
    """Of 250 reviewed, half were right: a quarter or half of all narrows the limits as finite populations do."""
    stratum = Stratum("reject", StratumKind.EVENT, called=True, population=population)
    found = figure(review_estimates([stratum], reviews(stratum, 250, 125), PARTS).precision)

    assert found.high - found.low == pytest.approx(
        narrower * np.diff(beta.ppf([0.025, 0.975], 125.5, 125.5))[0], rel=0.02
    )


def test_defects_that_are_hard_to_find_widen_the_limits() -> None:
    """Four that ten frames show and one that one frame shows: the next one may be of the latter, each for 50."""
    items = [*reviews(AUDITS, 1995, 0), *reviews(AUDITS, 4, 4, defects=0.1), *reviews(AUDITS, 1, 1)]
    found = figure(review_estimates([AUDITS], items, 1_000_000).escapes_per_million)

    each = 50 * (4 * 0.1**2 + 1 + 1) / (4 * 0.1 + 1 + 1)
    assert found.value == pytest.approx(70)
    assert found.high == pytest.approx(2000 * each * beta.ppf(0.975, 70 / each + 0.5, 2000 - 70 / each + 0.5), rel=0.03)


def test_unequal_inclusion_is_weighted() -> None:
    """An item that came with a tenth of the chance stands for ten times as many."""
    items = [*reviews(REJECTS, 100, 50, inclusion=0.5), *reviews(REJECTS, 45, 0, inclusion=0.05)]
    found = figure(review_estimates([REJECTS], items, PARTS).precision)

    assert found.value == pytest.approx(100 / 1100)
    assert found.low < found.value < found.high


def test_recall_without_audits_is_refused() -> None:
    """Who looks at detections alone never sees a miss; precision needs none."""
    found = review_estimates([REJECTS, NEAR_MISSES], [*reviews(REJECTS, 200, 180), *reviews(NEAR_MISSES, 50, 5)], PARTS)

    assert "without reviewed audits" in reason(found.recall)
    assert "without reviewed audits" in reason(found.escapes_per_million)
    assert figure(found.precision).value == pytest.approx(0.9)


def test_audits_that_nobody_reviewed_are_none() -> None:
    """Drawn is not reviewed."""
    found = review_estimates([REJECTS, AUDITS], reviews(REJECTS, 200, 180), PARTS)

    assert "without reviewed audits" in reason(found.recall)


def test_near_misses_that_nobody_reviewed_may_all_be_misses() -> None:
    """So recall is refused, and says which stratum is missing."""
    found = review_estimates([REJECTS, NEAR_MISSES, AUDITS], [*reviews(REJECTS, 9, 9), *reviews(AUDITS, 100, 0)], PARTS)

    assert reason(found.recall) == "none of 500 reviewed in near miss"


def test_a_borderline_half_done_says_nothing() -> None:
    """It was reviewed from one end: the rest is different."""
    half = review_estimates([BORDERLINE, REJECTS], [*reviews(BORDERLINE, 20, 9), *reviews(REJECTS, 200, 180)], PARTS)
    done = review_estimates([BORDERLINE, REJECTS], [*reviews(BORDERLINE, 40, 18), *reviews(REJECTS, 200, 180)], PARTS)

    assert "only 20 of 40 reviewed in reject, borderline" in reason(half.precision)
    assert figure(done.precision).value == pytest.approx((18 + 900) / 1040)


@pytest.mark.parametrize(
    ("strata", "items", "parts", "figure_name", "words"),
    [
        ([AUDITS], reviews(AUDITS, 100, 0), PARTS, "precision", "called nothing"),
        ([AUDITS], reviews(AUDITS, 100, 0), PARTS, "recall", "no defect was found"),
        ([AUDITS], reviews(AUDITS, 100, 0), 0, "escapes_per_million", "nothing was inspected"),
        ([REJECTS, AUDITS], reviews(AUDITS, 100, 0), PARTS, "recall", "none of 1000 reviewed in reject"),
    ],
)
def test_other_refusals(
    strata: list[Stratum], items: list[ReviewedItem], parts: int, figure_name: str, words: str
) -> None:
    """Each says what is missing."""
    assert words in reason(getattr(review_estimates(strata, items, parts), figure_name))


def test_no_miss_found_is_not_no_miss() -> None:
    """Recall may be 1 and need not: 100 audits of 100,000 frames show little."""
    found = review_estimates([REJECTS, AUDITS], [*reviews(REJECTS, 200, 180), *reviews(AUDITS, 100, 0)], PARTS)

    assert figure(found.recall).value == figure(found.recall).high == 1.0
    assert figure(found.recall).low < 0.5
    assert figure(found.escapes_per_million).low == 0.0


@given(
    calls=st.integers(1, 60), reviewed=st.integers(1, 60), right=st.integers(0, 60),
    audits=st.integers(1, 60), seen=st.integers(0, 5), defects=st.sampled_from([1.0, 0.5, 0.1]),
)  # fmt: skip
def test_figures_lie_within_their_limits(
    calls: int, reviewed: int, right: int, audits: int, seen: int, defects: float
) -> None:
    """And the limits within what is possible; the same reviews give the same figures."""
    called = Stratum("reject", StratumKind.EVENT, True, calls)
    items = [
        *reviews(called, min(reviewed, calls), min(right, reviewed, calls)),
        *reviews(AUDITS, audits, min(seen, audits), defects=defects),
    ]
    found = review_estimates([called, AUDITS], items, PARTS, draws=200)

    for answer, most in ((found.precision, 1.0), (found.recall, 1.0), (found.false_calls, calls)):
        if isinstance(answer, BoundedFigure):
            assert 0.0 <= answer.low <= answer.value <= answer.high <= most
    assert review_estimates([called, AUDITS], items, PARTS, draws=200) == found


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([ReviewedItem("elsewhere", 1.0, 0.0)], "no such stratum: elsewhere"),
        ([ReviewedItem("reject", 0.0, 0.0)], "above 0"),
        ([ReviewedItem("reject", 1.5, 0.0)], "above 0"),
        ([ReviewedItem("reject", 1.0, 0.0)] * 1001, "1001 items reviewed of 1000"),
    ],
)
def test_items_that_cannot_be(items: list[ReviewedItem], message: str) -> None:
    """A mistake in the sampling would be a mistake in every figure."""
    with pytest.raises(ValueError, match=message):
        samples_of([REJECTS], items)


def test_audits_are_not_called() -> None:
    """They are what nobody asked the line about."""
    with pytest.raises(ValueError, match="only events are called"):
        Stratum("audit", StratumKind.AUDIT, called=True, population=10)
