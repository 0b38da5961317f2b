# SPDX-License-Identifier: AGPL-3.0-or-later
"""The narrow networks of the family with the product's operations: what training alone makes of so small a network."""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import JsonValue

from vision_line.errors import ModelError
from vision_line.ports import ProgressCallback, ShapeHW
from vision_line_compression.network.checkpoint import Checkpoint, complexity, load_checkpoint, save_checkpoint
from vision_line_compression.network.family import scaled_width, with_classes
from vision_line_compression.pipeline.context import Context, TrainedModel
from vision_line_compression.pipeline.stage import Stage
from vision_line_compression.pipeline.steps.distill import distill
from vision_line_compression.pipeline.steps.prune import PRUNED
from vision_line_compression.pipeline.steps.train import train
from vision_line_compression.prune.apply import apply_plan
from vision_line_compression.prune.planner import plan_pruning
from vision_line_compression.prune.settings import Budget, PruneSettings
from vision_line_compression.training.schedule import plan_training

NARROW = "narrow.pt"

#: Steps of the width multiplier that are tried, relative to the parent's.
_STEPS = 64


def narrow_from_scratch(context: Context, pruned: Stage, product_epochs: int) -> TrainedModel:
    """Scale the family's network down to the operations of `pruned`, and train it from scratch as long as all together.

    `product_epochs` are those of the product since the parent.
    """
    recipe = context.recipe

    def work(folder: Path, _progress: ProgressCallback) -> list[Path]:
        example = context.output(pruned, PRUNED).path
        return [write_narrow_network(context.inputs.parent, example, folder, recipe.pruning.size_hw, recipe.seed)]

    stage = context.stage("narrow-build", work, {"seed": recipe.seed}, after=(pruned,))
    epochs = (recipe.parent.epochs or 0) + product_epochs
    schedule = plan_training("scratch", epochs, recipe.train, recipe.seed)
    return TrainedModel(train(context, "narrow", context.output(stage, NARROW), schedule), epochs)


def narrow_from_pretrained(context: Context, pruned: Stage, product_epochs: int) -> TrainedModel:
    """Begin as the parent began, with the family's pretrained weights, and train as long, with the same teacher.

    A network that is larger than `pruned` loses, in all layers alike, its channels of the least weights first.
    """
    recipe, pretrained = context.recipe, context.inputs.pretrained
    if pretrained is None:
        raise ValueError("narrow-pretrained: the recipe has no report.pretrained")

    def work(folder: Path, _progress: ProgressCallback) -> list[Path]:
        example = load_checkpoint(context.output(pruned, PRUNED).path)
        model = cut_to(pretrained, context.inputs.parent, example, folder, recipe.pruning.size_hw, recipe.seed)
        return [model]

    key: dict[str, JsonValue] = {
        "seed": recipe.seed,
        "size_hw": list(recipe.pruning.size_hw),
        "pretrained": pretrained.sha256,
    }
    stage = context.stage("narrow-pretrained-build", work, key, after=(pruned,))
    taught = 0 if recipe.distill is None else recipe.distill.epochs
    epochs = (recipe.parent.epochs or 0) + product_epochs - taught
    schedule = plan_training("pretrained", epochs, recipe.train, recipe.seed)
    trained = train(context, "narrow-pretrained", context.output(stage, NARROW), schedule)
    return distill(context, "narrow-pretrained-distill", TrainedModel(trained, epochs))


def write_narrow_network(parent: Checkpoint, example: Path, folder: Path, size_hw: ShapeHW, seed: int) -> Path:
    """Write an untrained network of the parent's family with at most the MACs of `example`, and return its path.

    All widths are those of the parent's YAML times one factor, the largest that fits.

    Raises:
        ModelError: no factor fits.
    """
    limit = complexity(load_checkpoint(example).model, size_hw).macs
    torch.manual_seed(seed)
    for step in range(_STEPS, 0, -1):
        model = scaled_width(parent, step / _STEPS)
        if complexity(model, size_hw).macs <= limit:
            save_checkpoint(model, folder / NARROW, parent)
            return folder / NARROW
    raise ModelError(f"{parent.path}: even the narrowest network of its family needs more than {limit} MACs")


def cut_to(
    pretrained: Checkpoint, parent: Checkpoint, example: Checkpoint, folder: Path, size_hw: ShapeHW, seed: int
) -> Path:
    """Write the pretrained network, for the parent's classes, with at most the MACs of `example`; return its path.

    Raises:
        ConfigError: it cannot be cut so far.
    """
    path = folder / NARROW
    save_checkpoint(with_classes(pretrained, parent.classes, seed), path, parent)
    whole = load_checkpoint(path)
    share = complexity(example.model, size_hw).macs / complexity(whole.model, size_hw).macs
    if share < 1:
        settings = PruneSettings(budget=Budget(macs=share), method="uniform", neck="free", size_hw=size_hw)
        save_checkpoint(apply_plan(whole, plan_pruning(whole, settings)), path, parent)
    return path
