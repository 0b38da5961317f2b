# SPDX-License-Identifier: AGPL-3.0-or-later
"""Carry out a plan: cut the channels, merge the blocks back into stock classes, prove that all went as planned.

Then batch norm statistics are estimated anew: what a pruned layer passes on is not what its followers' averages expect.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vision_line.errors import ConfigError, ModelError
from vision_line_compression.data.devices import CPU, moved
from vision_line_compression.network.checkpoint import Checkpoint, complexity
from vision_line_compression.network.split_blocks import merge_blocks, split_blocks
from vision_line_compression.prune.channels import channel_axis, silence
from vision_line_compression.prune.plan import PruningPlan

#: Greatest difference between pruned and silenced outputs: a share of how much the outputs vary over the image, which
#: a mixed-up channel changes, plus a share of their size, which is float32 rounding.
_TOLERANCE_VARYING = 1e-3
_TOLERANCE_SIZE = 1e-5
_SIDE = 96


def apply_plan(checkpoint: Checkpoint, plan: PruningPlan, *, verify: bool = True) -> nn.Module:
    """Return a new, pruned model of stock classes; `checkpoint` is not changed.

    Widths, parameters and MACs are always compared with the plan. `verify` also runs the parent with the planned
    channels silenced and compares all raw outputs with the pruned model's.

    Raises:
        ConfigError: The plan was made for another checkpoint.
        ModelError: The plan does not fit the network, or the result is not what was planned.
    """
    _ensure_parent(checkpoint, plan)
    model = copy.deepcopy(checkpoint.model).eval()
    split_blocks(model)
    removed = _removed_channels(model, plan)
    for (layer, side), channels in removed.items():
        _cut(model.get_submodule(layer), side, channels)
    _ensure_widths(model, checkpoint, removed)
    merge_blocks(model)
    try:
        actual = complexity(model, plan.settings.size_hw)
    except RuntimeError as exc:  # torch's word for layers whose shapes do not fit each other
        raise ModelError(f"the plan leaves layers that do not fit: {str(exc).splitlines()[0]}") from exc
    if actual != plan.complexity:
        raise ModelError(f"the pruned model has {actual}, the plan says {plan.complexity}")
    if verify:
        ensure_equivalent(model, silenced_parent(checkpoint, plan))
    return model


def silenced_parent(checkpoint: Checkpoint, plan: PruningPlan) -> nn.Module:
    """Return a copy of the parent with its own widths in which the planned channels are zero."""
    _ensure_parent(checkpoint, plan)
    model = copy.deepcopy(checkpoint.model).eval()
    split_blocks(model)
    silence(model, [entry.group for entry in plan.groups], {entry.group.name: entry.removed for entry in plan.groups})
    merge_blocks(model)
    return model


def ensure_equivalent(model: nn.Module, reference: nn.Module) -> None:
    """Compare the raw head outputs of two models on one random image.

    Raises:
        ModelError: They differ by more than rounding: channels were mixed up.
    """
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, _SIDE, _SIDE, generator=generator)
    with torch.no_grad():
        pairs = zip(_raw_outputs(model, image), _raw_outputs(reference, image), strict=True)
        for got, expected in pairs:
            difference = float((got - expected).abs().max())
            varying = float((expected - expected.mean(dim=-1, keepdim=True)).abs().max())
            allowed = _TOLERANCE_VARYING * varying + _TOLERANCE_SIZE * float(expected.abs().max())
            if not difference <= allowed:
                raise ModelError(f"pruned and silenced outputs differ by {difference:.3g}, allowed are {allowed:.3g}")


def _ensure_parent(checkpoint: Checkpoint, plan: PruningPlan) -> None:
    if checkpoint.sha256 != plan.parent_sha256:
        found, expected = checkpoint.sha256[:12], plan.parent_sha256[:12]
        raise ConfigError(f"{checkpoint.path}: found sha256 {found}…, the plan was made for {expected}…")


def _removed_channels(model: nn.Module, plan: PruningPlan) -> dict[tuple[str, str], NDArray[np.intp]]:
    """Collect what each side of each layer loses; a reader of a concatenation loses channels of several groups."""
    collected: dict[tuple[str, str], list[NDArray[np.intp]]] = {}
    for entry in plan.groups:
        for member in entry.group.members:
            collected.setdefault((member.layer, member.side), []).append(member.channels_of(entry.removed))
    known = dict(model.named_modules())
    missing = sorted({layer for layer, _ in collected if layer not in known})
    if missing:
        raise ModelError(f"the plan names layers that the network does not have: {', '.join(missing)}")
    return {key: np.concatenate(parts) for key, parts in collected.items()}


def _cut(layer: nn.Module, side: str, channels: NDArray[np.intp]) -> None:
    if isinstance(layer, nn.BatchNorm2d):
        _cut_normalisation(layer, channels)
    elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        _cut_convolution(layer, "out" if side == "out" else "in", channels)
    else:
        raise ModelError(f"the plan prunes a {type(layer).__name__}, expected convolutions and normalisations")


def _cut_convolution(
    layer: nn.Conv2d | nn.ConvTranspose2d, side: Literal["in", "out"], channels: NDArray[np.intp]
) -> None:
    dimension = channel_axis(layer, side)
    kept = _kept(layer.weight.shape[dimension], channels)
    layer.weight = _parameter(layer.weight.detach().index_select(dimension, kept))
    if side == "in":
        layer.in_channels = len(kept)
        return
    layer.out_channels = len(kept)
    if layer.bias is not None:
        layer.bias = _parameter(layer.bias.detach()[kept])
    if layer.groups > 1:
        layer.groups = layer.in_channels = len(kept)


def _cut_normalisation(layer: nn.BatchNorm2d, channels: NDArray[np.intp]) -> None:
    kept = _kept(layer.num_features, channels)
    layer.weight = _parameter(layer.weight.detach()[kept])
    layer.bias = _parameter(layer.bias.detach()[kept])
    layer.running_mean = cast("torch.Tensor", layer.running_mean)[kept].clone()
    layer.running_var = cast("torch.Tensor", layer.running_var)[kept].clone()
    layer.num_features = len(kept)


def _kept(count: int, removed: NDArray[np.intp]) -> torch.Tensor:
    mask = np.ones(count, dtype=np.bool_)
    mask[removed] = False
    return torch.from_numpy(np.flatnonzero(mask))


def _parameter(values: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(values.clone(), requires_grad=True)


def _ensure_widths(model: nn.Module, checkpoint: Checkpoint, removed: dict[tuple[str, str], NDArray[np.intp]]) -> None:
    """Compare every convolution's widths with the parent's minus what the plan takes: nothing may be skipped."""
    parent = copy.deepcopy(checkpoint.model)
    split_blocks(parent)
    for name, layer in parent.named_modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            actual = cast("nn.Conv2d", model.get_submodule(name))
            lost_out = len(removed.get((name, "out"), ()))
            lost_in = lost_out if layer.groups > 1 else len(removed.get((name, "in"), ()))
            expected = layer.in_channels - lost_in, layer.out_channels - lost_out
            if (actual.in_channels, actual.out_channels) != expected:
                found = actual.in_channels, actual.out_channels
                raise ModelError(f"{name}: has (in, out) channels {found}, the plan says {expected}")


def _raw_outputs(model: nn.Module, image: torch.Tensor) -> list[torch.Tensor]:
    """Return boxes and scores of every head before decoding, which could reorder equal candidates."""
    return list(_tensors(model(image)[1]))


def _tensors(value: Mapping[str, object]) -> Iterable[torch.Tensor]:
    for part in value.values():
        if isinstance(part, dict):
            yield from _tensors(part)
        elif isinstance(part, torch.Tensor):  # "feats", the head's inputs, is a list: narrower in the pruned model
            yield part


def recalibrate_batch_norm(model: nn.Module, batches: Iterable[Tensor], device: str = CPU) -> int:
    """Replace all running means and variances of `model` by the plain average over `batches`, in place.

    Weights are not changed, nor are the layers' momenta. Only batch norm layers see training mode.

    Args:
        model: any model; left in eval mode.
        batches: network inputs (B, 3, h, w) float32, as the runtime prepares them, of training images.
        device: where they run through it.

    Returns:
        The number of images.

    Raises:
        ModelError: no batch norm layer, or no image: there is nothing to estimate.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    if not layers:
        raise ModelError("expected batch norm layers to recalibrate, found none: is the model fused?")
    momenta = [layer.momentum for layer in layers]
    model.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # cumulative average: each batch counts the same
        layer.train()
    images = 0
    with torch.no_grad(), moved(model, device):
        for batch in batches:
            model(batch.to(device))
            images += len(batch)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    model.eval()
    if not images:
        raise ModelError("expected images to recalibrate batch norm with, found none")
    return images
