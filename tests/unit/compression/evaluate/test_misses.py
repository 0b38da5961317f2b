# SPDX-License-Identifier: AGPL-3.0-or-later
"""Misses, false detections, sweeps and score calibration on cases counted by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import scored_detections

from vision_line.frames import Detections
from vision_line_compression.data.dataset import LabelledImage
from vision_line_compression.evaluate.matching import Matches, match, overlaps
from vision_line_compression.evaluate.misses import (
    calibration,
    count_per_image,
    operating_point,
    sweep_thresholds,
)
from vision_line_compression.evaluate.results import OperatingPoint

IOUS = (0.5, 0.33)


def labelled(*boxes: tuple[float, float, float, float], classes: tuple[int, ...] = ()) -> LabelledImage:
    """Return an image with true boxes, of class 0 if nothing else is said."""
    class_id = np.array(classes or [0] * len(boxes), np.int32)
    return LabelledImage(Path("a.png"), (100, 100), np.array(boxes, np.float32).reshape(-1, 4), class_id)


#: An image with a hit, a hit under another name and a false one; one with an overlap of 0.4; a clean one with an alarm.
IMAGES = [
    labelled((0, 0, 10, 10), (40, 40, 50, 50), classes=(0, 1)),
    labelled((0, 0, 10, 10)),
    labelled(),
]
FOUND = [
    scored_detections((0, 0, 10, 10, 0.9, 0), (40, 40, 50, 50, 0.8, 0), (70, 70, 80, 80, 0.3, 1)),
    scored_detections((0, 0, 10, 4, 0.7, 0)),
    scored_detections((5, 5, 9, 9, 0.2, 0)),
]


def matched() -> Matches:
    """Return the matches of the case above."""
    return match(FOUND, IMAGES, ious=IOUS)


def point(match_iou: float, threshold: float) -> OperatingPoint:
    """Return the operating point of the case above."""
    blind = match(FOUND, IMAGES, ious=IOUS, class_blind=True)
    sides = np.array([10.0, 30.0, 10.0])
    return operating_point(matched(), blind, match_iou, threshold, classes=("open", "short"), longer_sides=sides)


def test_counts_at_a_strict_overlap() -> None:
    """At IoU 0.5 a box under another name and one that overlaps by 0.4 are missed."""
    found = point(0.5, 0.25)

    assert (found.boxes, found.missed, found.unseen, found.false_detections) == (3, 2, 1, 3)
    assert found.miss_rate.value == pytest.approx(2 / 3, abs=1e-6)
    assert found.false_per_image.value == 1.0
    assert found.precision == 0.25


def test_counts_at_a_lenient_overlap() -> None:
    """At the data set's own 0.33 the second counts as found."""
    found = point(0.33, 0.25)

    assert (found.missed, found.unseen, found.false_detections) == (1, 0, 2)


def test_threshold_is_exclusive() -> None:
    """As in an inspection a detection counts above the threshold, not at it."""
    assert point(0.5, 0.75).missed == 2
    assert point(0.5, float(np.float32(0.9))).missed == 3


def test_counts_by_class_and_size() -> None:
    """Misses are told apart by class and by the longer side at the input."""
    found = point(0.5, 0.25)

    assert {name: (one.missed, one.boxes) for name, one in found.by_class.items()} == {"open": (1, 2), "short": (1, 1)}
    sizes = {name: (one.missed, one.boxes) for name, one in found.by_longer_side.items() if one.boxes}
    assert sizes == {"8-16": (1, 2), "24-32": (1, 1)}


def test_clean_images_count_their_alarms() -> None:
    """A detection on a defect-free image is an alarm; without such images the share is unknown."""
    assert point(0.5, 0.1).clean_images_alarmed.value == 1.0
    assert point(0.5, 0.25).clean_images_alarmed.value == 0.0
    assert point(0.5, 0.1).images_with_false.value == 1.0


