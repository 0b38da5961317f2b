# SPDX-License-Identifier: AGPL-3.0-or-later
"""Intervals of an evaluation whose images come in groups, such as the images of one board.

An exact interval takes each true box for a trial of its own. Where a few boards hold most of the misses it is too
narrow: whole groups are drawn anew instead, with replacement. No interval becomes narrower than the exact one, so that
no miss in any group is not taken for a proof that there are none.
"""

from __future__ import annotations

import numpy as np

from vision_line_compression.data.dataset import Dataset
from vision_line_compression.data.grouping import Groups
from vision_line_compression.evaluate.compare import RESAMPLES, draw_images, rate, resampled_interval
from vision_line_compression.evaluate.evaluation import longer_sides, match_predictions
from vision_line_compression.evaluate.matching import Floats, Mask, Matches
from vision_line_compression.evaluate.misses import box_groups, per_image
from vision_line_compression.evaluate.predict import Predictions
from vision_line_compression.evaluate.results import Evaluation, MissedGroup, OperatingPoint, Rate


def with_grouped_intervals(
    evaluation: Evaluation,
    predictions: Predictions,
    dataset: Dataset,
    groups: Groups,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Return `evaluation`, which was made of `predictions`, with intervals at the operating threshold over groups."""
    matches = match_predictions(predictions, dataset, evaluation.settings)
    draws = draw_images(len(dataset.images), resamples, seed, groups)
    sides = longer_sides(predictions, dataset)
    points = tuple(_over_groups(point, matches, sides, draws, groups) for point in evaluation.operating)
    return evaluation.model_copy(update={"operating": points})


def _over_groups(
    point: OperatingPoint, matches: Matches, sides: Floats, draws: Floats, groups: Groups
) -> OperatingPoint:
    row = matches.row(point.match_iou)
    missed = matches.taken_at[row] <= point.threshold
    detected = matches.score > point.threshold
    wrong = per_image(matches.image[detected & ~matches.matched[row]], matches.images)
    alarmed = np.minimum(per_image(matches.image[detected], matches.images), 1.0)
    each = np.ones(matches.images)
    clean = (per_image(matches.true_image, matches.images) == 0).astype(np.float64)
    by_class, by_side = box_groups(matches, tuple(point.by_class), sides)

    def of(found: MissedGroup, boxes: Mask) -> MissedGroup:
        lost, all_boxes = (per_image(matches.true_image[chosen], matches.images) for chosen in (missed & boxes, boxes))
        return found.model_copy(update={"miss_rate": _wider(found.miss_rate, lost, all_boxes, draws)})

    lost, boxes = per_image(matches.true_image[missed], matches.images), per_image(matches.true_image, matches.images)
    return point.model_copy(
        update={
            "groups": int(groups.max()) + 1,
            "miss_rate": _wider(point.miss_rate, lost, boxes, draws),
            "false_per_image": _wider(point.false_per_image, wrong, each, draws),
            "images_with_false": _wider(point.images_with_false, np.minimum(wrong, 1.0), each, draws),
            "clean_images_alarmed": _wider(point.clean_images_alarmed, alarmed * clean, clean, draws),
            "by_class": {name: of(found, by_class[name]) for name, found in point.by_class.items()},
            "by_longer_side": {name: of(found, by_side[name]) for name, found in point.by_longer_side.items()},
        }
    )


def _wider(exact: Rate, counts: Floats, trials: Floats, draws: Floats) -> Rate:
    """Return `exact` with limits that hold its own and those over drawn groups; as it is where nothing was tried."""
    drawn = draws[draws @ trials > 0]
    if exact.value is None or len(drawn) < 2:
        return exact
    interval = resampled_interval(rate(counts, trials, drawn))
    return Rate(value=exact.value, low=min(exact.low, interval.low), high=max(exact.high, interval.high))
