# SPDX-License-Identifier: AGPL-3.0-or-later
"""The teacher: a checkpoint that is there, or a larger model of the family that is trained on this data first."""

from __future__ import annotations

from pathlib import Path

from pydantic import JsonValue

from vision_line.ports import ProgressCallback
from vision_line_compression.network.checkpoint import save_checkpoint
from vision_line_compression.pipeline.context import Artifact, Context, TrainedModel
from vision_line_compression.pipeline.steps.train import train
from vision_line_compression.training.schedule import Phase, Schedule

_START = "start.pt"


def trained_teacher(context: Context) -> TrainedModel | None:
    """Return the teacher that the recipe trains; None where it trains none."""
    recipe, network = context.recipe, context.inputs.teacher_network
    section = recipe.teacher
    if section is None or network is None:
        return None

    def work(folder: Path, _progress: ProgressCallback) -> list[Path]:
        save_checkpoint(network.model, folder / _START, context.inputs.parent)
        return [folder / _START]

    key: dict[str, JsonValue] = {"seed": recipe.seed, "network": network.sha256}
    built = context.stage("teacher-build", work, key, start=context.parent)
    settings = recipe.train.model_copy(update={"warmup_epochs": section.warmup_epochs})
    rate = section.rate_share * settings.base_rate
    phase = Phase(name="teacher", epochs=section.epochs, rate=rate, final_share=0.01)
    schedule = Schedule(phases=(phase,), train=settings, seed=recipe.seed)
    return TrainedModel(train(context, "teacher", context.output(built, _START), schedule), section.epochs)


def teacher_file(context: Context) -> Artifact:
    """Return the checkpoint of the recipe's teacher."""
    trained = trained_teacher(context)
    return Artifact(context.inputs.teacher.path) if trained is None else trained.checkpoint
