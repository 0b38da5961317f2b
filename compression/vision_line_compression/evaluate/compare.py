# SPDX-License-Identifier: AGPL-3.0-or-later
"""Two models on the same images: what differs, and whether that may be chance.

The images are drawn anew with replacement, the same for both models, and the difference is computed again each time
(paired bootstrap): B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13. Images that belong
together are drawn together (cluster bootstrap). Of a model that was trained several times the trainings are drawn anew,
too: A. C. Davison, D. V. Hinkley, Bootstrap Methods and their Application, 1997, section 3.8.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vision_line.quality.intervals import CONFIDENCE
from vision_line_compression.data.dataset import Dataset
from vision_line_compression.data.grouping import Groups
from vision_line_compression.evaluate.average_precision import mean_average_precision, rank
from vision_line_compression.evaluate.evaluation import match_predictions
from vision_line_compression.evaluate.matching import COCO_IOUS, Floats, Matches
from vision_line_compression.evaluate.misses import count_per_image
from vision_line_compression.evaluate.predict import Predictions
from vision_line_compression.evaluate.results import Evaluation, Interval, PairedDifference

RESAMPLES = 500


def resample(
    predictions: Predictions,
    evaluation: Evaluation,
    dataset: Dataset,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    groups: Groups | None = None,
) -> Floats:
    """Return mAP50-95, mAP50, miss rate and false detections per image, as (1 + resamples, 4).

    Of predictions with masks (1 + resamples, 5), with mAP50-95 of these behind. The first row is of all images as they
    are; the others are the same draws for every model with this `seed`.
    """
    draws = draw_images(len(dataset.images), resamples, seed, groups)
    matches = match_predictions(predictions, dataset, evaluation.settings)
    point = evaluation.operating[0]
    counts = count_per_image(matches, point.match_iou, point.threshold)
    ap = _resampled_precision(matches, dataset, draws)
    missed = rate(counts.missed, counts.boxes, draws)
    false_per_image = rate(counts.false_detections, np.ones(len(dataset.images)), draws)
    columns = [ap.mean(axis=1), ap[:, COCO_IOUS.index(0.5)], missed, false_per_image]
    if predictions.mask_overlaps is not None:
        by_masks = match_predictions(predictions, dataset, evaluation.settings, by_masks=True)
        columns.append(_resampled_precision(by_masks, dataset, draws).mean(axis=1))
    return np.stack(columns, axis=1)


def _resampled_precision(matches: Matches, dataset: Dataset, draws: Floats) -> Floats:
    """Return the mAP at each of COCO's ten thresholds of each of `draws`, as (1 + resamples, 10)."""
    rankings = rank(matches.at_coco_ious(), len(dataset.classes))
    # no true box among the drawn images: nothing was ranked wrongly
    ap: Floats = np.nan_to_num(np.array([mean_average_precision(rankings, weights) for weights in draws]))
    return ap


def average_trainings(trainings: Sequence[Floats], seed: int) -> Floats:
    """Return the mean of several trainings' `resample` (1 + resamples, 4 or 5), of which those drawn hold their spread.

    With k trainings as many are drawn with replacement; what their mean is off is stretched by sqrt(k / (k - 1)), since
    few that are drawn from themselves spread too little.
    """
    if len(trainings) == 1:
        return trainings[0]
    every, count = np.stack(trainings), len(trainings)
    mean = every.mean(axis=0)
    drawn = np.random.default_rng(seed).integers(count, size=(every.shape[1] - 1, count))
    picked = np.stack([every[chosen, row].mean(axis=0) for row, chosen in enumerate(drawn, start=1)])
    stretched: Floats = mean[1:] + np.sqrt(count / (count - 1)) * (picked - mean[1:])
    return np.concatenate([mean[:1], stretched])


def difference(
    candidate: Floats, reference: Floats, seed: int, groups: Groups | None = None, trainings: int = 1
) -> PairedDifference:
    """Return the difference of two models' `resample` with the same `seed` and `groups`, which it names."""
    columns = (candidate - reference).T
    map50_95, map50, miss_rate, false_per_image, *masks = (resampled_interval(column) for column in columns)
    return PairedDifference(
        resamples=len(candidate) - 1,
        seed=seed,
        groups=None if groups is None else int(groups.max()) + 1,
        trainings=trainings,
        map50_95=map50_95,
        map50=map50,
        miss_rate=miss_rate,
        false_per_image=false_per_image,
        masks=masks[0] if masks else None,
    )


def draw_images(images: int, resamples: int, seed: int, groups: Groups | None = None) -> Floats:
    """Return how often each image is drawn in each resample: (1 + resamples, images); the first row has each once.

    With `groups` whole groups are drawn, as many as there are, and all images of each.
    """
    units = images if groups is None else int(groups.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), resamples)
    return np.concatenate([np.ones((1, images)), drawn if groups is None else drawn[:, groups]])


def resampled_interval(values: Floats) -> Interval:
    """Return the first value, that of all images, with the percentile interval of the others."""
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(values[1:], [tail, 100 - tail])
    return Interval(value=float(values[0]), low=float(low), high=float(high))


def rate(counts: Floats, trials: Floats, draws: Floats) -> Floats:
    """Return sum(counts) / sum(trials) over the images (images,) of each of `draws`; 0 where there are no trials."""
    total: Floats = draws @ trials
    return np.divide(draws @ counts, total, out=np.zeros(len(draws)), where=total > 0)
