# SPDX-License-Identifier: AGPL-3.0-or-later
"""Resampling: what is drawn together, and how the spread between trainings comes into an interval."""

from __future__ import annotations

import numpy as np
import pytest

from vision_line_compression.evaluate.compare import (
    average_trainings,
    difference,
    draw_images,
    rate,
    resampled_interval,
)

GROUPS = np.array([0, 0, 0, 1, 2, 2])


def test_whole_groups_are_drawn() -> None:
    """As many as there are; each with all of its images."""
    draws = draw_images(6, 50, seed=1, groups=GROUPS)

    assert draws.shape == (51, 6)
    assert (draws[0] == 1).all()
    for group in range(3):
        columns = draws[:, group == GROUPS]
        assert (columns == columns[:, :1]).all()
    firsts = draws[1:, [0, 3, 4]]
    assert (firsts.sum(axis=1) == 3).all()
    assert len(np.unique(firsts, axis=0)) > 5


def test_misses_of_a_few_boards_widen_the_interval() -> None:
    """Ten boards of ten images each with a box: where one board holds all misses, it is drawn or it is not."""
    groups = np.repeat(np.arange(10), 10)
    missed, boxes = (groups == 3).astype(np.float64), np.ones(100)

    alone = resampled_interval(rate(missed, boxes, draw_images(100, 2000, 0)))
    together = resampled_interval(rate(missed, boxes, draw_images(100, 2000, 0, groups)))

    assert alone.value == together.value == pytest.approx(0.1)
    assert together.low == 0.0
    assert together.high >= 0.3 > alone.high


def trained(score: float, resamples: int = 2000) -> np.ndarray:
    """Return the figures of a training on which no draw of images has any influence."""
    return np.full((1 + resamples, 4), score)


def test_masks_have_a_difference_of_their_own() -> None:
    """Where both models have them, behind the other columns."""
    ours, theirs = (np.column_stack([trained(0.7, 20), np.full(21, masks)]) for masks in (0.6, 0.65))

    found = difference(ours, theirs, 0)

    assert found.masks is not None
    assert found.masks.value == pytest.approx(-0.05)
    assert difference(trained(0.7, 20), trained(0.7, 20), 0).masks is None


def test_the_spread_between_trainings_is_in_the_interval() -> None:
    """Of three trainings the mean's standard error is that of three values, deviations over k - 1."""
    scores = np.array([0.70, 0.72, 0.74])

    several = average_trainings([trained(score) for score in scores], seed=0)
    found = difference(several, trained(0.70), 0, trainings=3)

    assert several[0] == pytest.approx(np.full(4, 0.72))
    assert several[1:, 0].std() == pytest.approx(scores.std(ddof=1) / np.sqrt(3), rel=0.05)
    assert found.map50_95.value == pytest.approx(0.02)
    assert found.map50_95.is_noise
    assert found.trainings == 3


def test_one_training_is_as_it_is() -> None:
    """Its luck is in no interval, and the difference says that it was one."""
    (only,) = (trained(0.7),)

    assert average_trainings([only], seed=0) is only
    assert difference(only, only, 0).trainings == 1
    assert difference(only, only, 0, GROUPS).groups == 3
