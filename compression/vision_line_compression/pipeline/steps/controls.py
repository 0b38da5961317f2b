# SPDX-License-Identifier: AGPL-3.0-or-later
"""The controls of the report: what the same epochs would have given without pruning, a teacher, steps or a plan."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import nn
from ultralytics.nn.tasks import DetectionModel

from vision_line.errors import ModelError
from vision_line.ports import ProgressCallback, ShapeHW
from vision_line_compression.network.checkpoint import Checkpoint, complexity, load_checkpoint, save_checkpoint
from vision_line_compression.network.detection_network import network_of
from vision_line_compression.pipeline.context import Context, TrainedModel
from vision_line_compression.pipeline.recipe import Control
from vision_line_compression.pipeline.steps.distill import distill
from vision_line_compression.pipeline.steps.prune import PRUNED
from vision_line_compression.pipeline.steps.recover import (
    PruningChain,
    all_ends,
    fine_tuning,
    fine_tuning_epochs,
    prune_and_fine_tune,
)
from vision_line_compression.pipeline.steps.train import train
from vision_line_compression.prune.settings import Budget
from vision_line_compression.training.schedule import Phase, Schedule, plan_distillation, plan_qat, plan_sparsifying

NARROW = "narrow.pt"

#: Steps of the width multiplier that are tried, relative to the parent's.
_STEPS = 64


def control(
    context: Context, wanted: Control, start: TrainedModel, chain: PruningChain | None, fine_tuned: TrainedModel
) -> TrainedModel:
    """Return the model of one control; `start`, `chain` and `fine_tuned` are the product's.

    Raises:
        ValueError: it compares prunings, and the recipe prunes nothing.
    """
    match wanted:
        case Control.LONGER:
            return _longer(context)
        case Control.NO_TEACHER:
            return distill(context, "no-teacher", fine_tuned, teacher=False)
        case Control.UNIFORM:
            return _uniform(context, start)
        case Control.ONE_SHOT:
            return _one_shot(context, start)
        case Control.NARROW:
            if chain is None:
                raise ValueError(f"{wanted}: the recipe prunes nothing")
            return _narrow(context, chain)


def _longer(context: Context) -> TrainedModel:
    """Train the parent with the very phases that the product had."""
    recipe = context.recipe
    schedule = Schedule(phases=_all_phases(context), train=recipe.train, seed=recipe.seed)
    return TrainedModel(train(context, "longer", context.parent, schedule), schedule.epochs)


def _uniform(context: Context, start: TrainedModel) -> TrainedModel:
    recipe = context.recipe
    section = recipe.pruning.model_copy(update={"method": "uniform"})
    chain = prune_and_fine_tune(context, "uniform-", section, start.checkpoint, all_ends(recipe))
    epochs = start.epochs + fine_tuning_epochs(recipe)
    return distill(context, "uniform-distill", TrainedModel(chain.fine_tuned, epochs))


def _one_shot(context: Context, start: TrainedModel) -> TrainedModel:
    recipe = context.recipe
    epochs = fine_tuning_epochs(recipe)
    ends: list[tuple[Budget, int | None]] = [(recipe.pruning.budget, epochs)]
    chain = prune_and_fine_tune(context, "one-shot-", recipe.pruning, start.checkpoint, ends)
    return distill(context, "one-shot-distill", TrainedModel(chain.fine_tuned, start.epochs + epochs))


def _narrow(context: Context, chain: PruningChain) -> TrainedModel:
    """Scale the family's network down to the product's operations, and train it from scratch as long."""
    recipe, pruned = context.recipe, chain.pruned

    def work(folder: Path, _progress: ProgressCallback) -> list[Path]:
        example = context.output(pruned, PRUNED).path
        return [write_narrow_network(context.inputs.parent, example, folder, recipe.pruning.size_hw, recipe.seed)]

    stage = context.stage("narrow-build", work, {"seed": recipe.seed}, after=(pruned,))
    epochs = (recipe.parent.epochs or 0) + sum(phase.epochs for phase in _all_phases(context))
    settings = recipe.train.model_copy(update={"warmup_epochs": min(3.0, epochs / 10)})
    phase = Phase(name="scratch", epochs=epochs, rate=settings.base_rate, final_share=0.01)
    schedule = Schedule(phases=(phase,), train=settings, seed=recipe.seed)
    return TrainedModel(train(context, "narrow", context.output(stage, NARROW), schedule), epochs)


def _all_phases(context: Context) -> tuple[Phase, ...]:
    """Return every phase of training that the product had after the parent; channels are pulled to zero in none."""
    recipe = context.recipe
    schedules: list[Schedule] = []
    if recipe.sparsify is not None:
        schedules.append(plan_sparsifying(recipe.sparsify, recipe.train, recipe.seed))
    schedules += [fine_tuning(recipe, step.epochs) for step in recipe.step]
    schedules.append(fine_tuning(recipe, None))
    if recipe.distill is not None:
        schedules.append(plan_distillation(recipe.distill, recipe.train, recipe.seed))
    if recipe.qat is not None:
        schedules.append(plan_qat(recipe.qat, recipe.train, recipe.seed))
    return tuple(
        phase.model_copy(update={"name": f"{phase.name}-{number}", "sparsity": 0.0})
        for number, schedule in enumerate(schedules, start=1)
        for phase in schedule.phases
    )


def write_narrow_network(parent: Checkpoint, example: Path, folder: Path, size_hw: ShapeHW, seed: int) -> Path:
    """Write an untrained network of the parent's family with at most the MACs of `example`, and return its path.

    All widths are those of the parent's YAML times one factor, the largest that fits.

    Raises:
        ModelError: no factor fits.
    """
    limit = complexity(load_checkpoint(example).model, size_hw).macs
    torch.manual_seed(seed)
    for step in range(_STEPS, 0, -1):
        model = _scaled(parent, step / _STEPS)
        if complexity(model, size_hw).macs <= limit:
            save_checkpoint(model, folder / NARROW, parent)
            return folder / NARROW
    raise ModelError(f"{parent.path}: even the narrowest network of its family needs more than {limit} MACs")


def _scaled(parent: Checkpoint, factor: float) -> nn.Module:
    layout = copy.deepcopy(network_of(parent.model).yaml)
    scale = layout.get("scale") or next(iter(layout["scales"]))
    depth, width, most_channels = layout["scales"][scale]
    layout["scales"] = {scale: [depth, width * factor, most_channels]}
    layout["scale"] = scale
    model: nn.Module = DetectionModel(layout, ch=3, nc=len(parent.classes), verbose=False)  # type: ignore[no-untyped-call]
    return model.eval()
