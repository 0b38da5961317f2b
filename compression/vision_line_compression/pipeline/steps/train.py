# SPDX-License-Identifier: AGPL-3.0-or-later
"""Training from labels alone; and the training that all steps with epochs share."""

from __future__ import annotations

import shutil
from pathlib import Path

from pydantic import JsonValue

from vision_line.ports import ProgressCallback
from vision_line_compression.pipeline.context import Artifact, Context
from vision_line_compression.pipeline.stage import StagePlace
from vision_line_compression.training.distillation import Distillation
from vision_line_compression.training.fine_tuning import link_training_data, recover
from vision_line_compression.training.schedule import Schedule

TRAINED = "trained.pt"

#: Version 2 trains on the labels as they were read, and on no fewer images; version 3 resizes as an inspection does.
_VERSION, _RESIZING_VERSION = 2, 3


def train(
    context: Context, name: str, start: Artifact, schedule: Schedule, *, quantization_aware: bool = False
) -> Artifact:
    """Return the checkpoint that a training from labels alone leaves."""
    aware: dict[str, JsonValue] = {"quantization_aware": True} if quantization_aware else {}

    def work(folder: Path, progress: ProgressCallback) -> list[Path]:
        return [run_training(context, folder, start.path, schedule, progress, quantization_aware=quantization_aware)]

    stage = context.stage(
        name,
        work,
        {"schedule": deciding(schedule), **aware},
        data=("train", "val"),
        start=start,
        version=training_version(context),
        place=StagePlace.TRAINING,
    )
    return context.output(stage, TRAINED)


def run_training(
    context: Context,
    folder: Path,
    checkpoint: Path,
    schedule: Schedule,
    progress: ProgressCallback,
    distillation: Distillation | None = None,
    *,
    quantization_aware: bool = False,
) -> Path:
    """Train, continuing what an interruption left in `folder`; return the trained checkpoint."""
    inputs, linked = context.inputs, folder / "data"  # its own: trainings of several processes share no caches
    data_yaml = link_training_data(linked, {"train": inputs.train, "val": inputs.val})
    result = recover(
        checkpoint,
        data_yaml,
        schedule,
        folder / "training",
        distillation,
        progress,
        quantization_aware=quantization_aware,
    )
    kept = folder / TRAINED
    shutil.copyfile(result, kept)
    shutil.rmtree(linked)
    return kept


def training_version(context: Context) -> int:
    """Return the version of a training's results: that of resizing where any image of the data set is resized."""
    side = context.recipe.train.image_size
    images = (image for data in (context.inputs.train, context.inputs.val) for image in data.images)
    return _RESIZING_VERSION if any(max(image.size_wh) != side for image in images) else _VERSION


def deciding(schedule: Schedule) -> dict[str, JsonValue]:
    """Return what of a schedule its result depends on: not how fast it is done, nor what it has none of."""
    left_out = {"threads", "workers", "cache"}
    if not schedule.train.corrupted:
        left_out.add("corrupted")
    return schedule.model_dump(mode="json", exclude={"train": left_out})
