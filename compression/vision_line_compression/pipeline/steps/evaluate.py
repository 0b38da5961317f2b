# SPDX-License-Identifier: AGPL-3.0-or-later
"""The evaluation of one model of the report, on the test split."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydantic import JsonValue

from vision_line.devices.model.model import Model, open_model
from vision_line.ports import ProgressCallback
from vision_line_compression.bundle.bundle_proof import UNSIGNED_FILE
from vision_line_compression.evaluate.evaluation import measure
from vision_line_compression.evaluate.predict import only_variant, predict, save_predictions
from vision_line_compression.pipeline.context import Artifact, Context, plain
from vision_line_compression.pipeline.recipe import Recipe
from vision_line_compression.pipeline.stage import Stage
from vision_line_compression.quantize.encodings import UNSIGNED

EVALUATION, PREDICTIONS = "evaluation.json", "predictions.npz"


def evaluate(context: Context, name: str, onnx: Artifact) -> Stage:
    """Return the stage; it keeps the predictions, so that pairs can be compared.

    What this processor does not compute rightly on integers is executed in float, and the evaluation says so.
    """

    def work(folder: Path, progress: ProgressCallback) -> list[Path]:
        recipe, test = context.recipe, context.test_images
        model, settings = open_measured(onnx.path, recipe), recipe.evaluate.model_copy(update={"speed_s": 0.0})
        predictions = predict(model, test, settings=settings, progress=progress, float_execution=True)
        evaluation = measure(predictions, model, test, settings)
        save_predictions(predictions, folder / PREDICTIONS)
        evaluation.write(folder / EVALUATION)
        return [folder / EVALUATION, folder / PREDICTIONS]

    # the name is part of the key: two rows of one file are two stages; version 2 says what computed it
    return context.stage(
        f"eval-{name}", work, measured_by(context.recipe), after=onnx.after, data=("judge",), version=2
    )


def open_measured(path: Path, recipe: Recipe) -> Model:
    """Open an ONNX file as the model that the bundle would hold: its shapes and thresholds are the recipe's.

    A bundle's folder is the model in all its variants, its unsigned file the model in that variant alone.
    """
    return replace(
        only_variant(open_model(path.parent), UNSIGNED.name) if path.name == UNSIGNED_FILE else open_model(path),
        input_shapes_hw=recipe.input.shapes_hw,
        score_threshold=recipe.operating.score,
        nms_iou=recipe.operating.nms_iou,
    )


def measured_by(recipe: Recipe) -> dict[str, JsonValue]:
    """Return by which settings models are measured, but for how long their speed is."""
    settings = {key: value for key, value in plain(recipe.evaluate).items() if key != "speed_s"}
    return {"evaluate": settings, "operating": plain(recipe.operating), "input": plain(recipe.input)}
