# SPDX-License-Identifier: AGPL-3.0-or-later
"""Drawn boards and untrained networks for their defects, small enough to be trained in seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vision_line.simulator.dataset import write_dataset
from vision_line.simulator.defects import KINDS

#: Writes an untrained checkpoint of a network, such as "yolov8n", for the boards' classes.
WriteCheckpoint = Callable[[str], Path]


@pytest.fixture(scope="session")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw 20 pictures of boards in three splits; returns data.yaml."""
    return write_dataset(tmp_path_factory.mktemp("boards"), 20, seed=3)


@pytest.fixture(scope="session")
def write_board_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> WriteCheckpoint:
    """Write untrained checkpoints, once for each network."""
    import torch
    from ultralytics.nn.tasks import DetectionModel

    folder = tmp_path_factory.mktemp("board-checkpoints")

    def write(network: str) -> Path:
        path = folder / f"{network}.pt"
        if not path.exists():
            torch.manual_seed(0)
            model: Any = DetectionModel(f"{network}.yaml", ch=3, nc=len(KINDS), verbose=False)  # type: ignore[no-untyped-call]
            model.names = dict(enumerate(KINDS))
            model.task = "detect"
            for layer in model.modules():
                if isinstance(layer, torch.nn.BatchNorm2d):
                    layer.weight.data.uniform_(0.5, 1.5)  # equal scales would make all channels worth the same
            torch.save({"model": model, "ema": None, "epoch": -1, "train_args": {}}, path)
        return path

    return write
