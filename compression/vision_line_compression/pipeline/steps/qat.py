# SPDX-License-Identifier: AGPL-3.0-or-later
"""Quantization-aware training: the model trains while it is rounded to INT8."""

from __future__ import annotations

from vision_line_compression.pipeline.context import Context, TrainedModel
from vision_line_compression.pipeline.steps.train import train
from vision_line_compression.training.schedule import plan_qat


def train_quantization_aware(context: Context, start: TrainedModel) -> TrainedModel:
    """Return the model after it; the model itself where the recipe has no `[qat]`."""
    recipe = context.recipe
    if recipe.qat is None:
        return start
    schedule = plan_qat(recipe.qat, recipe.train, recipe.seed)
    trained = train(context, "qat", start.checkpoint, schedule, quantization_aware=True)
    return TrainedModel(trained, start.epochs + recipe.qat.epochs)
