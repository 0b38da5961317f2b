# SPDX-License-Identifier: AGPL-3.0-or-later
"""Quantization-aware training between the other trainings and the quantization."""

from __future__ import annotations

from importlib import util
from typing import Any

import pytest
import torch
from typer.testing import Result

from vision_line_compression.network.checkpoint import load_checkpoint
from vision_line_compression.training.fine_tuning import layer_widths

from .conftest import Bench


def succeeded(done: Result) -> Result:
    """Return what was done, which must have succeeded."""
    assert done.exit_code == 0, done.output
    return done


@pytest.mark.long  # it trains for a minute, and is asked for by few
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("no_glance")
def test_weights_learn_while_they_are_rounded(bench: Bench) -> None:
    """The stage leaves a plain checkpoint of the same widths and other weights, and the INT8 file is made of it."""
    bench.write("[qat]\nepochs = 1\n")
    text = bench.recipe.read_text().replace("epochs = 2", "epochs = 1")
    bench.recipe.write_text(text.replace("[prune]\n", '[prune]\nmethod = "uniform"\n'))
    for command in ("plan", "prune", "distill"):
        succeeded(bench(command))

    succeeded(bench("quantize"))

    before, after = (load_checkpoint(bench.result(f"{name}-*/trained.pt")).model for name in ("distill", "qat"))
    assert layer_widths(after) == layer_widths(before)
    assert all("Quant" not in type(module).__name__ for module in after.modules())
    assert any(not torch.equal(old, new) for old, new in zip(before.parameters(), after.parameters(), strict=True))
    assert "quantization-aware training" in bench.result("qat-*/training/qat/train.log").read_text()
    assert bench.result("export-quantization-aware-*/model.fp32.onnx").is_file()
    assert (bench.work / "bundle" / "bundle.json").is_file()


def test_a_missing_library_is_named_before_anything_is_done(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe with `[qat]` needs the extra."""

    def without(name: str, *more: Any) -> Any:
        return None if name == "modelopt" else util.find_spec(name, *more)

    monkeypatch.setattr("vision_line_compression.pipeline.inputs.find_spec", without)
    bench.write("[qat]\nepochs = 1\n")

    refused = bench("plan")

    assert refused.exit_code == 2
    assert "qat: needs NVIDIA Model Optimizer" in refused.output
    assert "pip install '.[qat]'" in refused.output
    assert not bench.work.exists()
