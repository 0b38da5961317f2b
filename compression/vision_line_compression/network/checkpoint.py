# SPDX-License-Identifier: AGPL-3.0-or-later
"""An Ultralytics checkpoint of boxes or masks: opened safely, recognised by its structure, saved in the same form."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal, cast

import torch
from torch import nn
from ultralytics.nn.modules import (
    C2PSA,
    OBB,
    PSA,
    SPPF,
    C2f,
    C2fCIB,
    C3k2,
    Classify,
    Concat,
    Conv,
    Detect,
    Pose,
    SCDown,
    Segment,
    v10Detect,
)
from ultralytics.nn.modules.block import Attention
from ultralytics.nn.modules.head import OBB26, Depth, Segment26, SemanticSegment
from ultralytics.nn.tasks import BaseModel, DetectionModel, torch_safe_load

from vision_line.devices.model.masks import COEFFICIENTS
from vision_line.devices.model.tasks import ModelTask, task_problem
from vision_line.errors import ModelError, RunError
from vision_line_compression.files import sha256_of
from vision_line_compression.network.detection_network import head_of, network_of, task_of

Family = Literal["v8", "v10", "11", "26"]

#: What the top-level layers of the four families are made of. Anything else would be pruned without proof.
_KNOWN_LAYERS = (
    *(Conv, C2f, C3k2, C2fCIB, C2PSA, PSA, SPPF, SCDown, Concat, nn.Upsample),
    *(Detect, v10Detect, OBB, OBB26, Segment, Segment26),
)

#: Heads of other tasks by Ultralytics' names of these.
_OTHER_TASKS = {
    SemanticSegment: "semantic",
    Pose: "pose",
    Classify: "classify",
    Depth: "depth",
}

#: Input side used to count operations; convolutions grow exactly with the area in multiples of the largest stride.
_TRACE_SIDE = 64


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """One model of upright or rotated boxes, or of boxes and masks, as it was read.

    `model` is float32, on the CPU and in evaluation mode, not fused; it is shared, so whoever changes it copies it
    first. `classes` are the class names by class id. `sha256` is that of the file.
    """

    model: nn.Module
    family: Family
    classes: tuple[str, ...]
    sha256: str
    path: Path
    task: ModelTask = ModelTask.DETECT


@dataclass(frozen=True, slots=True)
class Complexity:
    """Size of the model as it is deployed, that is with batch normalisation folded and unused heads dropped.

    `macs` counts the multiplications of all convolutions and attention products for one image, which are those of the
    exported graph. The published figures leave the products out (GFLOPs = 2 · macs / 1e9): 1 % of yolo11n at 640 x 640.
    """

    params: int
    macs: int


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a `.pt` file of the families v8, v10, 11 or 26; its exponential average is preferred where there is one.

    Only known classes of torch and ultralytics are rebuilt from the file: it cannot run code of its own.

    Raises:
        ModelError: No such file, not an Ultralytics checkpoint, another task or family, or a fused model.
    """
    content = _read(path)
    found = content.get("ema") or content.get("model")
    if isinstance(found, BaseModel):
        _check_task(found, path)
    if not isinstance(found, DetectionModel):
        raise ModelError(
            f"{path}: found {type(found).__name__}, expected an Ultralytics detection, OBB or segmentation checkpoint"
        )
    model = found.float().eval()
    model.requires_grad_(True)
    for module in model.modules():
        if hasattr(module, "inplace"):
            cast("nn.ReLU", module).inplace = True
    network_of(model).args = cast("dict[str, object]", content.get("train_args") or {})
    family = _family(model, path)
    if not any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        raise ModelError(f"{path}: found a fused model, expected one with its batch normalisation layers")
    return Checkpoint(model, family, _classes(model), sha256_of(path), path, task_of(model))


def save_checkpoint(model: nn.Module, path: Path, like: Checkpoint) -> None:
    """Write `model` so that plain `YOLO(path)` opens it; names and training arguments are those of `like`.

    Weights stay float32: later stages start from the very numbers that were measured. The file appears whole or not
    at all.

    Raises:
        ModelError: `model` holds classes that plain Ultralytics does not know.
        RunError: the file cannot be written.
    """
    foreign = sorted({type(module).__qualname__ for module in model.modules() if _is_foreign(module)})
    if foreign:
        raise ModelError(f"{path}: found the classes {', '.join(foreign)}, expected only stock layers")
    arguments = dict(cast("dict[str, object]", network_of(like.model).args))
    saved = network_of(copy.deepcopy(model).float().eval())
    saved.names = dict(enumerate(like.classes))
    saved.args = arguments
    saved.task = like.task.value
    content = {"epoch": -1, "best_fitness": None, "model": saved, "ema": None, "train_args": arguments}
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, partial)
        partial.replace(path)
    except (OSError, RuntimeError) as exc:  # torch says the latter of a full disk
        raise RunError(f"{path}: cannot be written: {str(exc).splitlines()[0]}") from exc


