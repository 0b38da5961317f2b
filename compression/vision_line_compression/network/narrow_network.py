# SPDX-License-Identifier: AGPL-3.0-or-later
"""The narrower sibling: what the family's own recipe for smaller networks gives at the same number of operations."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import nn
from ultralytics.nn.tasks import DetectionModel

from vision_line.errors import ModelError
from vision_line.ports import ShapeHW
from vision_line_compression.network.checkpoint import Checkpoint, complexity, load_checkpoint, save_checkpoint

NARROW = "narrow.pt"

#: Steps of the width multiplier that are tried, relative to the parent's.
_STEPS = 64


def write_narrow_network(parent: Checkpoint, example: Path, folder: Path, size_hw: ShapeHW, seed: int) -> Path:
    """Write an untrained network of the parent's family with at most the MACs of `example`, and return its path.

    All widths are those of the parent's YAML times one factor, the largest that fits.

    Raises:
        ModelError: no factor fits.
    """
    limit = complexity(load_checkpoint(example).model, size_hw).macs
    torch.manual_seed(seed)
    for step in range(_STEPS, 0, -1):
        model = _scaled(parent, step / _STEPS)
        if complexity(model, size_hw).macs <= limit:
            save_checkpoint(model, folder / NARROW, parent)
            return folder / NARROW
    raise ModelError(f"{parent.path}: even the narrowest network of its family needs more than {limit} MACs")


def _scaled(parent: Checkpoint, factor: float) -> nn.Module:
    original: Any = parent.model
    layout = copy.deepcopy(original.yaml)
    scale = layout.get("scale") or next(iter(layout["scales"]))
    depth, width, most_channels = layout["scales"][scale]
    layout["scales"] = {scale: [depth, width * factor, most_channels]}
    layout["scale"] = scale
    model: nn.Module = DetectionModel(layout, ch=3, nc=len(parent.classes), verbose=False)  # type: ignore[no-untyped-call]
    return model.eval()
