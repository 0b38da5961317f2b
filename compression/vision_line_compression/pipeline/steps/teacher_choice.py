# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether the teacher paid: the distilled model, or the one of the same epochs without, whichever `val` prefers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from vision_line.ports import ProgressCallback
from vision_line_compression.files import Document
from vision_line_compression.pipeline.context import Context, TrainedModel
from vision_line_compression.pipeline.steps.distill import validation_map
from vision_line_compression.pipeline.steps.train import TRAINED

TAKEN = "taken.json"


class TeacherChoice(Document):
    """`taken.json`: mAP50-95 on the validation images with and without the teacher, and what goes on."""

    with_teacher: float
    without_teacher: float
    images: int
    taken: Literal["with-teacher", "without-teacher"]

    @property
    def sentence(self) -> str:
        """Say what was decided, and why."""
        figures = f"{self.with_teacher:.3f} with it, {self.without_teacher:.3f} after the same epochs without"
        which = (
            "goes on" if self.taken == "with-teacher" else "did not pay and is skipped: the model without it goes on"
        )
        return f"The distillation {which} (mAP50-95 on {self.images} validation images: {figures})."


def choose(context: Context, distilled: TrainedModel, untaught: TrainedModel) -> TrainedModel:
    """Return the better one on the validation images; where they are alike, the one without a teacher."""
    inputs = context.inputs

    def work(folder: Path, _progress: ProgressCallback) -> list[Path]:
        images = len(inputs.val.images)
        with_teacher, without = (
            validation_map(one.checkpoint.path, inputs, images) or 0.0 for one in (distilled, untaught)
        )
        taken: Literal["with-teacher", "without-teacher"] = (
            "with-teacher" if with_teacher > without else "without-teacher"
        )
        choice = TeacherChoice(with_teacher=with_teacher, without_teacher=without, images=images, taken=taken)
        source = distilled if taken == "with-teacher" else untaught
        shutil.copyfile(source.checkpoint.path, folder / TRAINED)
        choice.write(folder / TAKEN)
        return [folder / TRAINED, folder / TAKEN]

    key: dict[str, JsonValue] = {"shape_hw": list(context.recipe.input.shapes_hw[0])}
    after = (*distilled.checkpoint.after, *untaught.checkpoint.after)
    stage = context.stage("choice", work, key, after=after, data=("val",))
    return TrainedModel(context.output(stage, TRAINED), distilled.epochs)
