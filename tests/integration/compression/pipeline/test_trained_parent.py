# SPDX-License-Identifier: AGPL-3.0-or-later
"""The parent of a recipe, trained as the recipe trains all else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tools import train_parent

from vision_line_compression.network.checkpoint import load_checkpoint, save_checkpoint
from vision_line_compression.network.family import with_classes

from .conftest import Bench, WriteCheckpoint


def test_a_parent_begins_with_other_classes(
    bench: Bench, tmp_path: Path, boards: Path, write_board_checkpoint: WriteCheckpoint
) -> None:
    """It has those of the data set in the end, and learned; the same command does nothing then."""
    given = load_checkpoint(write_board_checkpoint("yolov8n"))
    start, made = tmp_path / "start.pt", tmp_path / "parent.pt"
    bench.recipe.write_text(bench.recipe.read_text().replace("image_size = 96", "image_size = 64"))
    two = ("person", "bus")
    save_checkpoint(with_classes(given, two, 0), start, type(given)(given.model, given.family, two, "", start))
    arguments = [str(bench.recipe), f"--start={start}", f"--data={boards}", f"--output={made}"]

    assert train_parent.main(arguments) == 0

    trained = load_checkpoint(made)
    assert trained.classes == given.classes
    before, after = (dict(one.model.named_parameters())["model.4.cv1.conv.weight"] for one in (given, trained))
    assert not torch.equal(before, after)
    assert not made.with_suffix(".training").exists()
    written = made.stat().st_mtime_ns
    assert train_parent.main(arguments) == 0
    assert made.stat().st_mtime_ns == written


def test_how_long_has_to_be_said(bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A recipe without `parent.epochs` is refused."""
    text = bench.recipe.read_text()
    bench.recipe.write_text(text.replace('checkpoint = "missing.pt"\nepochs = 1', 'checkpoint = "missing.pt"'))

    assert train_parent.main([str(bench.recipe), "--start=m.pt", f"--output={tmp_path / 'made.pt'}"]) == 2
    assert "parent.epochs" in capsys.readouterr().err
