# SPDX-License-Identifier: AGPL-3.0-or-later
"""Distillation around a real head: what is compared, when it stops, which teachers are refused or doubted."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel, OBBModel

from vision_line.errors import ConfigError
from vision_line_compression.network.checkpoint import Checkpoint, Family
from vision_line_compression.training.distillation import (
    PROJECTOR,
    Architecture,
    DistillingCriterion,
    check_teacher,
    drop_projector,
    ensure_projector,
    neck_widths,
    part_names,
    teacher_warnings,
    temperature_at,
)
from vision_line_compression.training.schedule import DistillMethod, DistillSettings


def build(config: str, seed: int = 0) -> Any:
    """Build a network of two classes with random weights, ready for its loss."""
    torch.manual_seed(seed)
    kind = OBBModel if "-obb" in config else DetectionModel
    model: Any = kind(config, ch=3, nc=2, verbose=False)  # type: ignore[no-untyped-call]
    model.names = {0: "scratch", 1: "dent"}
    model.args = get_cfg()
    return model.train()


@pytest.fixture(scope="module")
def teacher() -> Any:
    """A v8n."""
    return build("yolov8n.yaml", seed=1).eval()


@pytest.fixture
def batch() -> dict[str, Tensor]:
    """Two images, one with one box, one with none."""
    return {
        "img": torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)),
        "cls": torch.tensor([[1.0]]),
        "bboxes": torch.tensor([[0.5, 0.5, 0.5, 0.5]]),
        "batch_idx": torch.tensor([0.0]),
    }


def settings(method: DistillMethod, **more: Any) -> DistillSettings:
    """Settings of a distillation to its end."""
    return DistillSettings(epochs=2, method=method, until=1.0, **more)


@pytest.mark.parametrize("config", ["yolov8n.yaml", "yolov10n.yaml", "yolo11n.yaml", "yolo26n.yaml"])
@pytest.mark.parametrize("method", DistillMethod)
def test_every_head_learns_by_every_method(config: str, method: DistillMethod, batch: dict[str, Tensor]) -> None:
    """The parts join the losses, are finite, and reach the student's first layer; the teacher stays as it was."""
    student, teacher = build(config), build(config, seed=1)
    before = copy.deepcopy(teacher.state_dict())
    ensure_projector(student, teacher, method)
    own, _ = student.loss(batch)
    criterion = DistillingCriterion(student, teacher, settings(method), teacher)
    student.criterion = criterion

    losses, items = student.loss(batch)
    parts = losses[len(own) :]
    student.zero_grad()
    parts.sum().backward()

    assert [name for name in items if name.startswith("kd_")] == list(part_names(method))
    assert torch.isfinite(losses).all()
    assert (parts > 0).all()
    assert student.model[0].conv.weight.grad.abs().sum() > 0
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


@pytest.mark.parametrize("config", ["yolov8n-obb.yaml", "yolo11n-obb.yaml", "yolo26n-obb.yaml"])
def test_angles_are_learned_beside_sides(config: str, batch: dict[str, Tensor]) -> None:
    """The branch of angles learns from that part; without a weight for boxes it learns from the labels alone."""
    student, teacher = build(config), build(config, seed=1)
    batch = batch | {"bboxes": torch.tensor([[0.5, 0.5, 0.5, 0.25, 0.6]])}
    own, _ = student.loss(batch)
    criterion = DistillingCriterion(student, teacher, settings(DistillMethod.LOGITS), teacher)

    losses, items = criterion(student(batch["img"]), batch)
    parts = dict(zip(part_names(DistillMethod.LOGITS, rotated=True), losses[len(own) :], strict=True))
    student.zero_grad()
    parts["kd_angle"].backward()

    assert [name for name in items if name.startswith("kd_")] == list(parts)
    assert torch.isfinite(losses).all()
    assert parts["kd_angle"] > 0
    assert student.model[-1].cv4[0][0].conv.weight.grad.abs().sum() > 0
    assert not student.model[-1].cv3[0][-1].bias.grad.any()
    unweighted = DistillingCriterion(student, teacher, settings(DistillMethod.LOGITS, box_weight=0.0), teacher)
    assert unweighted(student(batch["img"]), batch)[1]["kd_angle"] == 0


def test_a_student_that_is_its_teacher_has_nothing_to_learn(batch: dict[str, Tensor]) -> None:
    """In eval mode both see the same batch norm statistics, so all parts are zero."""
    student = build("yolov8n.yaml")
    teacher = copy.deepcopy(student)
    student.eval()
    criterion = DistillingCriterion(student, teacher, settings(DistillMethod.LOGITS), teacher)

    _, items = criterion(student(batch["img"]), batch)

    assert [float(items[name]) for name in part_names(DistillMethod.LOGITS)] == pytest.approx([0, 0, 0], abs=1e-5)


