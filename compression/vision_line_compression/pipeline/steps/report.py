# SPDX-License-Identifier: AGPL-3.0-or-later
"""The report card, from what the other stages left."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from vision_line.devices.model.tasks import ModelTask
from vision_line.ports import ProgressCallback
from vision_line_compression.evaluate.predict import INT8, load_predictions
from vision_line_compression.evaluate.results import Evaluation, RobustnessComparison
from vision_line_compression.network.checkpoint import complexity
from vision_line_compression.pipeline.context import Artifact, Context, TrainedModel, plain
from vision_line_compression.pipeline.inputs import Inputs
from vision_line_compression.pipeline.recipe import AUTO, Control, Recipe
from vision_line_compression.pipeline.stage import Marker, Stage, StagePlace
from vision_line_compression.pipeline.stage_machine import library_versions, this_machine
from vision_line_compression.pipeline.steps.controls import note as control_note
from vision_line_compression.pipeline.steps.distill import TEACHER
from vision_line_compression.pipeline.steps.evaluate import EVALUATION, PREDICTIONS
from vision_line_compression.pipeline.steps.latency import LATENCY, latency
from vision_line_compression.pipeline.steps.plan import PLAN
from vision_line_compression.pipeline.steps.quantize import CHOICE
from vision_line_compression.pipeline.steps.robustness import ROBUSTNESS
from vision_line_compression.pipeline.steps.speed import SPEED, Speeds
from vision_line_compression.pipeline.steps.teacher_choice import TAKEN, TeacherChoice
from vision_line_compression.prune.latency import LatencyTable
from vision_line_compression.prune.plan import PruningPlan
from vision_line_compression.quantize.method_choice import MethodChoice
from vision_line_compression.report.card import REPORT_FILE, Identity, ReportCard, RowKind
from vision_line_compression.report.card_building import Evaluated, MeasuredRun, build_card
from vision_line_compression.report.page import PAGE_FILE, write_report

#: Keys that name files, which lie elsewhere on every machine.
_PATHS = {
    "parent": {"checkpoint"},
    "data": {"yaml", "more"},
    "quantize": {"calibration"},
    "teacher": {"start"},
    "prune": {"latency_table"},
    "report": {"pretrained"},
}


@dataclass(frozen=True, slots=True)
class Reported:
    """The stages whose results the report shows; None: the recipe did not want it."""

    evaluations: Mapping[RowKind, Stage]
    epochs: Mapping[RowKind, float]  # of each model, since the parent
    product: RowKind
    float_product: RowKind  # what was quantized
    plans: tuple[Stage, ...]  # of all steps
    finished: Artifact
    distilled: Artifact | None
    chosen: Artifact | None
    teacher: TrainedModel | None  # trained first
    speed: Stage | None
    robustness: Stage | None
    calibrated: Stage | None  # which chose the calibration method
    trained_again: Mapping[RowKind, Mapping[int, Stage]]  # evaluations by seed


def report(context: Context, reported: Reported) -> Stage:
    """Return the stage that writes `report.json` and `report.html`."""
    recipe = context.recipe

    extras = tuple(stage for stage in (reported.speed, reported.robustness) if stage is not None)
    again = [stage for stages in reported.trained_again.values() for stage in stages.values()]
    after = (*reported.evaluations.values(), *again, *reported.plans, *reported.finished.after, *extras)

    def work(folder: Path, _progress: ProgressCallback) -> list[Path]:
        write_report(_card(context, reported, after), folder)
        return [folder / REPORT_FILE, folder / PAGE_FILE]

    key: dict[str, JsonValue] = {"gates": plain(recipe.gates), "name": recipe.name, "seed": recipe.seed}
    if recipe.data.group is not None:
        key |= {"group": recipe.data.group}
    return context.stage(
        "report",
        work,
        key,
        after=after,
        data=("train", "val", "judge"),
        version=3,  # which judges misses on corrupted images, too
        place=StagePlace.HERE,
    )


def _card(context: Context, reported: Reported, after: Iterable[Stage]) -> ReportCard:
    recipe, inputs = context.recipe, context.inputs
    speeds = robustness = None
    if reported.speed is not None:
        speeds = Speeds.read(context.output(reported.speed, SPEED).path)
    if reported.robustness is not None:
        robustness = RobustnessComparison.read(context.output(reported.robustness, ROBUSTNESS).path)
    runs = {
        row: _run(context, row, stage, reported.epochs.get(row), speeds, reported.trained_again.get(row, {}))
        for row, stage in reported.evaluations.items()
    }
    plans = [PruningPlan.read(context.output(stage, PLAN).path) for stage in reported.plans]
    measured = latency(context)
    table = None if measured is None else context.output(measured, LATENCY).path
    untimed = () if speeds is None else (f"{row}: not timed: {why}." for row, why in speeds.not_timed.items())
    promises = () if table is None or not plans else promised_time(plans[-1], table, speeds, reported.product)
    markers = [found for stage in _all_before(after) if (found := context.workspace.marker(stage)) is not None]
    return build_card(
        identify(inputs),
        runs,
        reported.product,
        context.test_images,
        recipe.gates,
        float_product=reported.float_product,
        plans=plans,
        robustness=robustness,
        group=recipe.data.group,
        remarks=(
            *_remarks(context, reported),
            *untimed,
            *promises,
            *done_elsewhere(markers, this_machine(), library_versions()),
        ),
    )


def identify(inputs: Inputs) -> Identity:
    """Return what a report is about."""
    recipe = inputs.loaded.recipe
    text = json.dumps(recipe.model_dump(mode="json", exclude=_PATHS))
    return Identity(
        name=recipe.name,
        family=inputs.parent.family,
        created_utc=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        parent_sha256=inputs.parent.sha256,
        recipe_sha256=hashlib.sha256(text.encode()).hexdigest(),
        data_sha256=dict(inputs.hashes),
        seed=recipe.seed,
        versions=library_versions(),
        machine=this_machine(),
    )


def _run(
    context: Context,
    row: RowKind,
    stage: Stage,
    epochs: float | None,
    speeds: Speeds | None,
    again: Mapping[int, Stage],
) -> MeasuredRun:
    found = _evaluated(context, stage)
    evaluation = found.evaluation
    ratio = engine_ratio = None
    if speeds is not None and row.value in speeds.speeds:
        evaluation = evaluation.model_copy(update={"speed": speeds.speeds[row.value]})
        ratio, engine_ratio = speeds.ratios[row.value], speeds.engine_ratios[row.value]
    return MeasuredRun(
        evaluation=evaluation,
        predictions=found.predictions,
        note=computed_by(evaluation) or _changed(context.recipe, row),
        epochs=epochs,
        speedup=ratio,
        engine_speedup=engine_ratio,
        again={seed: _evaluated(context, stage) for seed, stage in again.items()},
    )


def _evaluated(context: Context, stage: Stage) -> Evaluated:
    evaluation = Evaluation.read(context.output(stage, EVALUATION).path)
    return Evaluated(evaluation, load_predictions(context.output(stage, PREDICTIONS).path))


def computed_by(evaluation: Evaluation) -> str:
    """Say for an INT8 model what computed its detections: they hold for this variant and such processors alone."""
    by = evaluation.execution
    if evaluation.model.precision != INT8:
        return ""
    return "instruction set not recorded" if by is None else f"{by.form}, on {by.instruction_set}"


def _changed(recipe: Recipe, row: RowKind) -> str:
    """Say what a control changes, where that depends on the recipe."""
    return control_note(recipe, Control(row.value)) if row.value in set(Control) else ""


def _remarks(context: Context, reported: Reported) -> Iterator[str]:
    inputs = context.inputs
    yield from inputs.warnings
    if reported.distilled is not None:
        yield from json.loads((reported.distilled.path.parent / TEACHER).read_bytes())["warnings"]
    if reported.chosen is not None:
        yield TeacherChoice.read(reported.chosen.path.parent / TAKEN).sentence
    if reported.teacher is not None:
        yield _teacher_cost(context, reported.teacher)
    if reported.calibrated is not None:
        yield MethodChoice.read(context.output(reported.calibrated, CHOICE).path).words
    if inputs.parent.task is ModelTask.OBB:
        yield (
            "Boxes are rotated: every IoU is the ProbIoU by which Ultralytics evaluates. It is lenient of angles where "
            "boxes are not long; mAP75 and mAP50-95 tell them better than mAP50 and misses do."
        )
    if inputs.parent.task is ModelTask.SEGMENT:
        yield (
            "mAP50-95 and mAP50 are of boxes, and of masks beside them; misses and false detections are counted by "
            "boxes. Where models were chosen by mAP50-95, it was the mean of both."
        )
    if inputs.loaded.recipe.data.judge == "val" and (chosen := tuple(_chosen_on_val(inputs.loaded.recipe))):
        yield f"Evaluated on the validation images, which also chose {' and '.join(chosen)}: the figures flatter that."


def _chosen_on_val(recipe: Recipe) -> Iterator[str]:
    """Yield what the validation images choose in a recipe."""
    if recipe.trains:
        yield "the epochs of all trained rows"
    if recipe.quantize.method == AUTO:
        yield "the calibration of INT8"
    if recipe.quantize.protect is not None:
        yield "the parts that stay float in it"


def _teacher_cost(context: Context, teacher: TrainedModel) -> str:
    """Say what the training of the teacher cost, which no control without a teacher had."""
    recipe, inputs = context.recipe, context.inputs
    size_hw = recipe.input.shapes_hw[0]
    network = inputs.parent if inputs.teacher_network is None else inputs.teacher_network
    own, parents = complexity(network.model, size_hw), complexity(inputs.parent.model, size_hw)
    marker = None if teacher.checkpoint.stage is None else context.workspace.marker(teacher.checkpoint.stage)
    took = "" if marker is None else f", in {marker.seconds / 60:.1f} minutes since it was last begun"
    return (
        f"The teacher was trained first, epochs: {teacher.epochs:g}{took}: {own.params / 1e6:.1f} M parameters, "
        f"{own.macs / parents.macs:.1f} times the parent's operations. Rows without a teacher did not have that."
    )


def promised_time(plan: PruningPlan, table: Path, speeds: Speeds | None, product: str) -> Iterator[str]:
    """Say what a plan with a budget of time expects, beside what was measured: nobody would compare them else."""
    cost = plan.costs.get("latency")
    if cost is None or not plan.settings.budget.needs_latency:
        return
    target = LatencyTable.read(table).target if table.is_file() else "a target whose table is not here any more"
    expects = f"The plan expects {cost.planned:.3g} ms an image of the network alone on {target}"
    if speeds is None or product not in speeds.speeds:
        yield f"{expects}; what was reached was not measured, for want of evaluate.speed_s."
        return
    speed = speeds.speeds[product]
    yield (
        f"{expects}; measured here, on {speed.device}: {speeds.engine_ratios[product]:.2f} times the float parent's "
        f"throughput, and {speed.latency_p50_ms:.3g} ms an image in the application."
    )


def done_elsewhere(markers: Iterable[Marker], machine: str, versions: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for all stages that another machine did than `machine`, or other versions than `versions`."""
    others: dict[str, list[str]] = {}
    for marker in markers:
        if not marker.machine:
            others.setdefault("The machine and the versions of these stages are not recorded", []).append(marker.stage)
            continue
        if marker.machine != machine:
            others.setdefault(f"Done on another machine, {marker.machine}", []).append(marker.stage)
        found = marker.versions.items() ^ versions.items()
        if libraries := sorted({library for library, _ in found}):
            named = ", ".join(f"{library} {marker.versions.get(library, 'missing')}" for library in libraries)
            others.setdefault(f"Done with other versions, {named}", []).append(marker.stage)
    for words, stages in others.items():
        yield f"{words}: {', '.join(stages)}"


def _all_before(stages: Iterable[Stage]) -> Iterator[Stage]:
    """Yield all that `stages` rest on, and themselves, each once."""
    seen, todo = set[str](), list(stages)
    while todo:
        stage = todo.pop(0)
        if stage.key not in seen:
            seen.add(stage.key)
            yield stage
            todo += stage.after
