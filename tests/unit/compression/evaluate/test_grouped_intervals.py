# SPDX-License-Identifier: AGPL-3.0-or-later
"""Intervals over groups of images: wider where misses come together, and never narrower than the exact ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vision_line.frames import Detections
from vision_line_compression.data.dataset import Dataset, LabelledImage
from vision_line_compression.evaluate.evaluation import longer_sides, match_predictions
from vision_line_compression.evaluate.grouped_intervals import with_grouped_intervals
from vision_line_compression.evaluate.misses import operating_point
from vision_line_compression.evaluate.predict import Predictions
from vision_line_compression.evaluate.results import Evaluation, EvaluationSettings

BOX = np.array([[10, 10, 30, 30]], np.float32)
SETTINGS = EvaluationSettings(score_threshold=0.5, nms_iou=0.5)


def images(count: int) -> Dataset:
    """Return images with a box each."""
    labelled = [LabelledImage(Path(f"{n}.png"), (64, 64), BOX, np.zeros(1, np.int32)) for n in range(count)]
    return Dataset(Path("data.yaml"), "test", ("dent",), tuple(labelled))


def predicted(found: Sequence[bool]) -> Predictions:
    """Return detections that hit the box of an image, or nothing."""
    hit = Detections(BOX, np.full(1, 0.9, np.float32), np.zeros(1, np.int32))
    return Predictions("a" * 64, ((64, 64),), 0.001, 0.5, tuple(hit if one else Detections.empty() for one in found))


def evaluated(predictions: Predictions, dataset: Dataset) -> Evaluation:
    """Return what is measured of them, as far as intervals need it."""
    matches = match_predictions(predictions, dataset, SETTINGS)
    sides = longer_sides(predictions, dataset)
    points = [
        operating_point(matches, matches, iou, 0.5, classes=dataset.classes, longer_sides=sides)
        for iou in SETTINGS.match_ious
    ]
    measured: dict[str, Any] = {"settings": SETTINGS, "operating": tuple(points)}
    return Evaluation.model_construct(None, **measured)


def test_misses_that_come_together_widen_every_interval() -> None:
    """Of ten boards one holds all misses: of all, of its class and of its size; the estimates stay."""
    dataset, groups = images(100), np.repeat(np.arange(10), 10)
    predictions = predicted(groups != 3)
    exact = evaluated(predictions, dataset)

    wide = with_grouped_intervals(exact, predictions, dataset, groups)

    for before, after in zip(exact.operating, wide.operating, strict=True):
        assert (before.groups, after.groups) == (None, 10)
        assert after.missed == before.missed == 10
        pairs = [
            (before.miss_rate, after.miss_rate),
            (before.by_class["dent"].miss_rate, after.by_class["dent"].miss_rate),
            (before.by_longer_side["16-24"].miss_rate, after.by_longer_side["16-24"].miss_rate),
        ]
        for narrow, broad in pairs:
            assert broad.value == narrow.value == pytest.approx(0.1)
            assert broad.low < narrow.low
            assert broad.high >= 0.3 > narrow.high
        assert after.by_longer_side["96-"] == before.by_longer_side["96-"]


def test_no_miss_in_any_group_is_no_proof_that_there_is_none() -> None:
    """Drawn anew there would be none either: the exact interval stays."""
    dataset, groups = images(20), np.repeat(np.arange(4), 5)
    predictions = predicted([True] * 20)
    exact = evaluated(predictions, dataset)

    same = with_grouped_intervals(exact, predictions, dataset, groups)

    assert same.operating[0].miss_rate == exact.operating[0].miss_rate
    assert same.operating[0].miss_rate.high > 0.1
    assert same.operating[0].clean_images_alarmed == exact.operating[0].clean_images_alarmed
