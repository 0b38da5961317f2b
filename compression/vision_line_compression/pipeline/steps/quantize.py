# SPDX-License-Identifier: AGPL-3.0-or-later
"""INT8 quantization: calibrates once, keeps float what must stay float, and writes a file for each method."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pydantic import JsonValue

from vision_line.devices.model.model import open_model
from vision_line.ports import ProgressCallback
from vision_line_compression.data.dataset import Dataset
from vision_line_compression.data.tensors import network_inputs
from vision_line_compression.evaluate.evaluation import evaluate
from vision_line_compression.evaluate.results import Evaluation
from vision_line_compression.files import write_whole
from vision_line_compression.pipeline.context import Artifact, Context, plain
from vision_line_compression.pipeline.recipe import AUTO, QuantizeSection, Recipe
from vision_line_compression.pipeline.stage import Stage
from vision_line_compression.pipeline.steps.evaluate import measured_by, open_measured
from vision_line_compression.quantize.calibrate import RangeCalibration, calibrate
from vision_line_compression.quantize.method_choice import MethodChoice, MethodTrial, choose_method
from vision_line_compression.quantize.mixed_precision import (
    MixedPrecision,
    MixedPrecisionSettings,
    narrow_mixed_precision,
    parts_of,
    rank_by_closeness,
    rank_parts,
    search_mixed_precision,
)
from vision_line_compression.quantize.onnx_session import InputImage, compare_outputs
from vision_line_compression.quantize.quantizer import quantize_calibrated
from vision_line_compression.quantize.settings import PlacementSettings, QuantizeReport, QuantizeSettings
from vision_line_compression.quantize.thresholds import Method
from vision_line_compression.report.card import RowKind

QUANTIZATION, MIXED_PRECISION, CHOICE = "quantization.json", "protection.json", "choice.json"

#: Validation images on which outputs are compared to rank the parts of a network; each part costs one run over them.
_COMPARED_IMAGES = 8


def quantize(context: Context, onnx: Artifact, name: str = "quantize") -> Stage:
    """Return the stage that makes the INT8 files: see `int8_files`."""

    def work(folder: Path, progress: ProgressCallback) -> list[Path]:
        return quantize_file(context, folder, onnx.path, progress)

    recipe = context.recipe
    # Of a folder of images the content counts, whatever its name.
    settings = {key: value for key, value in plain(recipe.quantize).items() if key != "calibration"}
    key = {"quantize": settings, **measured_by(recipe)}
    # version 2 ranks the parts that may stay float by what they do to the outputs
    version = 1 if recipe.quantize.protect is None else 2
    return context.stage(name, work, key, after=onnx.after, data=(context.calibration_split, "val"), version=version)


def int8_files(context: Context, stage: Stage) -> Mapping[RowKind, Artifact]:
    """Return the files that the stage leaves, each by its row of the report."""
    return {int8_row(method): context.output(stage, _file_of(method)) for method in _methods(context.recipe.quantize)}


def int8_row(method: str) -> RowKind:
    """Return the row of the report that shows what `method` calibrated; of `auto` the one that was chosen."""
    return RowKind(f"int8-{method}")


def _file_of(method: str) -> str:
    return f"model.int8-{method}.onnx"


def _methods(section: QuantizeSection) -> tuple[str, ...]:
    """Return the method that ships and those it is compared with, each once."""
    return tuple(dict.fromkeys((str(section.method), *map(str, section.compare))))


def quantize_file(context: Context, folder: Path, float_onnx: Path, progress: ProgressCallback) -> list[Path]:
    """Calibrate once, then quantize by every method of the recipe; return the files that were written.

    With `auto` the method is chosen first, all convolutions quantized. The parts that a search wants to stay float stay
    float in all files.
    """
    recipe = context.recipe
    section = recipe.quantize
    images = context.calibration_images(section.calibration_images)
    seen = _reported(network_inputs(images, recipe.input.shapes_hw), len(images.images), progress)
    calibration = calibrate(float_onnx, seen)
    outputs: list[Path] = []
    placement = section.model_dump(include=set(PlacementSettings.model_fields))
    method: Method
    if section.method == AUTO:
        choice = _choose_method(context, folder, float_onnx, QuantizeSettings.model_validate(placement), calibration)
        choice.write(folder / CHOICE)
        outputs.append(folder / CHOICE)
        method = choice.chosen
    else:
        method = section.method
    settings = QuantizeSettings.model_validate(placement | {"method": method})
    if section.protect is not None:
        kept = _search_mixed_precision(context, folder, float_onnx, settings, section.protect, calibration)
        settings = settings.model_copy(update={"keep_float": (*settings.keep_float, *kept.keep_float)})
        kept.write(folder / MIXED_PRECISION)
        outputs.append(folder / MIXED_PRECISION)
    reports: dict[str, JsonValue] = {}
    for name in _methods(section):
        chosen = settings.model_copy(update={"method": method if name == AUTO else Method(name)})
        path = folder / _file_of(name)
        reports[name] = quantize_calibrated(float_onnx, path, chosen, calibration).model_dump(mode="json")
        outputs.append(path)
    write_whole(folder / QUANTIZATION, json.dumps(reports, indent=1).encode() + b"\n")
    return [*outputs, folder / QUANTIZATION]


def _reported(images: Iterable[InputImage], total: int, progress: ProgressCallback) -> Iterator[InputImage]:
    for number, image in enumerate(images, start=1):
        yield image
        progress(number, total)


def _choose_method(
    context: Context, folder: Path, float_onnx: Path, settings: QuantizeSettings, calibration: RangeCalibration
) -> MethodChoice:
    """Try every method on validation images: the images of the report choose nothing."""
    recipe = context.recipe
    images = context.inputs.val.subset(recipe.quantize.protect_images)
    path = folder / "trial.onnx"
    trials = []
    for method in Method:
        quantize_calibrated(float_onnx, path, settings.model_copy(update={"method": method}), calibration)
        evaluation = _evaluate_trial(path, images, recipe)
        point = evaluation.operating[0]
        trials.append(
            MethodTrial(method=method, map50_95=evaluation.accuracy.deciding, missed=point.missed, boxes=point.boxes)
        )
    path.unlink()
    return choose_method(trials, len(images.images))


def _search_mixed_precision(
    context: Context,
    folder: Path,
    float_onnx: Path,
    settings: QuantizeSettings,
    wanted: MixedPrecisionSettings,
    calibration: RangeCalibration,
) -> MixedPrecision:
    """Search the parts of the network that must stay float."""
    recipe = context.recipe
    images = context.inputs.val.subset(recipe.quantize.protect_images)
    trial = folder / "trial.onnx"
    head = open_model(float_onnx).head

    def quantized(keep_float: tuple[str, ...]) -> QuantizeReport:
        chosen = settings.model_copy(update={"keep_float": (*settings.keep_float, *keep_float)})
        return quantize_calibrated(float_onnx, trial, chosen, calibration)

    def score(keep_float: tuple[str, ...]) -> float:
        quantized(keep_float)
        return _map(trial, images, recipe)

    few = list(network_inputs(images.subset(_COMPARED_IMAGES), recipe.input.shapes_hw))

    def closeness(keep_float: tuple[str, ...]) -> float:
        quantized(keep_float)
        return compare_outputs(float_onnx, trial, few, task=head.task).sqnr_db

    everything = quantized(())
    parts = rank_parts(everything)
    if not head.is_end2end:  # of others the outputs' rows cannot be distinguished
        parts = rank_by_closeness(parts, closeness)
    found = search_mixed_precision(parts, score, _map(float_onnx, images, recipe), wanted)
    narrowed = narrow_mixed_precision(found, parts_of(everything), score, wanted)
    trial.unlink()
    return narrowed


def _map(onnx: Path, images: Dataset, recipe: Recipe) -> float:
    return _evaluate_trial(onnx, images, recipe).accuracy.deciding or 0.0


def _evaluate_trial(onnx: Path, images: Dataset, recipe: Recipe) -> Evaluation:
    """Evaluate a file that is tried, in float where this processor needs that; its speed decides nothing."""
    settings = recipe.evaluate.model_copy(update={"speed_s": 0.0})
    return evaluate(open_measured(onnx, recipe), images, settings=settings, float_execution=True)
