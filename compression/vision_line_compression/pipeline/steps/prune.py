# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pruning: carries a plan out, proves that it was, and measures batch norm statistics anew."""

from __future__ import annotations

from pathlib import Path

from pydantic import JsonValue

from vision_line.ports import ProgressCallback
from vision_line_compression.data.tensors import input_batches
from vision_line_compression.network.checkpoint import load_checkpoint, save_checkpoint
from vision_line_compression.pipeline.context import Artifact, Context
from vision_line_compression.pipeline.stage import Stage, StagePlace
from vision_line_compression.pipeline.steps.plan import PLAN
from vision_line_compression.prune.apply import apply_plan, recalibrate_batch_norm
from vision_line_compression.prune.plan import PruningPlan
from vision_line_compression.training.distributed import first_device

PRUNED, RECALIBRATED = "pruned.pt", "recalibrated.pt"


def prune(context: Context, name: str, start: Artifact, plan: Stage) -> Stage:
    """Return the stage that leaves the pruned network, before and after the recalibration."""
    images, shape_hw = context.recipe.recovery.calibration_images, context.recipe.input.shapes_hw[0]

    def work(folder: Path, _progress: ProgressCallback) -> list[Path]:
        parent = load_checkpoint(start.path)
        model = apply_plan(parent, PruningPlan.read(context.output(plan, PLAN).path))
        save_checkpoint(model, folder / PRUNED, parent)
        batches = input_batches(context.inputs.train.subset(images), shape_hw)
        recalibrate_batch_norm(model, batches, first_device(context.recipe.train.device))
        save_checkpoint(model, folder / RECALIBRATED, parent)
        return [folder / PRUNED, folder / RECALIBRATED]

    settings: dict[str, JsonValue] = {"calibration_images": images, "shape_hw": list(shape_hw)}
    return context.stage(name, work, settings, after=(plan,), data=("train",), start=start, place=StagePlace.TRAINING)
