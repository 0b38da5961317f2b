# SPDX-License-Identifier: AGPL-3.0-or-later
"""Corruption robustness: misses and false detections under rain, fog, blur, noise and wrong exposure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vision_line.devices.model.model import Model
from vision_line.ports import ProgressCallback, ShapeHW
from vision_line_compression.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from vision_line_compression.data.dataset import Dataset, ImageBGR, LabelledImage, read_image
from vision_line_compression.data.grouping import group_images
from vision_line_compression.evaluate.compare import RESAMPLES, draw_images, rate, resampled_interval
from vision_line_compression.evaluate.matching import Floats, match
from vision_line_compression.evaluate.misses import count_per_image
from vision_line_compression.evaluate.predict import predict
from vision_line_compression.evaluate.rates import binomial_rate, poisson_rate
from vision_line_compression.evaluate.results import (
    CorruptedPoint,
    EvaluationSettings,
    Interval,
    Robustness,
    RobustnessComparison,
)

IMAGES = 50

#: All that is done to each image, the image as it is first.
_WAYS: tuple[tuple[str, int], ...] = (
    ("none", 0),
    *((corruption, severity) for corruption in CORRUPTIONS for severity in SEVERITIES),
)


@dataclass(frozen=True, slots=True)
class _Corrupted:
    """The result of one model and its counts (images,) over all corrupted forms, for resampling the images."""

    result: Robustness
    missed: Floats
    false_detections: Floats
    boxes: Floats


def compare_robustness(
    reference: Model,
    candidate: Model,
    dataset: Dataset,
    shape_hw: ShapeHW | None = None,
    settings: EvaluationSettings | None = None,
    *,
    images: int = IMAGES,
    seed: int = 0,
    group: str | None = None,
    progress: ProgressCallback | None = None,
) -> RobustnessComparison:
    """Run both models over the same corrupted images of at most `images` images of `dataset`.

    The intervals come from drawing the images anew, or what `group` puts together; each stands for itself in all its
    corrupted forms, without the image as it is.

    Raises:
        ConfigError, ModelError, DeviceError, RunError: as `predict`.
    """
    settings = settings or EvaluationSettings()
    subset = dataset.subset(images)
    total = 2 * len(_WAYS) * len(subset.images)

    def report(offset: int) -> ProgressCallback:
        return lambda done, _: progress(done + offset, total) if progress is not None else None

    first = _measure(reference, subset, shape_hw, settings, seed, report(0))
    second = _measure(candidate, subset, shape_hw, settings, seed, report(total // 2))
    draws = draw_images(len(subset.images), RESAMPLES, seed, None if group is None else group_images(subset, group))

    images_once = np.full(len(subset.images), len(_WAYS) - 1.0)

    def interval(ours: Floats, theirs: Floats, trials: Floats) -> Interval:
        return resampled_interval(rate(ours, trials, draws) - rate(theirs, trials, draws))

    return RobustnessComparison(
        reference=first.result,
        candidate=second.result,
        false_per_image=interval(second.false_detections, first.false_detections, images_once),
        miss_rate=interval(second.missed, first.missed, first.boxes),
    )


def _measure(
    model: Model,
    dataset: Dataset,
    shape_hw: ShapeHW | None,
    settings: EvaluationSettings,
    seed: int,
    report: ProgressCallback,
) -> _Corrupted:
    threshold = settings.score_threshold or model.score_threshold
    images = len(dataset.images)
    # one pass over a data set in which every image comes once for each way: the engine is compiled once
    everything = Dataset(dataset.source, dataset.split, dataset.classes, dataset.images * len(_WAYS))

    def read(index: int, image: LabelledImage) -> ImageBGR:
        way, number = divmod(index, images)
        pixels = read_image(image)
        corruption, severity = _WAYS[way]
        return corrupt(pixels, corruption, severity, np.random.default_rng((seed, way, number))) if severity else pixels

    at_threshold = settings.model_copy(update={"score_floor": threshold})
    predictions = predict(model, everything, shape_hw, at_threshold, read=read, progress=report, float_execution=True)
    match_iou = settings.match_ious[0]
    matches = match(predictions.detections, everything.images, ious=(match_iou,), most=settings.max_detections)
    counts = count_per_image(matches, match_iou, threshold)
    missed, wrong, boxes = (
        column.reshape(len(_WAYS), images) for column in (counts.missed, counts.false_detections, counts.boxes)
    )
    points = tuple(
        CorruptedPoint(
            corruption=corruption,
            severity=severity,
            missed=int(missed[way].sum()),
            miss_rate=binomial_rate(int(missed[way].sum()), int(boxes[way].sum())),
            false_detections=int(wrong[way].sum()),
            false_per_image=poisson_rate(int(wrong[way].sum()), images),
        )
        for way, (corruption, severity) in enumerate(_WAYS)
    )
    result = Robustness(model=model.name, precision=model.precision, images=images, seed=seed, points=points)
    return _Corrupted(result, missed[1:].sum(axis=0), wrong[1:].sum(axis=0), boxes[1:].sum(axis=0))
