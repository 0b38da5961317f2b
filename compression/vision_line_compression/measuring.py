# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the stages that turn weights into files and figures do in their folders: export, quantize, measure, pack."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, JsonValue

from vision_line.devices.model import Model, open_model
from vision_line.inspection.heads import HeadKind
from vision_line_compression.bundle import amend_bundle, write_bundle
from vision_line_compression.dataset import Dataset
from vision_line_compression.evaluate.evaluation import evaluate, measure
from vision_line_compression.evaluate.execution import in_form
from vision_line_compression.evaluate.predict import predict, save_predictions
from vision_line_compression.evaluate.robustness import compare_robustness
from vision_line_compression.evaluate.schema import Evaluation, Speed
from vision_line_compression.evaluate.speed import engine_speedup, measure_speed, speedup
from vision_line_compression.evaluate.subject import open_subject
from vision_line_compression.export import export_onnx
from vision_line_compression.inputs import Inputs
from vision_line_compression.pictures import network_inputs
from vision_line_compression.proof_pictures import PictureRGB, drawn_candidates, given_candidates
from vision_line_compression.proving import UNSIGNED_FILE, prove_bundle
from vision_line_compression.quantize.agreement import compare_outputs
from vision_line_compression.quantize.calibrate import Calibration, Picture, calibrate
from vision_line_compression.quantize.encodings import UNSIGNED
from vision_line_compression.quantize.protect import (
    Protection,
    ProtectSettings,
    narrow_protection,
    parts_of,
    rank_by_closeness,
    rank_parts,
    search_protection,
)
from vision_line_compression.quantize.quantizer import quantize_calibrated
from vision_line_compression.quantize.settings import QuantizeReport, QuantizeSettings
from vision_line_compression.quantize.thresholds import Method
from vision_line_compression.quiet import NOWHERE, ultralytics_log
from vision_line_compression.recipe import OperatingSection, QuantizeSection, Recipe
from vision_line_compression.stages import Report, write_whole

FLOAT_ONNX = "model.fp32.onnx"
EVALUATION, PREDICTIONS = "evaluation.json", "predictions.npz"
QUANTIZATION, PROTECTION, SPEED, ROBUSTNESS = "quantization.json", "protection.json", "speed.json", "robustness.json"
BUNDLE = "bundle"

#: Validation pictures of a quick look that decides nothing but a warning.
_GLANCE = 100

#: Calibration pictures among which those of a proof are chosen, where the recipe says so.
_CANDIDATES = 64

#: Validation pictures on which outputs are compared to rank the parts of a network; each part costs one run over them.
_CLOSE_LOOKS = 8


