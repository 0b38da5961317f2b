# SPDX-License-Identifier: AGPL-3.0-or-later
"""Distillation while a student trains: the teacher sees the same augmented batch, its losses join the student's own.

The student's module is not wrapped. Its criterion is replaced, so that checkpoints, EMA and validation stay stock:
a detection head in training mode already returns class logits, box logits and the three neck outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from vision_line.devices.model.tasks import ModelTask
from vision_line.errors import ConfigError
from vision_line_compression.network.checkpoint import Checkpoint
from vision_line_compression.network.detection_network import (
    Branch,
    Criterion,
    Losses,
    Predictions,
    head_of,
    network_of,
    task_of,
)
from vision_line_compression.training.losses import (
    angle_difference,
    attention_transfer,
    bernoulli_kl,
    bin_kl,
    channel_wise,
    distance_l1,
    score_weighted_l2,
    teacher_best_score,
)
from vision_line_compression.training.schedule import DistillMethod, DistillSettings

#: A teacher that is not better than its student by this share has little to teach (the rule of the source).
TEACHER_MARGIN = 0.15

PROJECTOR = "distillation_projector"

Forward = Callable[[Tensor], Predictions]


class Assigning(Protocol):
    """A loss that assigns labelled boxes to anchors."""

    assigner: nn.Module


@dataclass(frozen=True, slots=True)
class Distillation:
    """Whom a student learns from, and how."""

    teacher: Path
    settings: DistillSettings


@dataclass(frozen=True, slots=True)
class Architecture:
    """What must, or should, be equal in teacher and student."""

    family: str
    classes: tuple[str, ...]
    strides: tuple[int, ...]
    bins: int
    end2end: bool
    task: str
    backbone: tuple[tuple[str, int], ...]  # layer type and its number of repeated blocks

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Architecture:
        """Describe the model of a checkpoint."""
        model = checkpoint.model
        net, head = network_of(model), head_of(model)
        layers = net.model[: len(net.yaml["backbone"])]
        return cls(
            family=checkpoint.family,
            classes=tuple(net.names[index] for index in sorted(net.names)),
            strides=tuple(int(stride) for stride in head.stride),
            bins=int(head.reg_max),
            end2end=getattr(head, "one2one_cv2", None) is not None,
            task=checkpoint.task.value,
            backbone=tuple((type(layer).__name__, _repeats(layer)) for layer in layers),
        )


def _repeats(layer: nn.Module) -> int:
    blocks = getattr(layer, "m", None)
    return len(blocks) if isinstance(blocks, nn.ModuleList | nn.Sequential) else 1


def check_teacher(student: Architecture, teacher: Architecture) -> None:
    """Refuse a teacher whose outputs cannot be compared with the student's.

    Raises:
        ConfigError: every difference at once.
    """
    wanted = {
        "task": "task",
        "classes": "classes",
        "strides": "strides",
        "bins": "bins of a box side",
        "end2end": "NMS-free head",
    }
    problems = [
        f"distill.teacher: expected {words} {getattr(student, key)} as the student, found {getattr(teacher, key)}"
        for key, words in wanted.items()
        if getattr(student, key) != getattr(teacher, key)
    ]
    if problems:
        raise ConfigError(*problems)


def teacher_warnings(
    student: Architecture, teacher: Architecture, student_map: float | None, teacher_map: float | None
) -> list[str]:
    """Return what speaks against this teacher; scores are mAP50-95 (0 to 1) on the same images, None: not known."""
    warnings = []
    if student.family != teacher.family:
        warnings.append(f"the teacher is a {teacher.family} model, the student a {student.family} model")
    elif student.backbone != teacher.backbone:
        warnings.append("the teacher's backbone has other layers than the student's; its features may not transfer")
    if student_map is not None and teacher_map is not None and teacher_map <= student_map * (1 + TEACHER_MARGIN):
        warnings.append(
            f"the teacher's mAP50-95 {teacher_map:.3f} is not {TEACHER_MARGIN:.0%} above the student's"
            f" {student_map:.3f}; compare with the run without a teacher"
        )
    return warnings


def temperature_at(settings: DistillSettings, progress: float) -> float:
    """Return T at `progress` (0: first epoch, 1: last) of the distillation: linear from the first to the last value."""
    share = min(max(progress, 0.0), 1.0)
    return settings.temperature + share * (settings.final_temperature - settings.temperature)


def neck_widths(model: nn.Module) -> tuple[int, ...]:
    """Return the channels of the feature maps that a detection model's head reads."""
    return tuple(int(branch[0].conv.in_channels) for branch in head_of(model).cv2)


def ensure_projector(student: nn.Module, teacher: nn.Module, method: DistillMethod) -> None:
    """Give `student` 1x1 convolutions from its neck widths to the teacher's, where the method compares channels.

    They are trained, saved and resumed with the student; `drop_projector` takes them off the finished model.
    """
    wanted = method is DistillMethod.SCORE_L2 or (
        method is DistillMethod.CHANNEL_WISE and neck_widths(student) != neck_widths(teacher)
    )
    if wanted and not hasattr(student, PROJECTOR):
        pairs = zip(neck_widths(student), neck_widths(teacher), strict=True)
        student.add_module(PROJECTOR, nn.ModuleList(_projection(here, there) for here, there in pairs))


def _projection(here: int, there: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(here, there, 1), nn.ReLU(), nn.Conv2d(there, there, 1))


def drop_projector(student: nn.Module) -> None:
    """Take the projector off; a model without one is left as it is."""
    if hasattr(student, PROJECTOR):
        delattr(student, PROJECTOR)


