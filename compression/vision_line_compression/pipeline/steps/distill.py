# SPDX-License-Identifier: AGPL-3.0-or-later
"""Distillation: the fine-tuned network learns from a teacher."""

from __future__ import annotations

import json
import logging
import tempfile
from dataclasses import replace
from pathlib import Path

from pydantic import JsonValue

from vision_line.ports import ProgressCallback
from vision_line_compression.evaluate.evaluation import evaluate, open_evaluated
from vision_line_compression.files import write_whole
from vision_line_compression.network.checkpoint import load_checkpoint
from vision_line_compression.network.ultralytics_log import NOWHERE, ultralytics_log
from vision_line_compression.pipeline.context import Context, TrainedModel, plain
from vision_line_compression.pipeline.inputs import Inputs
from vision_line_compression.pipeline.stage import StagePlace
from vision_line_compression.pipeline.steps.teacher import teacher_file
from vision_line_compression.pipeline.steps.train import TRAINED, deciding, run_training, train, training_version
from vision_line_compression.training.distillation import Architecture, Distillation, teacher_warnings
from vision_line_compression.training.schedule import plan_distillation

logger = logging.getLogger(__name__)

#: What speaks against the teacher.
TEACHER = "teacher.json"
#: Validation images of a quick look that decides nothing but a warning.
_GLANCE = 100


def distill(context: Context, name: str, start: TrainedModel, *, teacher: bool = True) -> TrainedModel:
    """Return the model after its training with the recipe's teacher; without `teacher` its control: labels alone.

    Where the recipe has no `[distill]` it is the model itself.
    """
    recipe, inputs = context.recipe, context.inputs
    settings = recipe.distill
    if settings is None:
        return start
    schedule = plan_distillation(settings, recipe.train, recipe.seed)
    epochs = start.epochs + settings.epochs
    if not teacher:
        return TrainedModel(train(context, name, start.checkpoint, schedule), epochs)
    taught_by = teacher_file(context)
    distillation = Distillation(taught_by.path, settings)

    def work(folder: Path, progress: ProgressCallback) -> list[Path]:
        _validate_teacher(folder / TEACHER, start.checkpoint.path, taught_by.path, inputs)
        trained = run_training(context, folder, start.checkpoint.path, schedule, progress, distillation)
        return [trained, folder / TEACHER]

    # whether the result is kept, and the name of the teacher's file, are no matter to it; a trained one is a stage
    used: dict[str, JsonValue] = {key: value for key, value in plain(settings).items() if key != "keep"}
    used["teacher"] = inputs.teacher.sha256 if taught_by.stage is None else "trained"
    key: dict[str, JsonValue] = {"schedule": deciding(schedule), "distill": used}
    stage = context.stage(
        name,
        work,
        key,
        data=("train", "val"),
        start=start.checkpoint,
        after=taught_by.after,
        version=training_version(context),
        place=StagePlace.TRAINING,
    )
    return TrainedModel(context.output(stage, TRAINED), epochs)


def _validate_teacher(result: Path, student: Path, teacher: Path, inputs: Inputs) -> None:
    """Write and log what speaks against the teacher, once."""
    if result.exists():
        return
    scores = {
        "student_map50_95": validation_map(student, inputs, _GLANCE),
        "teacher_map50_95": validation_map(teacher, inputs, _GLANCE),
    }
    opened = load_checkpoint(teacher)
    ours, theirs = Architecture.of(load_checkpoint(student)), Architecture.of(opened)
    warnings = teacher_warnings(ours, theirs, *scores.values())
    content = {"teacher_sha256": opened.sha256, **scores, "warnings": warnings}
    write_whole(result, json.dumps(content, indent=1).encode() + b"\n")
    for warning in warnings:
        logger.warning("%s", warning)


def validation_map(checkpoint: Path, inputs: Inputs, images: int) -> float | None:
    """Return the mAP50-95 that decides of a checkpoint on at most this many validation images, by the application."""
    with tempfile.TemporaryDirectory(prefix="vision-line-glance-") as work:
        with ultralytics_log(NOWHERE):
            opened = open_evaluated(checkpoint, Path(work))
        model = replace(opened, input_shapes_hw=inputs.loaded.recipe.input.shapes_hw[:1])
        return evaluate(model, inputs.val.subset(images)).accuracy.deciding
