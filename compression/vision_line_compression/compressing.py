# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the stages that change weights do in their folders: plan, prune, train."""

from __future__ import annotations

import copy
import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

from torch import nn

from vision_line.ports import ShapeHW
from vision_line_compression.adapt import split_blocks
from vision_line_compression.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from vision_line_compression.dataset import Dataset
from vision_line_compression.distill import Architecture, Distillation, teacher_warnings
from vision_line_compression.inputs import Inputs
from vision_line_compression.measuring import validation_map
from vision_line_compression.normalization import recalibrate_batch_norm
from vision_line_compression.pictures import LabelledLoss, input_batches
from vision_line_compression.prune.anatomy import survey_convolutions
from vision_line_compression.prune.apply import apply_plan
from vision_line_compression.prune.latency import LatencyTable, measure_latency, write_table
from vision_line_compression.prune.picture import write_picture
from vision_line_compression.prune.plan import Plan, read_plan, write_plan
from vision_line_compression.prune.planner import plan_pruning
from vision_line_compression.prune.sensitivity import Score
from vision_line_compression.prune.settings import CostKind, PruneSettings
from vision_line_compression.recipe import PruneSection
from vision_line_compression.recover import recover
from vision_line_compression.schedule import Schedule
from vision_line_compression.stages import Report, write_whole
from vision_line_compression.training_data import link_training_data

log = logging.getLogger(__name__)

PLAN, PICTURE, LATENCY = "plan.json", "plan.svg", "latency.json"
PRUNED, RECALIBRATED, TRAINED = "pruned.pt", "recalibrated.pt", "trained.pt"
TEACHER = "teacher.json"


def measure_target(folder: Path, checkpoint: Path, size_hw: ShapeHW) -> list[Path]:
    """Measure what the parent's convolutions cost on this machine at every width: `latency.json`."""
    model = copy.deepcopy(load_checkpoint(checkpoint).model)
    split_blocks(model)
    write_table(measure_latency(survey_convolutions(model), size_hw), folder / LATENCY)
    return [folder / LATENCY]


def plan(
    folder: Path,
    checkpoint: Path,
    section: PruneSection,
    inputs: Inputs,
    latency: Path | None,
    reference: Path | None,
    report: Report,
) -> list[Path]:
    """Decide what goes: `plan.json` and its picture.

    `reference` is a plan whose costs the budget's shares refer to: the first one of a progressive pruning.
    """
    opened = load_checkpoint(checkpoint)
    settings = PruneSettings.model_validate(section.model_dump(include=set(PruneSettings.model_fields)))
    size = (section.sensitivity_size, section.sensitivity_size)
    learned = LabelledLoss.on(inputs.train.subset(section.sensitivity_images), size)
    result = plan_pruning(
        opened,
        settings,
        _relative_score(LabelledLoss.on(inputs.val.subset(section.sensitivity_images), size), opened, report),
        differentiate=learned.differentiate,
        latency=None if latency is None else LatencyTable.model_validate_json(latency.read_bytes()),
        reference=None if reference is None else reference_costs(read_plan(reference)),
    )
    write_plan(result, folder / PLAN)
    write_picture(result, folder / PICTURE)
    return [folder / PLAN, folder / PICTURE]


def _relative_score(loss: LabelledLoss, original: Checkpoint, report: Report) -> Score:
    """Return the original's loss over a model's: 1 for the original, towards 0 for a ruined one."""
    best = loss.mean(original.model)
    done = 0

    def score(model: nn.Module) -> float:
        nonlocal done
        done += 1
        report(done, 0)  # how many there will be is the planner's affair
        return best / loss.mean(model)

    return score


def reference_costs(first: Plan) -> Mapping[CostKind, float]:
    """Return what the original network costs."""
    return {kind: cost.reference for kind, cost in first.costs.items()}


def prune(folder: Path, checkpoint: Path, plan_path: Path, calibration: Dataset, shape_hw: ShapeHW) -> list[Path]:
    """Carry out a plan, prove that it was, and estimate the batch norm statistics anew."""
    parent = load_checkpoint(checkpoint)
    model = apply_plan(parent, read_plan(plan_path))
    save_checkpoint(model, folder / PRUNED, parent)
    recalibrate_batch_norm(model, input_batches(calibration, shape_hw))
    save_checkpoint(model, folder / RECALIBRATED, parent)
    return [folder / PRUNED, folder / RECALIBRATED]


def train(
    folder: Path, checkpoint: Path, schedule: Schedule, inputs: Inputs, data_folder: Path, report: Report
) -> list[Path]:
    """Train the model as it is, from the labels alone."""
    return [_trained(folder, checkpoint, schedule, inputs, data_folder, None, report)]


def train_aware(
    folder: Path, checkpoint: Path, schedule: Schedule, inputs: Inputs, data_folder: Path, report: Report
) -> list[Path]:
    """Train the model from the labels while it is rounded to INT8."""
    return [_trained(folder, checkpoint, schedule, inputs, data_folder, None, report, quantization_aware=True)]


def train_with_teacher(
    folder: Path,
    checkpoint: Path,
    schedule: Schedule,
    distillation: Distillation,
    inputs: Inputs,
    data_folder: Path,
    report: Report,
) -> list[Path]:
    """Train with a teacher; what speaks against this teacher is logged and kept in `teacher.json`."""
    verdict = folder / TEACHER
    if not verdict.exists():
        student = load_checkpoint(checkpoint)
        scores = {
            "student_map50_95": validation_map(checkpoint, inputs),
            "teacher_map50_95": validation_map(distillation.teacher, inputs),
        }
        warnings = teacher_warnings(_facts(student), _facts(inputs.teacher), *scores.values())
        content = {"teacher_sha256": inputs.teacher.sha256, **scores, "warnings": warnings}
        write_whole(verdict, json.dumps(content, indent=1).encode() + b"\n")
        for warning in warnings:
            log.warning("%s", warning)
    return [_trained(folder, checkpoint, schedule, inputs, data_folder, distillation, report), verdict]


def _facts(checkpoint: Checkpoint) -> Architecture:
    return Architecture.of(checkpoint.model, checkpoint.family)


def _trained(
    folder: Path,
    checkpoint: Path,
    schedule: Schedule,
    inputs: Inputs,
    data_folder: Path,
    distillation: Distillation | None,
    report: Report,
    *,
    quantization_aware: bool = False,
) -> Path:
    data_yaml = link_training_data(data_folder, {"train": inputs.train, "val": inputs.val})
    training = folder / "training"
    result = recover(
        checkpoint, data_yaml, schedule, training, distillation, report, quantization_aware=quantization_aware
    )
    kept = folder / TRAINED
    shutil.copyfile(result, kept)
    return kept