class DistillingCriterion:
    """The student's criterion with distillation added: (predictions, batch) -> (losses, each part detached).

    Owns the teacher, which is frozen. `progress` is the share of the phase that is done; the trainer sets it at
    each epoch. Not a module on purpose: the student's parameters and checkpoints must not hold the teacher.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module, settings: DistillSettings, forward: Forward) -> None:
        """Wrap the criterion that `student` has or makes; `forward` runs the teacher, at the precision wanted."""
        net = network_of(student)
        self._inner = getattr(net, "criterion", None) or net.init_criterion()
        self._student = student
        self._settings = settings
        self._forward = forward
        self._bins = int(head_of(student).reg_max)
        self._rotated = task_of(student) is ModelTask.OBB
        self._names = part_names(settings.method, rotated=self._rotated)
        self._assigned: list[Tensor] = []
        self.progress = 0.0
        teacher.eval().requires_grad_(False)
        for loss in _branch_losses(self._inner):
            loss.assigner.register_forward_hook(self._keep_assignment)

    def _keep_assignment(self, _module: nn.Module, _inputs: object, output: tuple[Tensor, ...]) -> None:
        self._assigned.append(output[3])  # (B, N): which anchors a labelled box was assigned to

    def __call__(self, predictions: Predictions, batch: dict[str, Tensor]) -> tuple[Tensor, Losses]:
        """Return the student's own losses and the distillation's, times the batch size as Ultralytics wants it."""
        self._assigned.clear()
        losses, items = self._inner(predictions, batch)
        parts = self._parts(predictions, batch) if self.progress < self._settings.until else {}
        zero = losses.new_zeros(())
        added = torch.stack([parts.get(name, zero) for name in self._names])
        items = items | {name: value.detach() for name, value in zip(self._names, added, strict=True)}
        return torch.cat([losses, added * batch["img"].shape[0]]), items

    def update(self) -> None:
        """Tell the student's criterion that an epoch ended, where it wants to know."""
        if hasattr(self._inner, "update"):
            self._inner.update()

    def _parts(self, predictions: Predictions, batch: dict[str, Tensor]) -> Losses:
        with torch.no_grad():
            seen = _branches(self._forward(batch["img"]))
        mine = _branches(predictions)
        temperature = temperature_at(self._settings, self.progress / self._settings.until)
        if self._settings.method is DistillMethod.LOGITS:
            return self._from_logits(mine, seen, temperature)
        # the one-to-one branch reads detached features, so the first branch's are the ones that can learn
        return self._from_features(mine[0]["feats"], seen, temperature)

    def _from_logits(self, mine: list[Branch], seen: list[Branch], temperature: float) -> Losses:
        settings = self._settings
        pairs = list(zip(mine, seen, self._assigned, strict=True))
        scores, boxes, angles = [], [], []
        for student, teacher, assigned in pairs:
            foreground = assigned | (teacher_best_score(teacher["scores"]) > settings.foreground_score)
            scores.append(bernoulli_kl(student["scores"], teacher["scores"], foreground, temperature))
            if self._bins > 1:
                boxes.append(bin_kl(student["boxes"], teacher["boxes"], foreground, temperature, self._bins))
            else:
                boxes.append(distance_l1(student["boxes"], teacher["boxes"], foreground))
            if self._rotated:
                angles.append(angle_difference(student["angle"], teacher["angle"], foreground))
        maps = zip(mine[0]["feats"], seen[0]["feats"], strict=True)
        parts = {
            "kd_class": settings.class_weight * torch.stack(scores).mean(),
            "kd_box": settings.box_weight * torch.stack(boxes).mean(),
            "kd_attention": settings.attention_weight * torch.stack([attention_transfer(*pair) for pair in maps]).sum(),
        }
        return parts | ({"kd_angle": settings.box_weight * torch.stack(angles).mean()} if angles else {})

    def _from_features(self, mine: list[Tensor], seen: list[Branch], temperature: float) -> Losses:
        projector = getattr(self._student, PROJECTOR, None)
        projected = mine if projector is None else [layer(f) for layer, f in zip(projector, mine, strict=True)]
        pairs = list(zip(projected, seen[0]["feats"], strict=True))
        if self._settings.method is DistillMethod.CHANNEL_WISE:
            losses = [channel_wise(student, teacher, temperature) for student, teacher in pairs]
        else:
            places = [teacher.shape[2] * teacher.shape[3] for _, teacher in pairs]
            logits = torch.stack([branch["scores"] for branch in seen]).mean(dim=0)
            scores = torch.split(teacher_best_score(logits), places, dim=1)
            losses = [score_weighted_l2(*pair, score) for pair, score in zip(pairs, scores, strict=True)]
        return {"kd_feature": self._settings.feature_weight * torch.stack(losses).sum()}


def part_names(method: DistillMethod, *, rotated: bool = False) -> tuple[str, ...]:
    """Return the names of the losses that a method adds, as they stand in the training's log."""
    if method is not DistillMethod.LOGITS:
        return ("kd_feature",)
    return ("kd_class", "kd_box", *(("kd_angle",) if rotated else ()), "kd_attention")


def _branch_losses(criterion: Criterion) -> list[Assigning]:
    """Return the losses that assign boxes: one, or the one-to-many and one-to-one ones of an NMS-free head."""
    names = ("one2many", "one2one") if hasattr(criterion, "one2many") else ()
    return [getattr(criterion, name) for name in names] or [cast("Assigning", criterion)]


def _branches(predictions: Predictions) -> list[Branch]:
    """Return a head's raw predictions in the order of `_branch_losses`; in eval mode they come behind the decoded."""
    raw = predictions[1] if isinstance(predictions, tuple) else predictions
    return [raw["one2many"], raw["one2one"]] if "one2many" in raw else [raw]
