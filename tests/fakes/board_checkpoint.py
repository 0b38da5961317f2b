# SPDX-License-Identifier: AGPL-3.0-or-later
"""An untrained checkpoint of a network for the classes of drawn boards: upright or rotated boxes, or masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vision_line.simulator.defects import KINDS


def write_board_checkpoint(network: str, path: Path) -> None:
    """Write one of a network such as "yolov8n", "yolov8n-obb" or "yolov8n-seg"."""
    import torch
    from ultralytics.nn.tasks import DetectionModel, OBBModel, SegmentationModel

    torch.manual_seed(0)
    kinds: dict[str, tuple[str, Any]] = {"obb": ("obb", OBBModel), "seg": ("segment", SegmentationModel)}
    task, kind = kinds.get(network.rpartition("-")[2], ("detect", DetectionModel))
    model = kind(f"{network}.yaml", ch=3, nc=len(KINDS), verbose=False)
    model.names = dict(enumerate(KINDS))
    model.task = task
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.weight.data.uniform_(0.5, 1.5)  # equal scales would make all channels worth the same
    if network.startswith("yolo26"):  # as drawn its scores hardly depend on the image, which proves nothing
        for branch in model.model[-1].one2one_cv3:
            branch[-1].weight.data *= 20
    if task == "segment":  # as drawn its masks are all nearly 0, which proves nothing
        for layer in model.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = 1.0
        model.train()(torch.rand(4, 3, 96, 96))
        for layer in model.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = 0.03
    torch.save({"model": model, "ema": None, "epoch": -1, "train_args": {}}, path)
