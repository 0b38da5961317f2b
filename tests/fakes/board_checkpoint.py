# SPDX-License-Identifier: AGPL-3.0-or-later
"""An untrained checkpoint of a network for the classes of drawn boards, of upright or rotated boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vision_line.simulator.defects import KINDS


def write_board_checkpoint(network: str, path: Path) -> None:
    """Write one of a network such as "yolov8n" or "yolov8n-obb"."""
    import torch
    from ultralytics.nn.tasks import DetectionModel, OBBModel

    torch.manual_seed(0)
    kind = OBBModel if network.endswith("-obb") else DetectionModel
    model: Any = kind(f"{network}.yaml", ch=3, nc=len(KINDS), verbose=False)  # type: ignore[no-untyped-call]
    model.names = dict(enumerate(KINDS))
    model.task = "obb" if kind is OBBModel else "detect"
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.weight.data.uniform_(0.5, 1.5)  # equal scales would make all channels worth the same
    if network.startswith("yolo26"):  # as drawn its scores hardly depend on the image, which proves nothing
        for branch in model.model[-1].one2one_cv3:
            branch[-1].weight.data *= 20
    torch.save({"model": model, "ema": None, "epoch": -1, "train_args": {}}, path)
