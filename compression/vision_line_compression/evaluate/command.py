# SPDX-License-Identifier: AGPL-3.0-or-later
"""The `eval` command: any bundle, ONNX file or checkpoint on any YOLO data set, without a recipe."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from vision_line.devices.model.model import Model
from vision_line.ports import ShapeHW
from vision_line_compression.data.dataset import open_dataset
from vision_line_compression.data.grouping import group_images
from vision_line_compression.evaluate.evaluation import measure, open_evaluated
from vision_line_compression.evaluate.grouped_intervals import with_grouped_intervals
from vision_line_compression.evaluate.predict import only_variant, predict
from vision_line_compression.evaluate.results import Evaluation, EvaluationSettings
from vision_line_compression.network.ultralytics_log import NOWHERE, ultralytics_log
from vision_line_compression.progress import ProgressDisplay


def evaluate_model(
    path: Path,
    data_yaml: Path,
    split: str,
    shape_hw: ShapeHW | None,
    settings: Mapping[str, object],
    *,
    variant: str | None = None,
    group: str | None = None,
    as_json: bool,
) -> str:
    """Evaluate a bundle, an ONNX file or a checkpoint; return the evaluation as JSON or as a few lines.

    `variant` names the variant of the model that is to run; None: the first whose proof holds on this processor. An
    INT8 model of which no variant is computed rightly on integers here is refused. `group` says which images belong
    together, as `data.group` of a recipe.

    Raises:
        ConfigError, ModelError, DeviceError, RunError: as opening and evaluating raise them.
    """
    screen = ProgressDisplay()
    with tempfile.TemporaryDirectory(prefix="vision-line-eval-") as work, screen.stage(f"evaluate {path}") as report:
        model = _opened(path, Path(work))
        if variant is not None:
            model = only_variant(model, variant)
        wanted = EvaluationSettings.model_validate(settings)
        dataset = open_dataset(data_yaml, split, task=model.head.task).named_as(model.classes)
        dataset = dataset if wanted.images is None else dataset.subset(wanted.images)
        groups = None if group is None else group_images(dataset, group, "--group")
        predictions = predict(model, dataset, shape_hw, wanted, progress=report)
        evaluation = measure(predictions, model, dataset, wanted)
        if groups is not None:
            evaluation = with_grouped_intervals(evaluation, predictions, dataset, groups)
    return evaluation.model_dump_json(indent=2) if as_json else _in_words(evaluation)


def _opened(path: Path, work: Path) -> Model:
    if path.suffix != ".pt":
        return open_evaluated(path, work)  # without Ultralytics, which takes seconds to import
    with ultralytics_log(NOWHERE):
        return open_evaluated(path, work)


def _in_words(evaluation: Evaluation) -> str:
    accuracy = evaluation.accuracy
    data = evaluation.data
    lines = [
        f"{evaluation.model.name} on {data.images} images of {data.split!r} with {data.boxes} boxes",
        f"mAP50-95 {_share(accuracy.map50_95)}, mAP50 {_share(accuracy.map50)}",
    ]
    if (masks := accuracy.masks) is not None:
        lines[1] += " of boxes"
        lines.append(f"mAP50-95 {_share(masks.map50_95)}, mAP50 {_share(masks.map50)} of masks")
    lines += [
        f"IoU {point.match_iou:g}, score > {point.threshold:g}: missed {point.missed} of {point.boxes}"
        f" ({_share(point.miss_rate.value)}, 95 % interval {point.miss_rate.low:.4f} to {point.miss_rate.high:.4f}),"
        f" {_share(point.false_per_image.value)} false an image"
        for point in evaluation.operating
    ]
    if groups := evaluation.operating[0].groups:
        lines.append(f"intervals over {groups} groups of images")
    if evaluation.execution is not None:
        lines.insert(1, f"computed as {evaluation.execution.form}, on {evaluation.execution.instruction_set}")
    if evaluation.speed is not None:
        speed = evaluation.speed
        lines.append(f"{speed.images_per_s:.1f} images/s, {speed.latency_p50_ms:.1f} ms (p50) on {speed.device}")
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"
