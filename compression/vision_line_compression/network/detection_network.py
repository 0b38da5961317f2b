# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is read of an Ultralytics detection model; torch calls each attribute of a module a tensor or a module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import NotRequired, Protocol, TypeAlias, TypedDict, cast, final

from torch import Tensor, nn
from ultralytics.nn.modules import OBB, Proto, Segment

from vision_line.devices.model.tasks import ModelTask

Losses = dict[str, Tensor]


@final
class Branch(TypedDict):
    """What one branch of a head says before decoding, and what it read."""

    boxes: Tensor  # (B, 4 R, N)
    scores: Tensor  # (B, C, N)
    feats: list[Tensor]  # of (B, K, h, w)
    angle: NotRequired[Tensor]  # (B, 1, N) in radians, of rotated boxes


@final
class Branches(TypedDict):
    """The two branches of an NMS-free head."""

    one2many: Branch
    one2one: Branch


Raw: TypeAlias = Branch | Branches
Predictions: TypeAlias = Raw | tuple[Tensor, Raw]  # in eval mode the raw ones come behind the decoded


#: The loss of a head: (predictions, batch) -> (losses times the batch size, each part detached).
Criterion: TypeAlias = Callable[[Predictions, dict[str, Tensor]], tuple[Tensor, Losses]]


class Layer(Protocol):
    """A block of a chain that begins with a convolution."""

    conv: nn.Conv2d


class Head(Protocol):
    """A detection head: branches for boxes, classes and, of OBB, angles, of masks, coefficients (`cv4`).

    A branch is a chain of layers for each grid; `proto`, of masks, makes the prototypes.
    """

    nl: int
    reg_max: int
    stride: Tensor
    end2end: bool
    forward: object
    cv2: Sequence[Sequence[Layer]]
    cv3: Sequence[Sequence[Layer]]
    proto: Proto


class Layout(TypedDict):
    """The YAML of a family: its layers, and (depth, width, most channels) for each letter."""

    backbone: list[object]
    scales: dict[str, list[float]]
    scale: NotRequired[str]


class DetectionNetwork(Protocol):
    """A network with its head as the last layer of `model`."""

    model: nn.Sequential
    yaml: Layout
    names: dict[int, str]
    task: str
    args: SimpleNamespace | dict[str, object]  # settings of its training; a checkpoint holds a dict
    criterion: Criterion | None

    def init_criterion(self) -> Criterion:
        """Return a new criterion for this network's head."""


def network_of(model: nn.Module) -> DetectionNetwork:
    """Return `model`, an Ultralytics detection model, by the attributes that it has."""
    return cast("DetectionNetwork", model)


def branch_names(head: Head) -> tuple[str, ...]:
    """Return the branches that `head` has, NMS-free ones too; each is an attribute with a chain for each grid."""
    names = ("cv2", "cv3", "cv4")
    return tuple(
        name for name in (*names, *(f"one2one_{name}" for name in names)) if getattr(head, name, None) is not None
    )


def head_of(model: nn.Module) -> Head:
    """Return the detection head of `model`."""
    return cast("Head", network_of(model).model[-1])


def task_of(model: nn.Module) -> ModelTask:
    """Return what `model` is for, by its head."""
    head = network_of(model).model[-1]
    if isinstance(head, Segment):
        return ModelTask.SEGMENT
    return ModelTask.OBB if isinstance(head, OBB) else ModelTask.DETECT
