# SPDX-License-Identifier: AGPL-3.0-or-later
"""Sparsity training: pulls the scales of channels towards zero, so that pruning finds what can go."""

from __future__ import annotations

from vision_line_compression.pipeline.context import Artifact, Context
from vision_line_compression.pipeline.steps.train import train
from vision_line_compression.training.schedule import plan_sparsifying


def sparsify(context: Context) -> Artifact:
    """Return the parent after its sparsity training; the parent itself where the recipe has no `[sparsify]`."""
    recipe = context.recipe
    if recipe.sparsify is None:
        return context.parent
    schedule = plan_sparsifying(recipe.sparsify, recipe.train, recipe.seed)
    return train(context, "sparsify", context.parent, schedule)