def complexity(model: nn.Module, size_hw: tuple[int, int]) -> Complexity:
    """Count parameters and MACs of `model`, fused, for one image of `size_hw` pixels (multiples of 32).

    `model` is not changed. Raises ValueError for another size.
    """
    height, width = size_hw
    if height % 32 or width % 32 or height <= 0 or width <= 0:
        raise ValueError(f"size_hw: found {size_hw}, expected positive multiples of 32")
    fused = fused_copy(model)
    area = height * width / _TRACE_SIDE**2
    macs = 0.0

    def count(layer: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        nonlocal macs
        positions = output.shape[2] * output.shape[3] * area
        if isinstance(layer, nn.Conv2d):
            macs += positions * layer.weight.numel()
        elif isinstance(layer, nn.ConvTranspose2d):  # each input position is multiplied with all weights
            macs += positions * layer.weight.numel() / prod(layer.stride)
        else:
            macs += attention_products(layer, positions)

    # The frozen convolution that sums DFL bins works on (4, anchors), not on a grid; it is left out everywhere.
    for name, layer in fused.named_modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | Attention) and ".dfl." not in name:
            layer.register_forward_hook(count)
    with torch.no_grad():
        fused(torch.zeros(1, 3, _TRACE_SIDE, _TRACE_SIDE))
    return Complexity(sum(parameter.numel() for parameter in fused.parameters()), round(macs))


def attention_products(layer: nn.Module, positions: float) -> float:
    """Return the multiplications of an `Attention` for a grid of this many positions, beside those of its convolutions.

    Each head holds every position against every other: keys with queries, then the weights with values.
    """
    attention = cast("Attention", layer)
    return float(attention.num_heads * (attention.key_dim + attention.head_dim) * positions**2)


def fused_copy(model: nn.Module) -> nn.Module:
    """Return a copy of `model` as it is deployed: in evaluation mode, batch normalisation folded, one head."""
    fused = copy.deepcopy(model).eval()
    return cast("nn.Module", fused.fuse(verbose=False))  # type: ignore[operator]


def _read(path: Path) -> dict[str, object]:
    if not path.is_file():
        raise ModelError(f"{path}: no such file, expected an Ultralytics checkpoint (.pt)")
    if path.suffix != ".pt":
        raise ModelError(f"{path}: found the suffix {path.suffix!r}, expected an Ultralytics checkpoint (.pt)")
    try:
        content, _ = torch_safe_load(str(path), safe_only=True)  # type: ignore[no-untyped-call]
    except OSError as exc:
        raise ModelError(f"{path}: cannot be read: {exc.strerror or exc}") from exc
    except (TypeError, RuntimeError, EOFError, ImportError, AttributeError, KeyError, pickle.UnpicklingError) as exc:
        raise ModelError(f"{path}: not an Ultralytics checkpoint: {str(exc).strip().splitlines()[0]}") from exc
    if not isinstance(content, dict):
        raise ModelError(f"{path}: found {type(content).__name__}, expected an Ultralytics checkpoint")
    return content


def _check_task(model: nn.Module, path: Path) -> None:
    """Refuse a model of another task by its head, whatever it was called when it was saved."""
    head = network_of(model).model[-1]
    for other, task in _OTHER_TASKS.items():
        if isinstance(head, other):
            raise ModelError(f"{path}: {task_problem(task)}")


def _family(model: nn.Module, path: Path) -> Family:
    layers = list(network_of(model).model)
    channels = next(layer.in_channels for layer in model.modules() if isinstance(layer, nn.Conv2d))
    if channels != 3:
        raise ModelError(
            f"{path}: takes images of {channels} channels, expected 3: it is shown RGB images, also of grey cameras"
        )
    unknown = sorted({type(layer).__name__ for layer in layers if type(layer) not in _KNOWN_LAYERS})
    if unknown:
        raise ModelError(f"{path}: found layers of type {', '.join(unknown)}, expected YOLO v8, v10, 11 or 26")
    head = layers[-1]
    if type(head) is v10Detect:
        return "v10"
    if type(head) not in (Detect, OBB, OBB26, Segment, Segment26):
        raise ModelError(f"{path}: the last layer is {type(head).__name__}, expected a detection head")
    if isinstance(head, Segment) and head.nm != COEFFICIENTS:
        raise ModelError(f"{path}: has masks of {head.nm} coefficients, expected {COEFFICIENTS}")
    if isinstance(head_of(model).cv3[0][0], Conv):
        return "v8"
    return "26" if head_of(model).reg_max == 1 else "11"


def _classes(model: nn.Module) -> tuple[str, ...]:
    names = network_of(model).names
    return tuple(names[index] for index in sorted(names))


def _is_foreign(module: nn.Module) -> bool:
    return not type(module).__module__.startswith(("ultralytics.", "torch."))
