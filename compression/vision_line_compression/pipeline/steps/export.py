# SPDX-License-Identifier: AGPL-3.0-or-later
"""The float ONNX file of a checkpoint."""

from __future__ import annotations

from pathlib import Path

from vision_line.ports import ProgressCallback
from vision_line_compression.network.onnx_file import export_onnx
from vision_line_compression.network.ultralytics_log import ultralytics_log
from vision_line_compression.pipeline.context import Artifact, Context

FLOAT_ONNX = "model.fp32.onnx"


def export(context: Context, name: str, checkpoint: Artifact) -> Artifact:
    """Return the file that the stage leaves."""
    shape_hw = context.recipe.input.shapes_hw[0]

    def work(folder: Path, _progress: ProgressCallback) -> list[Path]:
        with ultralytics_log(folder / "export.log"):
            return [export_onnx(checkpoint.path, folder / FLOAT_ONNX, shape_hw=shape_hw)]

    stage = context.stage(f"export-{name}", work, {"shape_hw": list(shape_hw)}, start=checkpoint)
    return context.output(stage, FLOAT_ONNX)
