# SPDX-License-Identifier: AGPL-3.0-or-later
"""Other networks of a checkpoint's family: of another size, or with other classes."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn
from ultralytics.nn.tasks import DetectionModel, OBBModel, SegmentationModel

from vision_line.devices.model.tasks import ModelTask
from vision_line.errors import ModelError
from vision_line_compression.network.checkpoint import Checkpoint
from vision_line_compression.network.detection_network import Layout, network_of


def at_scale(like: Checkpoint, scale: str, seed: int) -> nn.Module:
    """Return an untrained network of the family of `like`, with its classes, at another of its sizes: n, s, m, l, x.

    Raises:
        ModelError: the checkpoint's layout has no such size.
    """
    layout = copy.deepcopy(network_of(like.model).yaml)
    if scale not in layout.get("scales", {}):
        raise ModelError(
            f"{like.path}: expected a layout with the size {scale!r}, found {sorted(layout.get('scales', {}))}"
        )
    layout["scale"] = scale
    torch.manual_seed(seed)
    return _built(layout, like.classes, like.task)


def with_classes(start: Checkpoint, classes: tuple[str, ...], seed: int) -> nn.Module:
    """Return the network of `start` with its weights and other classes; what depends on their number is random."""
    torch.manual_seed(seed)
    model = _built(copy.deepcopy(network_of(start.model).yaml), classes, start.task)
    weights, own = start.model.state_dict(), model.state_dict()
    model.load_state_dict({name: weights[name] if _fits(weights, own, name) else own[name] for name in own})
    return model


def scaled_width(like: Checkpoint, factor: float) -> nn.Module:
    """Return an untrained network of the family of `like`, with its classes and all widths times `factor`."""
    layout = copy.deepcopy(network_of(like.model).yaml)
    scale = layout.get("scale") or next(iter(layout["scales"]))
    depth, width, most_channels = layout["scales"][scale]
    layout["scales"] = {scale: [depth, width * factor, most_channels]}
    layout["scale"] = scale
    return _built(layout, like.classes, like.task)


#: What builds a network of a task from its layout.
_BUILDERS = {ModelTask.DETECT: DetectionModel, ModelTask.OBB: OBBModel, ModelTask.SEGMENT: SegmentationModel}


def _built(layout: Layout, classes: tuple[str, ...], task: ModelTask) -> nn.Module:
    build: Callable[..., nn.Module] = _BUILDERS[task]
    model = build(layout, ch=3, nc=len(classes), verbose=False)
    network_of(model).names = dict(enumerate(classes))
    return model.eval()


def _fits(weights: dict[str, torch.Tensor], own: dict[str, torch.Tensor], name: str) -> bool:
    return name in weights and weights[name].shape == own[name].shape