class Speeds(BaseModel):
    """`speed.json`: models measured in turns; the ratios are throughputs as multiples of the parent's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    speeds: dict[str, Speed]
    ratios: dict[str, float]
    engine_ratios: dict[str, float]  # of the networks alone


def subject(path: Path, recipe: Recipe) -> Model:
    """Open an ONNX file as the model that the bundle would hold: its shapes and thresholds are the recipe's.

    A bundle's folder is the model in all its forms, its unsigned file the model in that form alone.
    """
    operating: OperatingSection = recipe.operating
    return replace(
        in_form(open_model(path.parent), UNSIGNED.name) if path.name == UNSIGNED_FILE else open_model(path),
        input_shapes_hw=recipe.input.shapes_hw,
        score_threshold=operating.score,
        nms_iou=operating.nms_iou,
    )


def validation_map(checkpoint: Path, inputs: Inputs) -> float | None:
    """Return the mAP50-95 of a checkpoint on some validation pictures."""
    with tempfile.TemporaryDirectory(prefix="vision-line-glance-") as work:
        with ultralytics_log(NOWHERE):
            opened = open_subject(checkpoint, Path(work))
        model = replace(opened, input_shapes_hw=inputs.loaded.recipe.input.shapes_hw[:1])
        return evaluate(model, inputs.val.subset(_GLANCE)).accuracy.map50_95


def export(folder: Path, checkpoint: Path, recipe: Recipe) -> list[Path]:
    """Write the float ONNX file of a checkpoint."""
    with ultralytics_log(folder / "export.log"):
        return [export_onnx(checkpoint, folder / FLOAT_ONNX, shape_hw=recipe.input.shapes_hw[0])]


def int8_file(method: Method) -> str:
    """Return the name of the INT8 file that `method` calibrated."""
    return f"model.int8-{method.value}.onnx"


def quantize(folder: Path, float_onnx: Path, inputs: Inputs, report: Report) -> list[Path]:
    """Calibrate once, then quantize by every method that the recipe names.

    The parts that a search wants to stay float stay float in all of them.
    """
    recipe = inputs.loaded.recipe
    section = recipe.quantize
    pictures = _calibration_pictures(inputs, section.calibration_images)
    seen = _reported(network_inputs(pictures, recipe.input.shapes_hw), len(pictures.images), report)
    calibration = calibrate(float_onnx, seen)
    outputs = []
    settings = QuantizeSettings.model_validate(section.model_dump(include=set(QuantizeSettings.model_fields)))
    if section.protect is not None:
        protection = _protect(folder, float_onnx, settings, section.protect, calibration, inputs)
        settings = settings.model_copy(update={"keep_float": (*settings.keep_float, *protection.keep_float)})
        write_whole(folder / PROTECTION, protection.model_dump_json(indent=1).encode() + b"\n")
        outputs.append(folder / PROTECTION)
    reports: dict[str, JsonValue] = {}
    for method in methods(section):
        chosen = settings.model_copy(update={"method": method})
        path = folder / int8_file(method)
        reports[method.value] = quantize_calibrated(float_onnx, path, chosen, calibration).model_dump(mode="json")
        outputs.append(path)
    write_whole(folder / QUANTIZATION, json.dumps(reports, indent=1).encode() + b"\n")
    return [*outputs, folder / QUANTIZATION]


def methods(section: QuantizeSection) -> tuple[Method, ...]:
    """Return the method that ships and those it is compared with, each once."""
    return tuple(dict.fromkeys((section.method, *section.compare)))


def _reported(pictures: Iterable[Picture], total: int, report: Report) -> Iterator[Picture]:
    for number, picture in enumerate(pictures, start=1):
        yield picture
        report(number, total)


def _protect(
    folder: Path,
    float_onnx: Path,
    settings: QuantizeSettings,
    wanted: ProtectSettings,
    calibration: Calibration,
    inputs: Inputs,
) -> Protection:
    pictures = inputs.val.subset(inputs.loaded.recipe.quantize.protect_images)
    trial = folder / "trial.onnx"

    def quantized(keep_float: tuple[str, ...]) -> QuantizeReport:
        chosen = settings.model_copy(update={"keep_float": (*settings.keep_float, *keep_float)})
        return quantize_calibrated(float_onnx, trial, chosen, calibration)

    def score(keep_float: tuple[str, ...]) -> float:
        quantized(keep_float)
        return _map(trial, pictures, inputs.loaded.recipe)

    few = list(network_inputs(pictures.subset(_CLOSE_LOOKS), inputs.loaded.recipe.input.shapes_hw))

    def closeness(keep_float: tuple[str, ...]) -> float:
        quantized(keep_float)
        agreement = compare_outputs(float_onnx, trial, few)
        return agreement.box_sqnr_db + agreement.score_sqnr_db

    everything = quantized(())
    parts = rank_parts(everything)
    if open_model(float_onnx).head is HeadKind.YOLOV8:  # of others the outputs' rows cannot be told apart
        parts = rank_by_closeness(parts, closeness)
    found = search_protection(parts, score, _map(float_onnx, pictures, inputs.loaded.recipe), wanted)
    protection = narrow_protection(found, parts_of(everything), score, wanted)
    trial.unlink()
    return protection


def _map(onnx: Path, pictures: Dataset, recipe: Recipe) -> float:
    evaluation = evaluate(subject(onnx, recipe), pictures, settings=recipe.evaluate, float_execution=True)
    return evaluation.accuracy.map50_95 or 0.0


def evaluate_file(folder: Path, onnx: Path, inputs: Inputs, report: Report) -> list[Path]:
    """Evaluate a `subject` on the split that judges; keeps the predictions, so that pairs can be compared.

    What this processor does not compute rightly on integers is executed in float, and the evaluation says so.
    """
    recipe = inputs.loaded.recipe
    model, settings = subject(onnx, recipe), recipe.evaluate.model_copy(update={"speed_s": 0.0})
    judge = inputs.judge if settings.images is None else inputs.judge.subset(settings.images)
    predictions = predict(model, judge, settings=settings, progress=report, float_execution=True)
    evaluation = measure(predictions, model, judge, settings)
    save_predictions(predictions, folder / PREDICTIONS)
    write_whole(folder / EVALUATION, evaluation.model_dump_json(indent=1).encode() + b"\n")
    return [folder / EVALUATION, folder / PREDICTIONS]


def time_files(folder: Path, parent: str, files: Mapping[str, Path], inputs: Inputs) -> list[Path]:
    """Measure `subject`s by their names in turns, at the first input shape."""
    recipe = inputs.loaded.recipe
    measured = measure_speed(
        [subject(path, recipe) for path in files.values()],
        inputs.judge,
        recipe.input.shapes_hw[0],
        seconds=recipe.evaluate.speed_s,
    )
    speeds = dict(zip(files, measured, strict=True))
    ratios = {name: speedup(speed, speeds[parent]) for name, speed in speeds.items()}
    engines = {name: engine_speedup(speed, speeds[parent]) for name, speed in speeds.items()}
    measured_speeds = Speeds(speeds=speeds, ratios=ratios, engine_ratios=engines)
    write_whole(folder / SPEED, measured_speeds.model_dump_json(indent=1).encode() + b"\n")
    return [folder / SPEED]


def spoil(folder: Path, float_onnx: Path, int8_onnx: Path, inputs: Inputs, report: Report) -> list[Path]:
    """Compare float and INT8 on spoiled pictures."""
    recipe = inputs.loaded.recipe
    comparison = compare_robustness(
        subject(float_onnx, recipe),
        subject(int8_onnx, recipe),
        inputs.judge,
        settings=recipe.evaluate,
        images=recipe.report.corrupted_images,
        seed=recipe.seed,
        progress=report,
    )
    write_whole(folder / ROBUSTNESS, comparison.model_dump_json(indent=1).encode() + b"\n")
    return [folder / ROBUSTNESS]


def prove(folder: Path, int8_onnx: Path, inputs: Inputs) -> list[Path]:
    """Write the bundle with all its forms and its proof, and nothing of where it comes from."""
    recipe = inputs.loaded.recipe
    bundle = write_bundle(
        folder / BUNDLE,
        int8_onnx,
        recipe.name,
        input_shapes_hw=recipe.input.shapes_hw,
        score=recipe.operating.score,
        nms_iou=recipe.operating.nms_iou,
    )
    prove_bundle(bundle, _proof_candidates(inputs))
    return _files_of(bundle)


def pack(folder: Path, proven: Path, evaluation: Path, lineage: Mapping[str, JsonValue]) -> list[Path]:
    """Write the bundle that `vision-line --model` takes: the proven one, with its lineage and what was measured."""
    bundle = shutil.copytree(proven, folder / BUNDLE, dirs_exist_ok=True)
    results = _summary(Evaluation.model_validate_json(evaluation.read_bytes()))
    amend_bundle(bundle, {"lineage": dict(lineage), "results": results})
    return _files_of(bundle)


def _files_of(bundle: Path) -> list[Path]:
    return sorted(path for path in bundle.iterdir() if path.is_file())


def _calibration_pictures(inputs: Inputs, most: int) -> Dataset:
    return (inputs.train if inputs.calibration is None else inputs.calibration).subset(most)


def _proof_candidates(inputs: Inputs) -> tuple[PictureRGB, ...]:
    recipe = inputs.loaded.recipe
    if recipe.proof.pictures == "drawn":
        return drawn_candidates()
    return given_candidates(network_inputs(_calibration_pictures(inputs, _CANDIDATES), recipe.input.shapes_hw))


def _summary(evaluation: Evaluation) -> dict[str, JsonValue]:
    point = evaluation.operating[0]
    return {
        "split": evaluation.data.split,
        "images": evaluation.data.images,
        "map50_95": evaluation.accuracy.map50_95,
        "map50": evaluation.accuracy.map50,
        "match_iou": point.match_iou,
        "miss_rate": point.miss_rate.value,
        "false_per_image": point.false_per_image.value,
    }
