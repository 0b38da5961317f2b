# SPDX-License-Identifier: AGPL-3.0-or-later
"""Sparsity training: pulls the scales of channels towards zero, so that pruning finds what can go."""

from __future__ import annotations

from vision_line_compression.pipeline.context import Context, TrainedModel
from vision_line_compression.pipeline.steps.train import train
from vision_line_compression.training.schedule import plan_sparsifying


def sparsify(context: Context) -> TrainedModel:
    """Return the parent after its sparsity training; the parent itself where the recipe has no `[sparsify]`."""
    recipe = context.recipe
    if recipe.sparsify is None:
        return TrainedModel(context.parent, 0)
    schedule = plan_sparsifying(recipe.sparsify, recipe.train, recipe.seed)
    return TrainedModel(train(context, "sparsify", context.parent, schedule), schedule.epochs)
