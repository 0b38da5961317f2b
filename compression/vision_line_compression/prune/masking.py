# SPDX-License-Identifier: AGPL-3.0-or-later
"""Silence channels without removing them: a silenced channel is zero wherever it is read, as if it were not there.

The channel's normalisations get γ = β = 0; since every activation used maps 0 to 0, so do pooling, upsampling and
sums of silenced channels. This is what a pruned network must equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vision_line_compression.prune.groups import ChannelGroup


def silence(model: nn.Module, groups: Sequence[ChannelGroup], removed: Mapping[str, NDArray[np.bool_]]) -> None:
    """Silence, in place, the channels of each group that `removed` (group channels,) marks by the group's name."""
    for group in groups:
        if group.name in removed:
            for layer, channels in _written_normalisations(model, group, removed[group.name]):
                with torch.no_grad():
                    layer.weight[channels] = 0.0
                    layer.bias[channels] = 0.0


@contextmanager
def silenced(
    model: nn.Module, groups: Sequence[ChannelGroup], removed: Mapping[str, NDArray[np.bool_]]
) -> Iterator[None]:
    """Silence channels for the duration of the block and put the values back afterwards."""
    layers = [
        layer
        for group in groups
        if group.name in removed
        for layer, _ in _written_normalisations(model, group, removed[group.name])
    ]
    values = [(layer.weight.detach().clone(), layer.bias.detach().clone()) for layer in layers]
    silence(model, groups, removed)
    try:
        yield
    finally:
        with torch.no_grad():
            for layer, (weight, bias) in zip(layers, values, strict=True):
                layer.weight.copy_(weight)
                layer.bias.copy_(bias)


def _written_normalisations(
    model: nn.Module, group: ChannelGroup, chosen: NDArray[np.bool_]
) -> list[tuple[nn.BatchNorm2d, torch.Tensor]]:
    found = []
    for member in group.members:
        layer = model.get_submodule(member.layer)
        if member.side == "out" and isinstance(layer, nn.BatchNorm2d):
            found.append((layer, torch.from_numpy(member.channels_of(chosen))))
    return found
