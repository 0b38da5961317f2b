# SPDX-License-Identifier: AGPL-3.0-or-later
"""The channels of a network's groups: what each is worth, and the network with some of them silenced.

All importances read whole groups, so that coupled layers agree about their channels. A silenced channel is zero
wherever it is read, as if it were not there: its normalisations get γ = β = 0, and since every activation used maps 0
to 0, so do pooling, upsampling and sums of silenced channels. This is what a pruned network must equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vision_line.errors import ModelError
from vision_line_compression.prune.groups import ChannelGroup, Member
from vision_line_compression.prune.settings import Criterion

#: Yields with the gradient of one example's training loss after another in the parameters of the given model; adding
#: the next one to it is what the reader prevents.
Differentiate = Callable[[nn.Module], Iterable[None]]


def rate_channels(
    model: nn.Module, groups: Sequence[ChannelGroup], criterion: Criterion, differentiate: Differentiate | None = None
) -> dict[str, NDArray[np.float64]]:
    """Return one value (channels,) for each group by name: the higher, the more important the channel.

    "bn" is the mean |γ| of the normalisations that write the channel (Liu et al. 2017; meaningful after training with
    an L1 penalty on γ). "l2" is the root of the summed squares of all weights that write and read it (group norm,
    Fang et al. 2023). "taylor" is the mean over examples of (Σ γ·∂L/∂γ + β·∂L/∂β)² over those normalisations, the
    square of the first-order change of an example's loss when the channel is zeroed (Molchanov et al. 2019). Of a
    converged network the gradients of all examples together nearly cancel out; their squares do not.

    Raises:
        ModelError: "taylor" without an example, or one that leaves no gradient.
    """
    if criterion == "taylor":
        return _taylor(model, groups, () if differentiate is None else differentiate(model))
    rate = {"bn": _bn_scale, "l2": _group_norm}[criterion]
    return {group.name: rate(model, group) for group in groups}


def _bn_scale(model: nn.Module, group: ChannelGroup) -> NDArray[np.float64]:
    scales = [_spread(group, member, bn.weight.detach().abs()) for member, bn in _normalisations(model, group)]
    return cast("NDArray[np.float64]", np.mean(scales, axis=0))


def _group_norm(model: nn.Module, group: ChannelGroup) -> NDArray[np.float64]:
    squares = np.zeros(group.channels)
    for member in group.members:
        layer = model.get_submodule(member.layer)
        if isinstance(layer, nn.Conv2d):
            other = 1 if member.side == "out" else 0
            weight = layer.weight.detach().double()
            squares += _spread(group, member, weight.pow(2).sum(dim=(other, 2, 3)))
    return np.sqrt(squares)


def _taylor(
    model: nn.Module, groups: Sequence[ChannelGroup], examples: Iterable[None]
) -> dict[str, NDArray[np.float64]]:
    totals, count = {group.name: np.zeros(group.channels) for group in groups}, 0
    model.zero_grad(set_to_none=True)
    for _ in examples:
        for group in groups:
            totals[group.name] += np.square(_first_order(model, group))
        model.zero_grad(set_to_none=True)  # else the next one's would be added to it
        count += 1
    if not count:
        raise ModelError("rating by Taylor: no example was differentiated, expected at least one")
    return {name: total / count for name, total in totals.items()}


def _first_order(model: nn.Module, group: ChannelGroup) -> NDArray[np.float64]:
    """Return the first-order change of the differentiated loss when a channel is zeroed: (channels,)."""
    change = np.zeros(group.channels)
    for member, bn in _normalisations(model, group):
        if bn.weight.grad is None or bn.bias.grad is None:
            raise ModelError(f"{member.layer}: has no gradient, expected a backward pass before rating by Taylor")
        first_order = bn.weight.detach() * bn.weight.grad + bn.bias.detach() * bn.bias.grad
        change += _spread(group, member, first_order)
    return change


def _normalisations(model: nn.Module, group: ChannelGroup) -> list[tuple[Member, nn.BatchNorm2d]]:
    layers = [(member, model.get_submodule(member.layer)) for member in group.members if member.side == "out"]
    return [(member, layer) for member, layer in layers if isinstance(layer, nn.BatchNorm2d)]


def _spread(group: ChannelGroup, member: Member, values: torch.Tensor) -> NDArray[np.float64]:
    """Sum the layer's `values` (layer channels,) over the occurrences of each channel of the group."""
    numbers = values.detach().cpu().double().numpy()
    total = np.zeros(group.channels)
    for root, layer, count in member.runs:
        total[root : root + count] += numbers[layer : layer + count]
    return total


def lowest_first(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Order channels by value, ties by position, so that plans can be repeated."""
    return np.argsort(values, kind="stable")


def kept_channels(values: NDArray[np.float64], width: int) -> tuple[int, ...]:
    """Return the `width` most valuable channels, ascending."""
    return tuple(sorted(int(channel) for channel in lowest_first(values)[len(values) - width :]))


def silence(model: nn.Module, groups: Sequence[ChannelGroup], removed: Mapping[str, NDArray[np.bool_]]) -> None:
    """Silence, in place, the channels of each group that `removed` (group channels,) marks by the group's name."""
    for group in groups:
        if group.name in removed:
            for member, layer in _normalisations(model, group):
                channels = torch.from_numpy(member.channels_of(removed[group.name]))
                with torch.no_grad():
                    layer.weight[channels] = 0.0
                    layer.bias[channels] = 0.0


@contextmanager
def silenced(
    model: nn.Module, groups: Sequence[ChannelGroup], removed: Mapping[str, NDArray[np.bool_]]
) -> Iterator[None]:
    """Silence channels for the duration of the block and put the values back afterwards."""
    layers = [layer for group in groups if group.name in removed for _, layer in _normalisations(model, group)]
    values = [(layer.weight.detach().clone(), layer.bias.detach().clone()) for layer in layers]
    silence(model, groups, removed)
    try:
        yield
    finally:
        with torch.no_grad():
            for layer, (weight, bias) in zip(layers, values, strict=True):
                layer.weight.copy_(weight)
                layer.bias.copy_(bias)
