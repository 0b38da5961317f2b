# SPDX-License-Identifier: AGPL-3.0-or-later
"""What convolutions cost on this machine: measured once, for budgets that are a share of the latency."""

from __future__ import annotations

import copy
from pathlib import Path

from vision_line.ports import ProgressCallback, ShapeHW
from vision_line_compression.network.checkpoint import load_checkpoint
from vision_line_compression.network.split_blocks import split_blocks
from vision_line_compression.pipeline.context import Context
from vision_line_compression.pipeline.stage import Stage, StagePlace
from vision_line_compression.prune.latency import measure_latency
from vision_line_compression.prune.structure import survey_convolutions

LATENCY = "latency.json"


def latency(context: Context) -> Stage | None:
    """Return the stage that measures them at every width; None where no budget asks for it."""
    recipe, parent = context.recipe, context.parent
    if recipe.prune is None:
        return None
    if all(budget.latency is None for budget in (recipe.prune.budget, *(step.budget for step in recipe.step))):
        return None
    size_hw = recipe.prune.size_hw

    def work(folder: Path, _progress: ProgressCallback) -> list[Path]:
        return _measure(folder, parent.path, size_hw)

    return context.stage("latency", work, {"size_hw": list(size_hw)}, start=parent, place=StagePlace.HERE)


def _measure(folder: Path, checkpoint: Path, size_hw: ShapeHW) -> list[Path]:
    model = copy.deepcopy(load_checkpoint(checkpoint).model)
    split_blocks(model)
    measure_latency(survey_convolutions(model), size_hw).write(folder / LATENCY)
    return [folder / LATENCY]
