# SPDX-License-Identifier: AGPL-3.0-or-later
"""Detections of two sides, paired one to one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import scored_detections

from vision_line.devices.cuda.proven_engine import TOLERANCE
from vision_line.frames import Detections
from vision_line.selftest.detection_check import ResultDifference, difference, outcome_of, together
from vision_line.selftest.report import Status

FLOOR = 0.25

#: left, top, score, class
Row = tuple[float, float, float, int]


def detections(*rows: Row) -> Detections:
    """Return boxes of 10 by 20 pixels."""
    return scored_detections(
        *((left, top, left + 10, top + 20, score, class_id) for left, top, score, class_id in rows)
    )


def compared(some: Detections, others: Detections) -> ResultDifference:
    """Return their difference by a GPU's tolerance."""
    return difference(some, others, FLOOR, TOLERANCE)


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

    found = compared(detections(*rows), detections(*shuffled))

    assert found == ResultDifference((0.0,) * len(rows), (0.0,) * len(rows))
    assert found.holds(TOLERANCE, 0.0)


@given(ROWS, ROWS)
def test_both_sides_are_treated_alike(some: list[Row], others: list[Row]) -> None:
    """The difference has no direction, and every certain detection is in a pair or unmatched."""
    there, back = (compared(detections(*a), detections(*b)) for a, b in ((some, others), (others, some)))

    assert (sorted(there.scores), there.unmatched) == (sorted(back.scores), back.unmatched)
    certain = sum(row[2] > FLOOR + TOLERANCE.score + 1e-6 for row in (*some, *others))  # scores have 32 bits
    assert certain <= there.unmatched + 2 * there.pairs


@pytest.mark.parametrize(
    ("other", "pairs", "unmatched", "side", "score"),
    [
        ((40.5, 40.0, 0.80, 1), 1, 0, 0.5, 0.0),
        ((40.0, 40.0, 0.50, 1), 1, 0, 0.0, 0.3),
        ((43.0, 40.0, 0.80, 1), 0, 2, 0.0, 0.0),
        ((40.0, 40.0, 0.80, 2), 0, 2, 0.0, 0.0),
    ],
)
def test_how_far_apart_is_reported(other: Row, pairs: int, unmatched: int, side: float, score: float) -> None:
    """A pair that is too far apart is reported as a pair; other places or classes are unmatched."""
    found = compared(detections((40.0, 40.0, 0.8, 1)), detections(other))

    assert (found.pairs, found.unmatched) == (pairs, unmatched)
    assert found.median_side == pytest.approx(side)
    assert max(found.scores, default=0.0) == pytest.approx(score, abs=1e-6)


def test_two_are_not_paired_with_one() -> None:
    """The second box at the same place has no partner."""
    found = compared(detections((0, 0, 0.9, 0), (1, 0, 0.8, 0)), detections((0, 0, 0.9, 0)))

    assert found == ResultDifference((0.0,), (0.0,), 1)


def test_what_lies_at_the_threshold_need_not_have_a_partner() -> None:
    """The other side may have seen it just below."""
    at_the_floor = detections((0, 0, FLOOR + TOLERANCE.score / 2, 0))
    assert compared(at_the_floor, detections()) == ResultDifference()


def test_many_frames_are_one_difference() -> None:
    parts = [ResultDifference((0.5, 0.0), (0.01, 0.0), 1), ResultDifference((0.25,), (0.5,), 0)]
    assert together(parts) == ResultDifference((0.5, 0.0, 0.25), (0.01, 0.0, 0.5), 1)
    assert together([]) == ResultDifference()


FINE = (0.1,) * 20


@pytest.mark.parametrize(
    ("found", "status", "words"),
    [
        (ResultDifference(FINE, FINE), Status.PASSED, "20 detections in 3 frames"),
        (ResultDifference(FINE, (0.4, 0.4, *FINE[2:])), Status.PASSED, "20 detections"),
        (ResultDifference(FINE, (0.4, 0.4, 0.4, *FINE[3:])), Status.FAILED, "3 have scores further apart than 0.15"),
        (ResultDifference((9.0, *FINE[1:]), FINE), Status.PASSED, "20 detections"),
        (ResultDifference((0.6,) * 20, FINE), Status.FAILED, "boxes differ by 0.60 px in the median (most: 0.50)"),
        (ResultDifference(FINE, FINE, 1), Status.PASSED, "20 detections"),
        (ResultDifference(FINE, FINE, 3), Status.FAILED, "of 23 detections 3 are unmatched"),
        (ResultDifference(), Status.SKIPPED, "neither the device nor OpenVINO detects anything"),
        (ResultDifference((), (), 1), Status.FAILED, "of 1 detections 1 are unmatched"),
    ],
)
def test_the_status_follows_from_the_difference(found: ResultDifference, status: Status, words: str) -> None:
    """Right engines differ in some detections, either way; a model that knows no circuit boards proves nothing."""
    outcome = outcome_of(found, TOLERANCE, 0.5, 3)

    assert outcome.status is status
    assert words in outcome.sentence
