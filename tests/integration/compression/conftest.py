# SPDX-License-Identifier: AGPL-3.0-or-later
"""Checkpoints of every family with random weights, and Ultralytics kept off the network and the home folder."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("YOLO_CONFIG_DIR", tempfile.mkdtemp(prefix="yolo-config-"))
os.environ.setdefault("YOLO_AUTOINSTALL", "False")
os.environ.setdefault("YOLO_OFFLINE", "True")

import pytest
from tests.fakes.made_once import made_once

from vision_line.simulator.labelled_images import write_dataset

WriteCheckpoint = Callable[[str], Path]


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Let torch use one core."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw 20 images of boards in three splits; returns data.yaml."""
    return made_once(tmp_path_factory, "boards", lambda folder: write_dataset(folder, 20, seed=3)) / "data.yaml"


@pytest.fixture(scope="session")
def write_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> WriteCheckpoint:
    """Return a function that writes an untrained model (2 classes) by its name, "-obb" and "-seg" too, once each."""
    folder = tmp_path_factory.mktemp("families")

    def write(name: str) -> Path:
        path = folder / f"{name}.pt"
        if not path.exists():
            _draw(name, path)
        return path

    return write


def _draw(name: str, path: Path) -> None:
    """Write a checkpoint whose normalisations differ from each other: equal ones would hide mixed-up channels."""
    import torch
    from torch import nn
    from ultralytics.nn.tasks import DetectionModel, OBBModel, SegmentationModel

    torch.manual_seed(0)
    kinds: dict[str, tuple[str, Any]] = {"obb": ("obb", OBBModel), "seg": ("segment", SegmentationModel)}
    task, kind = kinds.get(name.rpartition("-")[2], ("detect", DetectionModel))
    model = kind(f"{name}.yaml", nc=2, verbose=False)
    model.names = {0: "scratch", 1: "dent"}
    model.task = task
    model.args = {}
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0.0, 0.3)
            module.running_mean.normal_(0.0, 0.1)
            module.running_var.uniform_(0.05, 0.2)
    torch.save({"model": model, "ema": None, "epoch": -1, "train_args": {}}, path)
