# SPDX-License-Identifier: AGPL-3.0-or-later
"""A YOLOv8n with random weights, exported and quantized once for all tests that only read it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.fakes.fakecuda.fixtures import fake_cuda, fake_cuda_process
from tests.fakes.machine import cuda_machine, engine_folder
from tests.fakes.made_once import made_once
from tests.fakes.quantizing import quantize_onnx

from vision_line_compression.network.checkpoint import load_checkpoint, save_checkpoint
from vision_line_compression.network.onnx_file import export_onnx
from vision_line_compression.quantize.settings import QuantizeReport, QuantizeSettings

__all__ = ["cuda_machine", "engine_folder", "fake_cuda", "fake_cuda_process"]

SHAPE_HW = (64, 96)

WriteCheckpoint = Callable[[str], Path]


@dataclass(frozen=True, slots=True)
class Quantized:
    """A checkpoint, its two ONNX files, and the images (3, 64, 96) that it was calibrated with."""

    checkpoint: Path
    float_onnx: Path
    int8_onnx: Path
    report: QuantizeReport
    images: tuple[NDArray[np.float32], ...]


def calmed(source: Path, target: Path) -> Path:
    """Write the random model with larger variances: as drawn its scores are all 0 or 1, which no rounding survives."""
    import torch

    checkpoint = load_checkpoint(source)
    for module in checkpoint.model.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.running_var is not None:
            module.running_var.mul_(8)
    save_checkpoint(checkpoint.model, target, checkpoint)
    return target


@pytest.fixture(scope="session")
def quantized(tmp_path_factory: pytest.TempPathFactory, write_checkpoint: WriteCheckpoint) -> Quantized:
    """Return the files; nobody writes to them."""
    coarse = np.random.default_rng(2).random((3, 3, 8, 12), dtype=np.float32)
    images = tuple(np.kron(coarse, np.ones((1, 1, 8, 8), np.float32)))

    def make(folder: Path) -> None:
        checkpoint = calmed(write_checkpoint("yolov8n"), folder / "parent.pt")
        float_onnx = export_onnx(checkpoint, folder / "float.onnx", shape_hw=SHAPE_HW)
        report = quantize_onnx(float_onnx, folder / "int8.onnx", QuantizeSettings(), images)
        (folder / "report.json").write_text(report.model_dump_json())

    folder = made_once(tmp_path_factory, "quantized", make)
    report = QuantizeReport.model_validate_json((folder / "report.json").read_text())
    return Quantized(folder / "parent.pt", folder / "float.onnx", folder / "int8.onnx", report, images)
