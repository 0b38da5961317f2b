# SPDX-License-Identifier: AGPL-3.0-or-later
"""The channels of a network's groups: what each is worth, and the network with some of them silenced.

All importances read whole groups, so that coupled layers agree about their channels. A silenced channel is zero
wherever it is read, as if it were not there: its normalisations get γ = β = 0, and since every activation used maps 0
to 0, so do pooling, upsampling and sums of silenced channels. A transposed convolution, which has no normalisation
behind it, gets the weights and the bias 0 instead. This is what a pruned network must equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, cast

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
    an L1 penalty on γ), where there is none as "l2". "l2" is the root of the summed squares of all weights that write
    and read it (group norm, Fang et al. 2023). "taylor" is the mean over examples of (Σ γ·∂L/∂γ + β·∂L/∂β)² over what
    silencing sets to 0, the square of the first-order change of an example's loss when the channel is zeroed (Molchanov
    et al. 2019). Of a converged network the gradients of all examples together nearly cancel out; their squares do not.

    Raises:
        ModelError: "taylor" without an example, or one that leaves no gradient.
    """
    if criterion == "taylor":
        return _taylor(model, groups, () if differentiate is None else differentiate(model))
    rate = {"bn": _bn_scale, "l2": _group_norm}[criterion]
    return {group.name: rate(model, group) for group in groups}


def _bn_scale(model: nn.Module, group: ChannelGroup) -> NDArray[np.float64]:
    writers = _writers(model, group)
    scales = [_spread(group, to, layer.weight.detach().abs()) for to, layer in writers if not _is_transposed(layer)]
    if not scales:
        return _group_norm(model, group)
    return cast("NDArray[np.float64]", np.mean(scales, axis=0))


def _group_norm(model: nn.Module, group: ChannelGroup) -> NDArray[np.float64]:
    squares = np.zeros(group.channels)
    for member in group.members:
        layer = model.get_submodule(member.layer)
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            weight = layer.weight.detach().double()
            squares += _spread(group, member, weight.pow(2).sum(dim=(1 - channel_axis(layer, member.side), 2, 3)))
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
    for member, layer in _writers(model, group):
        for values in _written(layer):
            if values.grad is None:
                raise ModelError(f"{member.layer}: has no gradient, expected a backward pass before rating by Taylor")
            first_order = values.detach() * values.grad
            change += _spread(group, member, _channels_first(layer, first_order).flatten(1).sum(dim=1))
    return change


#: What makes a channel zero: a normalisation, or a transposed convolution without one.
Writer = nn.BatchNorm2d | nn.ConvTranspose2d


def channel_axis(layer: nn.Conv2d | nn.ConvTranspose2d, side: Literal["in", "out"]) -> int:
    """Return the axis of a convolution's weights along which the channels of one side lie."""
    return int((side == "in") != isinstance(layer, nn.ConvTranspose2d))


def _writers(model: nn.Module, group: ChannelGroup) -> list[tuple[Member, Writer]]:
    layers = [(member, model.get_submodule(member.layer)) for member in group.members if member.side == "out"]
    return [(member, layer) for member, layer in layers if isinstance(layer, Writer)]


def _is_transposed(layer: Writer) -> bool:
    return isinstance(layer, nn.ConvTranspose2d)


def _written(layer: Writer) -> list[torch.Tensor]:
    """Return the parameters whose zeros make channels zero."""
    return [layer.weight, *([] if layer.bias is None else [layer.bias])]


def _channels_first(layer: Writer, values: torch.Tensor) -> torch.Tensor:
    """Return a view of what `_written` returns as (channels, ...)."""
    if values.dim() == 1:
        return values[:, None]
    return values.transpose(0, channel_axis(layer, "out")) if isinstance(layer, nn.ConvTranspose2d) else values


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
            for member, layer in _writers(model, group):
                channels = torch.from_numpy(member.channels_of(removed[group.name]))
                with torch.no_grad():
                    for values in _written(layer):
                        _channels_first(layer, values)[channels] = 0.0


@contextmanager
def silenced(
    model: nn.Module, groups: Sequence[ChannelGroup], removed: Mapping[str, NDArray[np.bool_]]
) -> Iterator[None]:
    """Silence channels for the duration of the block and put the values back afterwards."""
    layers = [layer for group in groups if group.name in removed for _, layer in _writers(model, group)]
    parameters = [parameter for layer in layers for parameter in _written(layer)]
    values = [parameter.detach().clone() for parameter in parameters]
    silence(model, groups, removed)
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, before in zip(parameters, values, strict=True):
                parameter.copy_(before)
