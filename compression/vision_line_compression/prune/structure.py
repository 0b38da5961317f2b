# SPDX-License-Identifier: AGPL-3.0-or-later
"""Read a split model's structure: where its parts lie, and every convolution with its grid and place in the groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn
from ultralytics.nn.modules.block import RepVGGDW

from vision_line_compression.network.checkpoint import attention_products
from vision_line_compression.network.detection_network import branch_names, head_of, network_of
from vision_line_compression.network.split_blocks import find_halves
from vision_line_compression.prune.groups import NetworkStructure
from vision_line_compression.prune.tracing import opaque_names

_TRACE_SIDE = 64


@dataclass(frozen=True, slots=True)
class Convolution:
    """One convolution of the deployed network; `level` counts the halvings from the input to its output's grid.

    `channels` is (in, out) of the unpruned layer. `depthwise` convolutions have one filter for each channel.
    `transposed` ones make a grid that is `stride` times finer.
    """

    name: str
    kernel_hw: tuple[int, int]
    stride: int
    depthwise: bool
    level: int
    channels: tuple[int, int]
    transposed: bool = False

    @property
    def taps(self) -> int:
        """Return the weights of one filter plane."""
        return self.kernel_hw[0] * self.kernel_hw[1]

    @property
    def taps_a_place(self) -> float:
        """Return how many of them make one place of the output."""
        return self.taps / self.stride**2 if self.transposed else self.taps


def survey_convolutions(model: nn.Module) -> tuple[Convolution, ...]:
    """Run the split model once on a small image and describe its convolutions in the order they run.

    Left out is what deployment removes: the head that is not used for inference, classes of pixels that are there for
    training, and the branch of a RepVGG block that is folded into the branch beside it. The fixed DFL convolution is
    left out too.
    """
    found: list[Convolution] = []
    dropped = _dropped(model)

    def record(layer: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        convolution = cast("nn.Conv2d | nn.ConvTranspose2d", layer)
        found.append(_described(names[convolution], convolution, int(output.shape[2])))

    names: dict[nn.Module, str] = {
        layer: name
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and ".dfl." not in name and not name.startswith(dropped)
    }
    hooks = [layer.register_forward_hook(record) for layer in names]
    with torch.no_grad():
        model(torch.zeros(1, 3, _TRACE_SIDE, _TRACE_SIDE))
    for hook in hooks:
        hook.remove()
    return tuple(found)


def read_structure(model: nn.Module, convolutions: Sequence[Convolution]) -> NetworkStructure:
    """Return what is fixed about the split `model`."""
    network = network_of(model)
    head = len(network.model) - 1
    neck = frozenset(range(len(network.yaml["backbone"]), head))
    levels = {convolution.name: convolution.level for convolution in convolutions}
    return NetworkStructure(neck, head, opaque_names(model), levels, find_halves(model))


def fixed_parameters(model: nn.Module) -> int:
    """Count the deployed parameters that belong to no surveyed convolution: the DFL bins."""
    return sum(parameter.numel() for name, parameter in model.named_parameters() if ".dfl." in name)


def attention_macs(model: nn.Module, convolutions: Sequence[Convolution], size_hw: tuple[int, int]) -> float:
    """Count the attention products for an image of `size_hw` pixels; no plan changes them, for attention is kept."""
    levels = {convolution.name: convolution.level for convolution in convolutions}
    total = 0.0
    for name in opaque_names(model):
        level = levels[f"{name}.qkv.conv"]
        total += attention_products(model.get_submodule(name), (size_hw[0] >> level) * (size_hw[1] >> level))
    return total


def _described(name: str, layer: nn.Conv2d | nn.ConvTranspose2d, height: int) -> Convolution:
    kernel = int(layer.kernel_size[0]), int(layer.kernel_size[-1])
    level = (_TRACE_SIDE // height).bit_length() - 1
    channels = layer.in_channels, layer.out_channels
    return Convolution(
        name=name,
        kernel_hw=kernel,
        stride=int(layer.stride[0]),
        depthwise=layer.groups > 1,
        level=level,
        channels=channels,
        transposed=isinstance(layer, nn.ConvTranspose2d),
    )


def _dropped(model: nn.Module) -> tuple[str, ...]:
    head, head_name = head_of(model), len(network_of(model).model) - 1
    prefixes = [f"{name}.conv1." for name, module in model.named_modules() if isinstance(module, RepVGGDW)]
    if getattr(head, "one2one_cv2", None) is not None:
        dropped = (name for name in branch_names(head) if name.startswith("one2one_") != bool(head.end2end))
        prefixes.extend(f"model.{head_name}.{name}." for name in dropped)
    return tuple(prefixes)
