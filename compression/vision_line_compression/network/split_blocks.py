# SPDX-License-Identifier: AGPL-3.0-or-later
"""Blocks that halve a tensor, rewritten exactly into blocks of two convolutions, and back into the stock classes.

`C2f.forward` cuts the output of one convolution in two and later joins the pieces with their own descendants; a
dependency graph cannot follow indices through that. Two convolutions, each with half of the weights, compute the
same numbers and are followed easily. The rewriting changes an object's class, never its `forward` attribute: such
an attribute could not be saved.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import nn
from ultralytics.nn.modules import C2PSA, PSA, C2f, C2fCIB, C3k2, Conv
from ultralytics.nn.modules.block import RepVGGDW

from vision_line.errors import ModelError

_BN_VECTORS = ("weight", "bias", "running_mean", "running_var")
_BN_COUNT = "num_batches_tracked"


class SplitC2f(nn.Module):
    """C2f, C3k2 or C2fCIB whose `cv1` is two convolutions: `cv0` (passed on) and `cv1` (worked on)."""

    cv0: nn.Module
    cv1: nn.Module
    cv2: nn.Module
    m: nn.ModuleList

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, c_in, h, w) to (n, c_out, h, w) as the stock class does."""
        parts = [self.cv0(x), self.cv1(x)]
        parts.extend(block(parts[-1]) for block in self.m)
        return cast("torch.Tensor", self.cv2(torch.cat(parts, 1)))


class SplitC2PSA(nn.Module):
    """C2PSA whose `cv1` is two convolutions."""

    cv0: nn.Module
    cv1: nn.Module
    cv2: nn.Module
    m: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, c, h, w) to (n, c, h, w) as the stock class does."""
        return cast("torch.Tensor", self.cv2(torch.cat((self.cv0(x), self.m(self.cv1(x))), 1)))


class SplitPSA(nn.Module):
    """PSA whose `cv1` is two convolutions."""

    cv0: nn.Module
    cv1: nn.Module
    cv2: nn.Module
    attn: nn.Module
    ffn: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, c, h, w) to (n, c, h, w) as the stock class does."""
        worked = self.cv1(x)
        worked = worked + self.attn(worked)
        worked = worked + self.ffn(worked)
        return cast("torch.Tensor", self.cv2(torch.cat((self.cv0(x), worked), 1)))


_SPLIT_CLASS: dict[type[nn.Module], type[nn.Module]] = {
    C2f: SplitC2f,
    C3k2: SplitC2f,
    C2fCIB: SplitC2f,
    C2PSA: SplitC2PSA,
    PSA: SplitPSA,
}


class _Block(Protocol):
    """A block before, between or after both rewritings."""

    c: int  # channels of a half
    cv0: Conv
    cv1: Conv
    stock_class: type[_Block]


@dataclass(frozen=True, slots=True)
class Halves:
    """Names of the two convolutions of one split block; their widths must stay equal for the merge."""

    passed: str
    worked: str


def split_blocks(model: nn.Module) -> None:
    """Rewrite all halving blocks of `model` in place; the computed function stays the same."""
    for block in model.modules():
        target = _SPLIT_CLASS.get(type(block))
        if target is not None:
            _split(cast("_Block", block), cast("type[_Block]", target))


def merge_blocks(model: nn.Module) -> None:
    """Undo `split_blocks` in place, whatever widths the halves have got since.

    Raises:
        ModelError: The two halves of a block differ in width, so no stock class can hold them.
    """
    for name, block in _split_blocks(model):
        _merge(name, block)
    for module in model.modules():
        if isinstance(module, RepVGGDW):
            module.dim = module.conv.conv.out_channels


def find_halves(model: nn.Module) -> tuple[Halves, ...]:
    """Return the pairs of convolutions (names of `nn.Conv2d`) in a split model."""
    return tuple(Halves(f"{name}.cv0.conv", f"{name}.cv1.conv") for name, _ in _split_blocks(model))


def _split_blocks(model: nn.Module) -> Iterator[tuple[str, _Block]]:
    return ((name, cast("_Block", block)) for name, block in model.named_modules() if hasattr(block, "stock_class"))


def _split(block: _Block, target: type[_Block]) -> None:
    width = block.c
    whole = block.cv1
    block.cv0 = _part_of(whole, slice(0, width))
    block.cv1 = _part_of(whole, slice(width, 2 * width))
    block.stock_class = type(block)
    block.__class__ = target


def _merge(name: str, block: _Block) -> None:
    passed, worked = block.cv0, block.cv1
    widths = passed.conv.out_channels, worked.conv.out_channels
    if widths[0] != widths[1]:
        raise ModelError(f"{name}: its halves have {widths[0]} and {widths[1]} channels, expected equal widths")
    block.cv1 = _joined(passed, worked)
    block.c = widths[1]
    block.__class__ = block.stock_class
    del block.cv0, block.stock_class


def _part_of(whole: Conv, rows: slice) -> Conv:
    weight = whole.conv.weight.data[rows]
    return _convolution(whole, weight, [getattr(whole.bn, key).data[rows] for key in _BN_VECTORS])


def _joined(first: Conv, second: Conv) -> Conv:
    weight = torch.cat((first.conv.weight.data, second.conv.weight.data))
    vectors = [torch.cat((getattr(first.bn, key).data, getattr(second.bn, key).data)) for key in _BN_VECTORS]
    return _convolution(first, weight, vectors)


def _convolution(like: Conv, weight: torch.Tensor, bn_vectors: list[torch.Tensor]) -> Conv:
    convolution = Conv(weight.shape[1], weight.shape[0], 1, 1, act=like.act)  # type: ignore[no-untyped-call]
    convolution.conv.weight.data.copy_(weight)
    for key, values in zip(_BN_VECTORS, bn_vectors, strict=True):
        getattr(convolution.bn, key).data.copy_(values)
    # Ultralytics changes these after construction; the defaults would move every output.
    convolution.bn.eps, convolution.bn.momentum = like.bn.eps, like.bn.momentum
    getattr(convolution.bn, _BN_COUNT).copy_(getattr(like.bn, _BN_COUNT))
    return convolution.train(like.training)
