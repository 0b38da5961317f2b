# SPDX-License-Identifier: AGPL-3.0-or-later
"""Detections of two sides, paired one to one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import scored_detections

from vision_line.frames import Detections
from vision_line.selftest.detection_check import (
    MOST_PIXELS,
    MOST_SCORE,
    ResultDifference,
    difference,
    outcome_of,
    together,
)
from vision_line.selftest.report import Status

FLOOR = 0.25

#: left, top, score, class
Row = tuple[float, float, float, int]


def detections(*rows: Row) -> Detections:
    """Return boxes of 10 by 20 pixels."""
    return scored_detections(
        *((left, top, left + 10, top + 20, score, class_id) for left, top, score, class_id in rows)
    )


ROWS = st.lists(
    st.tuples(
        st.integers(0, 20).map(lambda column: column * 40.0),
        st.integers(0, 20).map(lambda row: row * 40.0),
        st.floats(FLOOR, 1.0, width=32),
        st.integers(0, 2),
    ),
    max_size=12,
    unique_by=lambda row: row[:2],
)


@given(ROWS, st.randoms(use_true_random=False))
def test_the_same_in_another_order_is_the_same(rows: list[Row], random: st.DataObject) -> None:
    """Sides may list their detections as they like."""
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined] # hypothesis' random

    found = difference(detections(*rows), detections(*shuffled), FLOOR)

    assert found == ResultDifference(pairs=len(rows))
    assert found.is_none


@given(ROWS, ROWS)
def test_both_sides_are_treated_alike(some: list[Row], others: list[Row]) -> None:
    """The difference has no direction, and every certain detection is in a pair or unmatched."""
    there, back = (difference(detections(*a), detections(*b), FLOOR) for a, b in ((some, others), (others, some)))

    assert there == back
    certain = sum(row[2] > FLOOR + MOST_SCORE for row in (*some, *others))
    assert certain <= there.unmatched + 2 * there.pairs


@pytest.mark.parametrize(
    ("other", "expected", "is_none"),
    [
        ((40.5, 40.0, 0.80, 1), ResultDifference(1, 0, 0.5, 0.0), True),
        ((43.0, 40.0, 0.80, 1), ResultDifference(1, 0, 3.0, 0.0), False),
        ((40.0, 40.0, 0.75, 1), ResultDifference(1, 0, 0.0, 0.05), False),
        ((60.0, 40.0, 0.80, 1), ResultDifference(0, 2, 0.0, 0.0), False),
        ((40.0, 40.0, 0.80, 2), ResultDifference(0, 2, 0.0, 0.0), False),
    ],
)
def test_how_far_apart_is_reported(other: Row, expected: ResultDifference, is_none: bool) -> None:
    """A pair that is too far apart is reported as a pair; other places or classes are unmatched."""
    found = difference(detections((40.0, 40.0, 0.8, 1)), detections(other), FLOOR)

    assert (found.pairs, found.unmatched) == (expected.pairs, expected.unmatched)
    assert found.pixels == pytest.approx(expected.pixels)
    assert found.score == pytest.approx(expected.score, abs=1e-6)
    assert found.is_none is is_none


def test_two_are_not_paired_with_one() -> None:
    """The second box at the same place has no partner."""
    found = difference(detections((0, 0, 0.9, 0), (1, 0, 0.8, 0)), detections((0, 0, 0.9, 0)), FLOOR)

    assert found == ResultDifference(pairs=1, unmatched=1)


def test_what_lies_at_the_threshold_need_not_have_a_partner() -> None:
    """The other side may have seen it just below."""
    assert difference(detections((0, 0, FLOOR + MOST_SCORE / 2, 0)), detections(), FLOOR) == ResultDifference()


def test_many_frames_are_one_difference() -> None:
    """Counts are added; of distances the largest is reported."""
    assert together([ResultDifference(2, 1, 0.5, 0.01), ResultDifference(3, 0, 0.25, 0.5)]) == ResultDifference(
        5, 1, 0.5, 0.5
    )
    assert together([]) == ResultDifference()


@pytest.mark.parametrize(
    ("found", "status", "words"),
    [
        (ResultDifference(7, 0, MOST_PIXELS, MOST_SCORE), Status.PASSED, "7 detections in 3 frames"),
        (ResultDifference(), Status.SKIPPED, "neither the device nor OpenVINO detects anything"),
        (ResultDifference(7, 0, 1.5, 0.0), Status.FAILED, "boxes differ by up to 1.50 px"),
        (ResultDifference(0, 2), Status.FAILED, "of 2 detections 2 are unmatched"),
    ],
)
def test_the_status_follows_from_the_difference(found: ResultDifference, status: Status, words: str) -> None:
    """A model that knows no circuit boards proves nothing."""
    outcome = outcome_of([found], 3)

    assert outcome.status is status
    assert words in outcome.sentence
