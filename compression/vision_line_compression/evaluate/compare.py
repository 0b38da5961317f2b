# SPDX-License-Identifier: AGPL-3.0-or-later
"""Two models on the same images: what differs, and whether that may be chance.

The images are drawn anew with replacement, the same for both models, and the difference is computed again each time
(paired bootstrap): B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
"""

from __future__ import annotations

import numpy as np

from vision_line.quality.intervals import CONFIDENCE
from vision_line_compression.data.dataset import Dataset
from vision_line_compression.evaluate.average_precision import mean_average_precision, rank
from vision_line_compression.evaluate.evaluation import match_predictions
from vision_line_compression.evaluate.matching import COCO_IOUS, Floats
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
) -> Floats:
    """Return mAP50-95, mAP50, miss rate and false detections per image, as (1 + resamples, 4).

    The first row is of all images as they are; the others are the same draws for every model with this `seed`.
    """
    draws = draw_images(len(dataset.images), resamples, seed)
    matches = match_predictions(predictions, dataset, evaluation.settings)
    point = evaluation.operating[0]
    counts = count_per_image(matches, point.match_iou, point.threshold)
    rankings = rank(matches.at_coco_ious(), len(dataset.classes))
    # no true box among the drawn images: nothing was ranked wrongly
    ap = np.nan_to_num(np.array([mean_average_precision(rankings, weights) for weights in draws]))
    missed = rate(counts.missed, counts.boxes, draws)
    false_per_image = rate(counts.false_detections, np.ones(len(dataset.images)), draws)
    return np.stack([ap.mean(axis=1), ap[:, COCO_IOUS.index(0.5)], missed, false_per_image], axis=1)


def difference(candidate: Floats, reference: Floats, seed: int) -> PairedDifference:
    """Return the difference of two models' `resample` with the same `seed`."""
    columns = (candidate - reference).T
    map50_95, map50, miss_rate, false_per_image = (resampled_interval(column) for column in columns)
    return PairedDifference(
        resamples=len(candidate) - 1,
        seed=seed,
        map50_95=map50_95,
        map50=map50,
        miss_rate=miss_rate,
        false_per_image=false_per_image,
    )


def draw_images(images: int, resamples: int, seed: int) -> Floats:
    """Return how often each image is drawn in each resample: (1 + resamples, images); the first row has each once."""
    drawn = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), resamples)
    return np.concatenate([np.ones((1, images)), drawn])


def resampled_interval(values: Floats) -> Interval:
    """Return the first value, that of all images, with the percentile interval of the others."""
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(values[1:], [tail, 100 - tail])
    return Interval(value=float(values[0]), low=float(low), high=float(high))


def rate(counts: Floats, trials: Floats, draws: Floats) -> Floats:
    """Return sum(counts) / sum(trials) over the images (images,) of each of `draws`; 0 where there are no trials."""
    total: Floats = draws @ trials
    return np.divide(draws @ counts, total, out=np.zeros(len(draws)), where=total > 0)
