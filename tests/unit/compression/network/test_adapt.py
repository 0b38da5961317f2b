# SPDX-License-Identifier: AGPL-3.0-or-later
"""Halving blocks, one class at a time: split exactly, merged exactly, at any width."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from ultralytics.nn.modules import C2PSA, PSA, C2f, C2fCIB, C3k2

from vision_line.errors import ModelError
from vision_line_compression.network.split_blocks import Halves, find_halves, merge_blocks, split_blocks

BLOCKS: dict[str, Callable[[], nn.Module]] = {
    "C2f": lambda: C2f(16, 32, 2, True),
    "C2f without shortcut": lambda: C2f(16, 32, 1, False),
    "C3k2": lambda: C3k2(16, 32, 1, False),
    "C3k2 of C3k": lambda: C3k2(16, 32, 2, True),
    "C3k2 with attention": lambda: C3k2(16, 128, 1, True, 0.5, True),
    "C2fCIB": lambda: C2fCIB(16, 32, 1, True, True),
    "PSA": lambda: PSA(128, 128),
    "C2PSA": lambda: C2PSA(128, 128, 1),
}


def network(block: nn.Module) -> nn.Sequential:
    """Return a block whose normalisations and their constants all differ from the defaults."""
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            module.eps, module.momentum = 1e-3, 0.03
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_()
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    return nn.Sequential(block).eval()


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("training", [False, True])
def test_a_split_block_computes_the_same(name: str, training: bool) -> None:
    """The rewritten block's output equals the stock block's, in evaluation and in training."""
    torch.manual_seed(3)
    model = network(BLOCKS[name]()).train(training)
    rewritten = copy.deepcopy(model)
    split_blocks(rewritten)
    image = torch.rand(2, 128 if "PSA" in name else 16, 8, 8)

    torch.testing.assert_close(rewritten(image), model(image), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", BLOCKS)
def test_merging_restores_class_weights_and_constants(name: str) -> None:
    """Split and merged, a block has its stock class, every number of its state, and the constants of its layers."""
    model, original = network(BLOCKS[name]()), network(BLOCKS[name]())
    original.load_state_dict(model.state_dict())
    split_blocks(model)
    merge_blocks(model)

    assert [type(m) for m in model.modules()] == [type(m) for m in original.modules()]
    assert list(model.state_dict()) == list(original.state_dict())
    assert all(
        torch.equal(a, b) for a, b in zip(model.state_dict().values(), original.state_dict().values(), strict=True)
    )
    assert {m.eps for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3}
    assert {m.momentum for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {0.03}


def test_split_blocks_can_be_saved() -> None:
    """A split model is pickled and read back: only its class changed, no attribute hides a function."""
    model = network(BLOCKS["C3k2"]())
    split_blocks(model)
    image = torch.rand(1, 16, 8, 8)
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)

    assert torch.equal(torch.load(buffer, weights_only=False)(image), model(image))


def test_halves_are_named_until_merged() -> None:
    """The pairs of convolutions that must stay equally wide are known by name."""
    model = network(BLOCKS["C2f"]())

    assert find_halves(model) == ()
    split_blocks(model)
    assert find_halves(model) == (Halves("0.cv0.conv", "0.cv1.conv"),)


def test_unequal_halves_are_refused() -> None:
    """No stock class can hold halves of different widths."""
    model = network(BLOCKS["C2f"]())
    split_blocks(model)
    half: Any = model[0].cv0
    half.conv.out_channels = 8

    with pytest.raises(ModelError, match="8 and 16 channels"):
        merge_blocks(model)
