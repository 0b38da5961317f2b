# SPDX-License-Identifier: AGPL-3.0-or-later
"""Quantization-aware training: the model trains while it is rounded to INT8."""

from __future__ import annotations

from pathlib import Path

from pydantic import JsonValue

from vision_line.ports import ProgressCallback
from vision_line_compression.pipeline.context import Context, TrainedModel
from vision_line_compression.pipeline.steps.train import TRAINED, deciding, run_training
from vision_line_compression.training.schedule import plan_qat


def train_quantization_aware(context: Context, start: TrainedModel) -> TrainedModel:
    """Return the model after it; the model itself where the recipe has no `[qat]`."""
    recipe = context.recipe
    if recipe.qat is None:
        return start
    schedule = plan_qat(recipe.qat, recipe.train, recipe.seed)

    def work(folder: Path, progress: ProgressCallback) -> list[Path]:
        return [run_training(context, folder, start.checkpoint.path, schedule, progress, quantization_aware=True)]

    key: dict[str, JsonValue] = {"schedule": deciding(schedule), "quantization_aware": True}
    stage = context.stage("qat", work, key, data=("train", "val"), start=start.checkpoint)
    return TrainedModel(context.output(stage, TRAINED), start.epochs + recipe.qat.epochs)
