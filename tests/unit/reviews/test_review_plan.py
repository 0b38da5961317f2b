# SPDX-License-Identifier: AGPL-3.0-or-later
"""What comes to review: strata, margins to the thresholds in force, inclusion with the probability of the draw."""

from __future__ import annotations

import pytest

from vision_line.quality import ReviewCandidate
from vision_line.reviews.answer import ItemKind
from vision_line.reviews.review_plan import (
    BORDERLINE_MARGIN,
    SHARES,
    ClassThresholds,
    ReviewPlace,
    is_for_two,
    place_of,
    stratum_of,
)


@pytest.mark.parametrize(
    ("settings", "class_name", "expected"),
    [
        ('{"reject_threshold":0.5}', "open", (None, 0.5)),
        ('{"reject_threshold":0.5,"reject_thresholds":{"open":0.7},"warn_threshold":0.3}', "open", (0.3, 0.7)),
        (
            '{"reject_threshold":0.5,"reject_thresholds":{"open":0.7},"warn_thresholds":{"short":0.2}}',
            "short",
            (0.2, 0.5),
        ),
        ("", "open", (None, None)),
        ('{"warn_threshold":null,"reject_threshold":"***"}', "open", (None, None)),
    ],
)
def test_thresholds_are_those_of_the_class(
    settings: str, class_name: str, expected: tuple[float | None, float | None]
) -> None:
    found = ClassThresholds.of(settings, class_name)
    assert (found.warn, found.reject) == expected


def test_the_margin_is_to_the_nearest_threshold() -> None:
    assert ClassThresholds(0.3, 0.7).margin(0.65) == pytest.approx(0.05)
    assert ClassThresholds(0.3, 0.7).margin(0.31) == pytest.approx(0.01)
    assert ClassThresholds(None, None).margin(0.5) is None


def test_the_borderline_is_reviewed_wholly_and_the_rest_by_its_share() -> None:
    """An image that was kept by chance counts as often as both chances together say."""
    assert place_of(ReviewCandidate("any", "reject", BORDERLINE_MARGIN), 1.0) == ReviewPlace("reject, borderline", 1.0)
    places = [place_of(ReviewCandidate(f"audit/{n}", "audits"), 0.01) for n in range(4000)]
    drawn = [place for place in places if place is not None]
    assert set(drawn) == {ReviewPlace("audits", SHARES["audits"] * 0.01)}
    assert len(drawn) == pytest.approx(4000 * SHARES["audits"], rel=0.1)


def test_a_tenth_is_for_two_whatever_comes_to_review() -> None:
    keys = [f"event/run/{n}" for n in range(5000)]
    both = [key for key in keys if is_for_two(key)]
    assert len(both) == pytest.approx(500, rel=0.15)
    drawn = [key for key in both if place_of(ReviewCandidate(key, "reject"), 1.0)]
    assert len(drawn) == pytest.approx(len(both) * SHARES["reject"], rel=0.35)


def test_every_stratum_has_a_share() -> None:
    strata = {stratum_of(ItemKind.EVENT, verdict) for verdict in ("accept", "warn", "reject")}
    strata |= {stratum_of(kind, "") for kind in (ItemKind.NEAR_MISS, ItemKind.AUDIT)}
    assert strata == set(SHARES)
