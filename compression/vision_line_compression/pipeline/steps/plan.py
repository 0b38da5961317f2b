# SPDX-License-Identifier: AGPL-3.0-or-later
"""The pruning plan: which channels go, decided by sensitivity and budget."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue
from torch import nn

from vision_line.ports import ProgressCallback
from vision_line_compression.data.tensors import LabelledLoss
from vision_line_compression.network.checkpoint import Checkpoint, load_checkpoint
from vision_line_compression.pipeline.context import Artifact, Context, plain
from vision_line_compression.pipeline.recipe import PruneSection
from vision_line_compression.pipeline.stage import Stage, StagePlace
from vision_line_compression.pipeline.steps.latency import LATENCY, latency
from vision_line_compression.prune.latency import LatencyTable
from vision_line_compression.prune.plan import PruningPlan, write_plot
from vision_line_compression.prune.planner import plan_pruning
from vision_line_compression.prune.sensitivity import Score
from vision_line_compression.prune.settings import CostKind, PruneSettings
from vision_line_compression.training.distributed import first_device

PLAN, PLOT = "plan.json", "plan.svg"


def plan(context: Context, name: str, start: Artifact, section: PruneSection, first: Stage | None) -> Stage:
    """Return the stage that leaves the plan and its plot.

    `first` is the first plan of a progressive pruning: the budget's shares refer to its costs, the original's.
    """
    measured = latency(context)

    def work(folder: Path, progress: ProgressCallback) -> list[Path]:
        inputs = context.inputs
        opened = load_checkpoint(start.path)
        settings = PruneSettings.model_validate(section.model_dump(include=set(PruneSettings.model_fields)))
        size = (section.sensitivity_size, section.sensitivity_size)
        device = first_device(context.recipe.train.device)
        learned = LabelledLoss.on(inputs.train.subset(section.sensitivity_images), size, device)
        labelled = LabelledLoss.on(inputs.val.subset(section.sensitivity_images), size, device)
        result = plan_pruning(
            opened,
            settings,
            _relative_score(labelled, opened),
            differentiate=learned.differentiate,
            latency=None if measured is None else LatencyTable.read(context.output(measured, LATENCY).path),
            progress=progress,
            reference=None if first is None else reference_costs(PruningPlan.read(context.output(first, PLAN).path)),
        )
        result.write(folder / PLAN)
        write_plot(result, folder / PLOT)
        return [folder / PLAN, folder / PLOT]

    after = tuple(stage for stage in (measured, first) if stage is not None)
    return context.stage(
        name,
        work,
        {"prune": _deciding(section)},
        after=after,
        data=("train", "val"),
        start=start,
        version=2 if section.importance == "taylor" else 1,  # version 2 squares the gradients of each image
        place=StagePlace.TRAINING,
    )


def _deciding(section: PruneSection) -> dict[str, JsonValue]:
    """Return what of the section a plan depends on: the table counts by its content, which is a stage's result."""
    return {key: value for key, value in plain(section).items() if key != "latency_table"}


def reference_costs(first: PruningPlan) -> Mapping[CostKind, float]:
    """Return what the original network costs."""
    return {kind: cost.reference for kind, cost in first.costs.items()}


def _relative_score(loss: LabelledLoss, original: Checkpoint) -> Score:
    """Return the original's loss over a model's: 1 for the original, towards 0 for a ruined one."""
    best = loss.mean(original.model)

    def score(model: nn.Module) -> float:
        return best / loss.mean(model)

    return score
