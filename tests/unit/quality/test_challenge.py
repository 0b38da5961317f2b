# SPDX-License-Identifier: AGPL-3.0-or-later
"""What challenge parts show, and whether they are due."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from vision_line.quality.challenge import (
    ChallengeLimits,
    ChallengeResult,
    ChallengeSchedule,
    ChallengeState,
    KnappZone,
    PartDetection,
    detection_by_part,
    miss_rate_shown,
    passes_needed,
)

LIMITS = ChallengeLimits(miss=0.02, false_reject=0.05)
SHIFT_S = 8 * 3600.0


@pytest.mark.parametrize(("passes", "shown"), [(20, 0.139), (59, 0.05), (149, 0.02), (299, 0.01), (623, 0.0048)])
def test_what_passes_without_a_miss_show(passes: int, shown: float) -> None:
    """The usual table, and its formula to 1e-9."""
    assert miss_rate_shown(passes) == pytest.approx(shown, rel=0.01)
    assert miss_rate_shown(passes) == pytest.approx(1 - 0.05 ** (1 / passes), abs=1e-9)


@given(passes=st.integers(1, 800), data=st.data())
def test_misses_are_counted_in(passes: int, data: st.DataObject) -> None:
    """The one-sided limit is a quantile of the beta distribution."""
    misses = data.draw(st.integers(0, passes - 1))

    assert miss_rate_shown(passes, misses) == pytest.approx(beta.ppf(0.95, misses + 1, passes - misses), abs=1e-9)


@pytest.mark.parametrize(("rate", "passes"), [(0.05, 59), (0.02, 149), (0.01, 299), (0.0048, 623)])
def test_passes_needed(rate: float, passes: int) -> None:
    """As many as the table says: one fewer would not show it."""
    assert passes_needed(rate) == passes
    assert miss_rate_shown(passes) <= rate < miss_rate_shown(passes - 1)


def test_nothing_shows_nothing() -> None:
    """Without a pass the miss rate can be anything; no number of passes shows that it is 0."""
    assert miss_rate_shown(0) == 1.0
    with pytest.raises(ValueError, match="between 0 and 1"):
        passes_needed(0.0)


@pytest.mark.parametrize(
    ("found", "zone"), [(0, "not found"), (2, "not found"), (3, "grey"), (6, "grey"), (7, "found"), (10, "found")]
)
def test_zones(found: int, zone: str) -> None:
    """From 70 % on found, from 30 % on grey."""
    assert PartDetection("scratch-3", found, 10).zone == KnappZone(zone)


def test_detection_by_part() -> None:
    """Each part over all of its passes, with its exact interval."""
    parts = detection_by_part([("b", True), ("a", False), ("b", True), ("a", True)])

    assert parts == [PartDetection("b", 2, 2), PartDetection("a", 1, 2)]
    assert parts[0].interval == pytest.approx((0.025**0.5, 1.0), abs=1e-9)
    assert parts[1].share == 0.5


def test_a_challenge_within_its_limits() -> None:
    """On the limit is within it."""
    assert ChallengeResult(defective=100, missed=2, good=20, falsely_rejected=1).failures(LIMITS) == []
    assert ChallengeResult(100, 29, 0, 0).failures(ChallengeLimits(miss=0.29, false_reject=0.0)) == []


def test_a_challenge_beyond_its_limits() -> None:
    """Each failure says how sure it is."""
    failures = ChallengeResult(defective=20, missed=2, good=10, falsely_rejected=1).failures(LIMITS)

    assert failures == [
        "2 of 20 defective parts were missed: 10.0% (1.2% to 31.7%), allowed are 2.0%",
        "1 of 10 good parts were rejected: 10.0% (0.3% to 44.5%), allowed are 5.0%",
    ]


def test_a_challenge_without_defective_parts_shows_nothing() -> None:
    """Good parts that pass are no proof that a defect would have been found."""
    assert "nothing is shown" in ChallengeResult(defective=0, missed=0, good=50, falsely_rejected=0).failures(LIMITS)[0]


@pytest.mark.parametrize(
    ("now", "last", "passed", "state"),
    [
        (SHIFT_S - 1, None, False, ChallengeState.PENDING),
        (SHIFT_S, None, False, ChallengeState.OVERDUE),
        (SHIFT_S, 100.0, True, ChallengeState.PASSED),
        (SHIFT_S + 100.0, 100.0, True, ChallengeState.OVERDUE),
        (SHIFT_S, 100.0, False, ChallengeState.FAILED),
        (9 * SHIFT_S, 100.0, False, ChallengeState.FAILED),
        (SHIFT_S - 1, -5000.0, True, ChallengeState.PASSED),  # done before the line began
    ],
)
def test_state(now: float, last: float | None, passed: bool, state: ChallengeState) -> None:
    """A failure stands until a challenge is passed."""
    assert ChallengeSchedule(0.0, SHIFT_S).state(now, last, last_passed=passed) is state
