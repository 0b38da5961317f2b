# SPDX-License-Identifier: AGPL-3.0-or-later
"""The speed of several models, measured in turns on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, JsonValue

from vision_line.ports import ProgressCallback
from vision_line_compression.evaluate.predict import why_not_on_integers
from vision_line_compression.evaluate.results import Speed
from vision_line_compression.evaluate.speed import engine_speedup, measure_speed, speedup
from vision_line_compression.files import Document
from vision_line_compression.pipeline.context import Artifact, Context
from vision_line_compression.pipeline.stage import Stage, StagePlace
from vision_line_compression.pipeline.steps.evaluate import measured_by, open_measured

SPEED = "speed.json"


class Speeds(Document):
    """`speed.json`: models measured in turns; the ratios are throughputs as multiples of the parent's.

    `not_timed`: INT8 models that this processor does not compute rightly on integers, and why. Their accuracy is that
    of float execution, whose speed nobody asks for.
    """

    speeds: dict[str, Speed]
    ratios: dict[str, float]
    engine_ratios: dict[str, float]  # of the networks alone
    not_timed: dict[str, str] = Field(default_factory=dict)


def speed(context: Context, parent: str, files: Mapping[str, Artifact]) -> Stage | None:
    """Return the stage that times `files` at the first input shape; None where the recipe does not want it."""
    if not context.recipe.evaluate.speed_s:
        return None

    def work(folder: Path, _progress: ProgressCallback) -> list[Path]:
        recipe, shape_hw = context.recipe, context.recipe.input.shapes_hw[0]
        models = {name: open_measured(file.path, recipe) for name, file in files.items()}
        reasons = {name: why_not_on_integers(model, shape_hw) for name, model in models.items()}
        timed = {name: model for name, model in models.items() if not reasons[name]}
        measured = measure_speed(list(timed.values()), context.inputs.test, shape_hw, seconds=recipe.evaluate.speed_s)
        speeds = dict(zip(timed, measured, strict=True))
        found = Speeds(
            speeds=speeds,
            ratios={name: speedup(one, speeds[parent]) for name, one in speeds.items()},
            engine_ratios={name: engine_speedup(one, speeds[parent]) for name, one in speeds.items()},
            not_timed={name: why for name, why in reasons.items() if why},
        )
        found.write(folder / SPEED)
        return [folder / SPEED]

    after = tuple(stage for file in files.values() for stage in file.after)
    own: dict[str, JsonValue] = {"speed_s": context.recipe.evaluate.speed_s, "machine": context.machine}
    key = measured_by(context.recipe) | own
    return context.stage("speed", work, key, after=after, data=("judge",), place=StagePlace.HERE)