def test_counts_per_image() -> None:
    """Counts are kept for each image, for resampling."""
    counts = count_per_image(matched(), 0.5, 0.25)

    assert counts.missed.tolist() == [1, 1, 0]
    assert counts.false_detections.tolist() == [2, 1, 0]
    assert counts.boxes.tolist() == [2, 1, 0]


def test_sweep_agrees_with_operating_points() -> None:
    """Each point of a sweep is what an inspection at that threshold would see."""
    sweep = sweep_thresholds(matched(), 0.5, 0.01)

    for threshold, missed, wrong in zip(sweep.threshold, sweep.missed, sweep.false_detections, strict=True):
        found = point(0.5, threshold)
        assert (missed, wrong) == (found.missed, found.false_detections)
    assert sweep.threshold[0] == 0.01


def test_first_choice_goes_to_the_higher_score() -> None:
    """Two detections of one box: the better score takes it, the other is false."""
    image = labelled((0, 0, 10, 10))
    found = scored_detections((0, 0, 10, 9, 0.5, 0), (0, 0, 10, 8, 0.6, 0))

    matches = match([found], [image], ious=(0.5,))

    assert matches.score.tolist() == pytest.approx([0.6, 0.5])
    assert matches.matched.tolist() == [[True, False]]
    assert matches.taken_at.tolist() == pytest.approx(np.array([[0.6]]))


def test_only_the_best_detections_count() -> None:
    """Beyond the limit of an image and class, detections do not exist."""
    found = scored_detections((0, 0, 10, 10, 0.4, 0), (50, 50, 60, 60, 0.6, 0), (50, 50, 60, 60, 0.5, 1))

    matches = match([found], [labelled((0, 0, 10, 10))], ious=(0.5,), most=1)

    assert matches.score.tolist() == pytest.approx([0.6, 0.5])
    assert not matches.matched.any()


def test_empty_boxes_overlap_nothing() -> None:
    """Boxes without extent have no ratio and no warning."""
    empty = np.zeros((1, 4))
    assert overlaps(empty, empty).tolist() == [[0.0]]


@given(seed=st.integers(0, 2**32 - 1), iou=st.sampled_from([0.33, 0.5, 0.75]))
def test_matching_is_one_to_one(seed: int, iou: float) -> None:
    """No detection takes two boxes, no box is taken twice, and each pair is of one class."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 60, (30, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 30, (30, 2))], axis=1).astype(np.float32)
    classes = rng.integers(0, 2, 30).astype(np.int32)
    image = LabelledImage(Path("a.png"), (100, 100), boxes[:10], classes[:10])
    found = Detections(boxes[10:], rng.random(20).astype(np.float32), classes[10:])

    matches = match([found], [image], ious=(iou,))

    taken = matches.taken_at[0][matches.taken_at[0] >= 0]
    assert len(set(taken.tolist())) == len(taken) == matches.matched.sum()


def test_calibration_of_honest_scores() -> None:
    """Scores that mean what they say have no error, boastful ones do."""
    images = [labelled((0, 0, 10, 10)) for _ in range(10)]
    box = (0.0, 0.0, 10.0, 10.0)
    honest = [
        scored_detections((*box, 0.8, 0)) if n < 8 else scored_detections((50, 50, 60, 60, 0.8, 0)) for n in range(10)
    ]
    boastful = [
        scored_detections((*box, 0.95, 0)) if n < 5 else scored_detections((50, 50, 60, 60, 0.95, 0)) for n in range(10)
    ]

    assert calibration(match(honest, images), 0.5).expected_error == pytest.approx(0.0, abs=1e-6)
    assert calibration(match(boastful, images), 0.5).expected_error == pytest.approx(0.45, abs=1e-6)


def test_calibration_of_nothing() -> None:
    """Without detections there is no error to speak of."""
    empty = calibration(match([Detections.empty()], [labelled()]), 0.5)
    assert empty.expected_error is None
    assert sum(one.detections for one in empty.bins) == 0
