# SPDX-License-Identifier: AGPL-3.0-or-later
"""The report card, from what the other stages left."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import JsonValue

from vision_line.cores import usable_cores
from vision_line.devices.proof.processor import this_processor
from vision_line.ports import ProgressCallback
from vision_line_compression.evaluate.predict import INT8, load_predictions
from vision_line_compression.evaluate.results import Evaluation, RobustnessComparison
from vision_line_compression.pipeline.context import Artifact, Context, plain
from vision_line_compression.pipeline.inputs import Inputs
from vision_line_compression.pipeline.stage import Stage, StagePlace
from vision_line_compression.pipeline.steps.distill import TEACHER
from vision_line_compression.pipeline.steps.evaluate import EVALUATION, PREDICTIONS
from vision_line_compression.pipeline.steps.plan import PLAN
from vision_line_compression.pipeline.steps.robustness import ROBUSTNESS
from vision_line_compression.pipeline.steps.speed import SPEED, Speeds
from vision_line_compression.prune.plan import PruningPlan
from vision_line_compression.report.card import REPORT_FILE, Identity, ReportCard, RowKind
from vision_line_compression.report.card_building import MeasuredRun, build_card
from vision_line_compression.report.page import PAGE_FILE, write_report

#: Whose versions a report names, where they are installed.
LIBRARIES = (
    "torch",
    "torch-pruning",
    "ultralytics",
    "ultralytics-opencv-headless",
    "onnx",
    "onnxruntime",
    "openvino",
    "numpy",
)


#: Keys that name files, which lie elsewhere on every machine.
_PATHS = {"parent": {"checkpoint"}, "data": {"yaml", "more"}, "quantize": {"calibration"}}


@dataclass(frozen=True, slots=True)
class Reported:
    """The stages whose results the report shows; None: the recipe did not want it."""

    evaluations: Mapping[RowKind, Stage]
    epochs: Mapping[RowKind, float]  # of each model, since the parent
    product: RowKind
    plan: Stage | None
    finished: Artifact
    distilled: Artifact | None
    speed: Stage | None
    robustness: Stage | None


def report(context: Context, reported: Reported) -> Stage:
    """Return the stage that writes `report.json` and `report.html`."""
    recipe = context.recipe

    def work(folder: Path, _progress: ProgressCallback) -> list[Path]:
        write_report(_card(context, reported), folder)
        return [folder / REPORT_FILE, folder / PAGE_FILE]

    plans, extras = (
        tuple(stage for stage in stages if stage is not None)
        for stages in ((reported.plan,), (reported.speed, reported.robustness))
    )
    after = (*reported.evaluations.values(), *plans, *reported.finished.after, *extras)
    key: dict[str, JsonValue] = {"gates": plain(recipe.gates), "name": recipe.name, "seed": recipe.seed}
    return context.stage("report", work, key, after=after, data=("train", "val", "judge"), place=StagePlace.HERE)


def _card(context: Context, reported: Reported) -> ReportCard:
    recipe, inputs = context.recipe, context.inputs
    speeds = robustness = plan = None
    if reported.plan is not None:
        plan = PruningPlan.read(context.output(reported.plan, PLAN).path)
    if reported.speed is not None:
        speeds = Speeds.read(context.output(reported.speed, SPEED).path)
    if reported.robustness is not None:
        robustness = RobustnessComparison.read(context.output(reported.robustness, ROBUSTNESS).path)
    runs = {
        row: _run(context, row, stage, reported.epochs.get(row), speeds) for row, stage in reported.evaluations.items()
    }
    return build_card(
        identify(inputs),
        runs,
        reported.product,
        context.test_images,
        recipe.gates,
        plan=plan,
        robustness=robustness,
        remarks=tuple(_remarks(inputs, reported.distilled)),
    )


def identify(inputs: Inputs) -> Identity:
    """Return what a report is about."""
    recipe = inputs.loaded.recipe
    processor = this_processor()
    text = json.dumps(recipe.model_dump(mode="json", exclude=_PATHS))
    return Identity(
        name=recipe.name,
        family=inputs.parent.family,
        created_utc=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        parent_sha256=inputs.parent.sha256,
        recipe_sha256=hashlib.sha256(text.encode()).hexdigest(),
        data_sha256=dict(inputs.hashes),
        seed=recipe.seed,
        versions=dict(_versions()),
        machine=f"{processor.name or processor.machine} ({processor.instruction_set}), {usable_cores()} cores",
    )


def _run(context: Context, row: RowKind, stage: Stage, epochs: float | None, speeds: Speeds | None) -> MeasuredRun:
    evaluation = Evaluation.read(context.output(stage, EVALUATION).path)
    ratio = engine_ratio = None
    if speeds is not None and row.value in speeds.speeds:
        evaluation = evaluation.model_copy(update={"speed": speeds.speeds[row.value]})
        ratio, engine_ratio = speeds.ratios[row.value], speeds.engine_ratios[row.value]
    return MeasuredRun(
        evaluation=evaluation,
        predictions=load_predictions(context.output(stage, PREDICTIONS).path),
        note=computed_by(evaluation),
        epochs=epochs,
        speedup=ratio,
        engine_speedup=engine_ratio,
    )


def computed_by(evaluation: Evaluation) -> str:
    """Say for an INT8 model what computed its detections: they hold for this variant and such processors alone."""
    by = evaluation.execution
    if evaluation.model.precision != INT8:
        return ""
    return "instruction set not recorded" if by is None else f"{by.form}, on {by.instruction_set}"


def _remarks(inputs: Inputs, distilled: Artifact | None) -> Iterator[str]:
    yield from inputs.warnings
    if distilled is not None:
        yield from json.loads((distilled.path.parent / TEACHER).read_bytes())["warnings"]
    if inputs.loaded.recipe.data.judge == "val":
        yield "Evaluated on the validation images, which also chose the epochs: the figures flatter all trained rows."


def _versions() -> Iterator[tuple[str, str]]:
    for library in LIBRARIES:
        try:
            yield library, version(library)
        except PackageNotFoundError:
            continue
