# SPDX-License-Identifier: AGPL-3.0-or-later
"""One evaluation: predict with the device, match, and put all figures together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from vision_line.devices.model.model import Model, open_model
from vision_line.ports import ProgressCallback, ShapeHW
from vision_line_compression.data.dataset import Dataset
from vision_line_compression.evaluate.average_precision import (
    ClassRanking,
    average_precision,
    mean_average_precision,
    rank,
)
from vision_line_compression.evaluate.graph_size import count_graph
from vision_line_compression.evaluate.matching import COCO_IOUS, EVERYTHING, Floats, Matches, Range, match
from vision_line_compression.evaluate.misses import calibration, operating_point, sweep_thresholds
from vision_line_compression.evaluate.predict import Predictions, predict, resolve_settings
from vision_line_compression.evaluate.results import (
    Accuracy,
    ClassAccuracy,
    EvaluatedData,
    EvaluatedModel,
    Evaluation,
    EvaluationSettings,
    Figure,
    MaskAccuracy,
)
from vision_line_compression.evaluate.speed import measure_speed

#: COCO's areas, in square pixels; its images are 640 pixels wide, so other sizes are brought to that.
AREAS: dict[str, Range] = {
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
_AREA_SIDE = 640


def open_evaluated(path: Path, work: Path) -> Model:
    """Return the model at `path`; a checkpoint (`.pt`) becomes `work`/NAME.onnx, as it would for a device.

    Raises:
        ModelError: missing, corrupt, or not a detection model.
    """
    if path.suffix != ".pt":
        return open_model(path)
    from vision_line_compression.network.onnx_file import export_onnx  # brings torch, which bundles do not need

    return open_model(export_onnx(path, work / f"{path.stem}.onnx"))


def evaluate(
    model: Model,
    dataset: Dataset,
    shape_hw: ShapeHW | None = None,
    settings: EvaluationSettings | None = None,
    progress: ProgressCallback | None = None,
    *,
    float_execution: bool = False,
) -> Evaluation:
    """Evaluate `model` on `dataset` at `shape_hw` (None: the shapes it was evaluated at or exported with).

    Raises:
        ConfigError, ModelError, DeviceError, RunError: as `predict`.
    """
    settings = settings or EvaluationSettings()
    dataset = dataset if settings.images is None else dataset.subset(settings.images)
    predictions = predict(model, dataset, shape_hw, settings, progress=progress, float_execution=float_execution)
    return measure(predictions, model, dataset, settings)


def measure(predictions: Predictions, model: Model, dataset: Dataset, settings: EvaluationSettings) -> Evaluation:
    """Make the evaluation of `predictions` that `model` made on `dataset` with `settings`.

    Raises:
        ModelError, DeviceError, RunError: the model's graph cannot be counted, or its speed not measured.
    """
    resolved = resolve_settings(settings, model)
    threshold = resolved.score_threshold or model.score_threshold
    matches = match_predictions(predictions, dataset, resolved)
    class_blind = match_predictions(predictions, dataset, resolved, class_blind=True)
    sides = longer_sides(predictions, dataset)
    shape = predictions.shapes_hw[0]
    speed = None
    if settings.speed_s:
        (speed,) = measure_speed([model], dataset, shape, seconds=settings.speed_s)
    return Evaluation(
        model=_describe_model(model, predictions),
        data=_describe_data(dataset),
        settings=resolved,
        accuracy=_accuracy(predictions, matches, dataset, resolved),
        operating=tuple(
            operating_point(matches, class_blind, match_iou, threshold, classes=dataset.classes, longer_sides=sides)
            for match_iou in resolved.match_ious
        ),
        sweep=tuple(sweep_thresholds(matches, match_iou, resolved.score_floor) for match_iou in resolved.match_ious),
        calibration=calibration(matches, 0.5),
        speed=speed,
        execution=predictions.execution,
    )


def match_predictions(
    predictions: Predictions,
    dataset: Dataset,
    settings: EvaluationSettings,
    *,
    areas: Range = EVERYTHING,
    class_blind: bool = False,
    by_masks: bool = False,
) -> Matches:
    """Match at COCO's IoUs and those of the settings; `areas` as if the image's longer side were 640 pixels.

    `by_masks`: where masks overlap, not boxes; of predictions that have them.
    """
    scales = [(_AREA_SIDE / max(image.size_wh)) ** 2 for image in dataset.images]
    return match(
        predictions.detections,
        dataset.images,
        ious=tuple(dict.fromkeys((*COCO_IOUS, *settings.match_ious))),
        areas=areas,
        area_scales=scales,
        most=settings.max_detections,
        class_blind=class_blind,
        ious_given=predictions.mask_overlaps if by_masks else None,
    )


def _accuracy(predictions: Predictions, matches: Matches, dataset: Dataset, settings: EvaluationSettings) -> Accuracy:
    rankings = rank(matches.at_coco_ious(), len(dataset.classes))
    mean = mean_average_precision(rankings)
    by_size = {}
    for name, areas in AREAS.items():
        of_size = match_predictions(predictions, dataset, settings, areas=areas).at_coco_ious()
        by_size[name] = _figure(mean_average_precision(rank(of_size, len(dataset.classes))).mean())
    return Accuracy(
        map50_95=_figure(mean.mean()),
        map50=_figure(mean[COCO_IOUS.index(0.5)]),
        map75=_figure(mean[COCO_IOUS.index(0.75)]),
        by_size=by_size,
        by_class=_by_class(rankings, dataset.classes),
        masks=_mask_accuracy(predictions, dataset, settings),
    )


def _mask_accuracy(predictions: Predictions, dataset: Dataset, settings: EvaluationSettings) -> MaskAccuracy | None:
    if predictions.mask_overlaps is None:
        return None
    matches = match_predictions(predictions, dataset, settings, by_masks=True)
    rankings = rank(matches.at_coco_ious(), len(dataset.classes))
    mean = mean_average_precision(rankings)
    return MaskAccuracy(
        map50_95=_figure(mean.mean()),
        map50=_figure(mean[COCO_IOUS.index(0.5)]),
        map75=_figure(mean[COCO_IOUS.index(0.75)]),
        by_class=_by_class(rankings, dataset.classes),
    )


def _by_class(rankings: Sequence[ClassRanking], classes: Sequence[str]) -> dict[str, ClassAccuracy]:
    return {
        name: ClassAccuracy(boxes=int(ranking.true_per_image.sum()), ap50_95=_figure(ap.mean()), ap50=_figure(ap[0]))
        for name, ranking, ap in zip(classes, rankings, map(average_precision, rankings), strict=True)
    }


def _figure(value: Floats | np.floating) -> Figure | None:
    return None if np.isnan(value) else float(value)


def longer_sides(predictions: Predictions, dataset: Dataset) -> Floats:
    """Return the longer side of each true box, in pixels of the network's input."""
    sides = (
        image.sides_wh.max(axis=1, initial=0.0) * predictions.input_scale(image.size_wh) for image in dataset.images
    )
    return np.fromiter(chain.from_iterable(sides), np.float64)


def _describe_model(model: Model, predictions: Predictions) -> EvaluatedModel:
    size = count_graph(model, predictions.shapes_hw[0])
    return EvaluatedModel(
        name=model.name,
        sha256=model.sha256,
        task=model.head.task,
        precision=model.precision,
        file_bytes=model.path.stat().st_size,
        params=size.params,
        macs=size.macs,
        input_shapes_hw=predictions.shapes_hw,
    )


def _describe_data(dataset: Dataset) -> EvaluatedData:
    return EvaluatedData(
        split=dataset.split,
        sha256=dataset.sha256(),
        images=len(dataset.images),
        clean_images=sum(not len(image.class_id) for image in dataset.images),
        boxes=sum(len(image.class_id) for image in dataset.images),
        classes=dataset.classes,
    )