def test_foreground_is_what_was_assigned_or_what_the_teacher_sees(teacher: Any, batch: dict[str, Tensor]) -> None:
    """With a teacher that is sure of nothing, only the assigned anchors count: without boxes there is no loss."""
    student = build("yolov8n.yaml")
    criterion = DistillingCriterion(student, teacher, settings(DistillMethod.LOGITS, foreground_score=0.999), teacher)
    empty = batch | {"cls": torch.zeros(0, 1), "bboxes": torch.zeros(0, 4), "batch_idx": torch.zeros(0)}

    with_boxes = criterion(student(batch["img"]), batch)[1]
    without = criterion(student(batch["img"]), empty)[1]

    assert with_boxes["kd_class"] > 0
    assert without["kd_class"] == 0
    assert without["kd_attention"] > 0


def test_labels_teach_alone_at_the_end(teacher: Any, batch: dict[str, Tensor]) -> None:
    """After `until` the parts are zero, and the log keeps its columns."""
    student = build("yolov8n.yaml")
    wanted = DistillSettings(epochs=10, until=0.9)
    criterion = DistillingCriterion(student, teacher, wanted, teacher)
    criterion.progress = 0.9

    losses, items = criterion(student(batch["img"]), batch)

    assert [float(items[name]) for name in part_names(wanted.method)] == [0, 0, 0]
    assert len(losses) == 6


def test_the_teacher_is_no_part_of_the_student(teacher: Any) -> None:
    """Its parameters are not trained and not saved."""
    student = build("yolov8n.yaml")
    names = list(student.state_dict())

    student.criterion = DistillingCriterion(student, teacher, settings(DistillMethod.LOGITS), teacher)

    assert list(student.state_dict()) == names


def test_temperature_goes_from_the_first_to_the_last_value() -> None:
    """8 to 4 as published; constant by default."""
    published = DistillSettings(epochs=5, temperature=8.0, final_temperature=4.0)

    assert [temperature_at(published, progress) for progress in (0.0, 0.5, 1.0, 2.0)] == [8.0, 6.0, 4.0, 4.0]
    assert temperature_at(DistillSettings(epochs=5), 0.7) == 2.0


def test_a_projector_bridges_other_widths_and_goes_again() -> None:
    """Channel-wise comparison wants equal channels; where they are equal there is nothing to project."""
    student, same, wider = build("yolov8n.yaml"), build("yolov8n.yaml"), build("yolov8s.yaml")

    ensure_projector(student, same, DistillMethod.CHANNEL_WISE)
    assert not hasattr(student, PROJECTOR)

    ensure_projector(student, wider, DistillMethod.CHANNEL_WISE)
    projector = getattr(student, PROJECTOR)
    assert [(layer[0].in_channels, layer[2].out_channels) for layer in projector] == list(
        zip(neck_widths(student), neck_widths(wider), strict=True)
    )

    drop_projector(student)
    assert not [name for name, _ in student.named_parameters() if PROJECTOR in name]


def facts(model: nn.Module, family: Family = "v8") -> Architecture:
    """Describe a model."""
    return Architecture.of(Checkpoint(model, family, (), "", Path()))


def test_a_teacher_with_other_outputs_is_refused_with_every_difference(teacher: Any) -> None:
    """Task, bins, classes and head must be the student's."""
    student = facts(teacher)
    other = replace(student, task="obb", classes=("scratch",), bins=1, end2end=True)

    with pytest.raises(ConfigError) as caught:
        check_teacher(student, other)

    assert [problem.split(" as the student")[0].split()[0:4] for problem in caught.value.problems] == [
        ["distill.teacher:", "expected", "task", "detect"],
        ["distill.teacher:", "expected", "classes", "('scratch',"],
        ["distill.teacher:", "expected", "bins", "of"],
        ["distill.teacher:", "expected", "NMS-free", "head"],
    ]


def test_doubts_about_a_teacher(teacher: Any) -> None:
    """Another family, another backbone, and a teacher that is not better by 15 %."""
    student = facts(teacher)
    deeper = facts(build("yolov8m.yaml"))

    assert teacher_warnings(student, student, 0.5, 0.6) == []
    assert "not 15% above" in teacher_warnings(student, student, 0.5, 0.57)[0]
    assert "backbone" in teacher_warnings(student, deeper, None, None)[0]
    assert "11 model" in teacher_warnings(student, replace(student, family="11"), None, None)[0]
