# SPDX-License-Identifier: AGPL-3.0-or-later
"""The report card of a run, from the files that its stages left."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from vision_line.cores import usable_cores
from vision_line.devices.processor import this_processor
from vision_line_compression.evaluate.execution import INT8
from vision_line_compression.evaluate.predict import load_predictions
from vision_line_compression.evaluate.schema import Evaluation, RobustnessComparison
from vision_line_compression.inputs import Inputs
from vision_line_compression.measuring import EVALUATION, PREDICTIONS, Speeds
from vision_line_compression.prune.plan import read_plan
from vision_line_compression.report.build import Run, build_card
from vision_line_compression.report.card import REPORT_FILE, Identity, RowKind
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
_PATHS = {"parent": {"checkpoint"}, "data": {"yaml"}, "quantize": {"calibration"}}


@dataclass(frozen=True, slots=True)
class ReportSources:
    """Where the stages of a run left what the report shows; None: the recipe did not want it."""

    runs: Mapping[RowKind, Path]
    epochs: Mapping[RowKind, float]
    product: RowKind
    plan: Path
    speed: Path | None
    robustness: Path | None
    teacher: Path | None


def make_report(folder: Path, sources: ReportSources, inputs: Inputs) -> list[Path]:
    """Write `report.json` and `report.html` into `folder`."""
    recipe = inputs.loaded.recipe
    speeds = None if sources.speed is None else Speeds.model_validate_json(sources.speed.read_bytes())
    robustness = None
    if sources.robustness is not None:
        robustness = RobustnessComparison.model_validate_json(sources.robustness.read_bytes())
    runs = {kind: _run(kind, path, sources, speeds) for kind, path in sources.runs.items()}
    card = build_card(
        identify(inputs),
        runs,
        sources.product,
        inputs.judge if recipe.evaluate.images is None else inputs.judge.subset(recipe.evaluate.images),
        recipe.gates,
        plan=read_plan(sources.plan),
        robustness=robustness,
        remarks=tuple(_remarks(inputs, sources)),
    )
    write_report(card, folder)
    return [folder / REPORT_FILE, folder / PAGE_FILE]


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


def _run(kind: RowKind, folder: Path, sources: ReportSources, speeds: Speeds | None) -> Run:
    evaluation = Evaluation.model_validate_json((folder / EVALUATION).read_bytes())
    ratio = engine_ratio = None
    if speeds is not None and kind.value in speeds.speeds:
        evaluation = evaluation.model_copy(update={"speed": speeds.speeds[kind.value]})
        ratio, engine_ratio = speeds.ratios[kind.value], speeds.engine_ratios[kind.value]
    predictions = load_predictions(folder / PREDICTIONS)
    return Run(
        evaluation=evaluation,
        predictions=predictions,
        note=measured_by(evaluation),
        epochs=sources.epochs.get(kind),
        speedup=ratio,
        engine_speedup=engine_ratio,
    )


def measured_by(evaluation: Evaluation) -> str:
    """Say for an INT8 model what computed its detections: they hold for this form and such processors alone."""
    by = evaluation.execution
    if evaluation.model.precision != INT8:
        return ""
    return "instruction set not recorded" if by is None else f"{by.form}, on {by.instruction_set}"


def _remarks(inputs: Inputs, sources: ReportSources) -> Iterator[str]:
    yield from inputs.warnings
    if sources.teacher is not None:
        yield from json.loads(sources.teacher.read_bytes())["warnings"]
    if inputs.loaded.recipe.data.judge == "val":
        yield "Judged on the validation pictures, which also chose the epochs: the figures flatter all trained rows."


def _versions() -> Iterator[tuple[str, str]]:
    for library in LIBRARIES:
        try:
            yield library, version(library)
        except PackageNotFoundError:
            continue
