# SPDX-License-Identifier: AGPL-3.0-or-later
"""The unsigned twin computes the same bits as the canonical file, and ONNX Runtime fuses it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from vision_line_compression.onnx_file import load_model
from vision_line_compression.quantize.agreement import compare_outputs
from vision_line_compression.quantize.quantizer import quantize_onnx
from vision_line_compression.quantize.settings import QuantizeSettings
from vision_line_compression.quantize.twin import write_twin

FOR_ONNXRUNTIME = QuantizeSettings(share_scales=False, quantize_outputs=True)


@pytest.mark.parametrize("settings", [QuantizeSettings(), FOR_ONNXRUNTIME], ids=["canonical", "for-onnxruntime"])
def test_the_twin_is_equal_bit_for_bit(
    yolo: Path, pictures: list[NDArray[np.float32]], tmp_path: Path, settings: QuantizeSettings
) -> None:
    """Executed as written, node by node, no output differs at all."""
    quantize_onnx(yolo, tmp_path / "int8.onnx", settings, pictures)
    twin = write_twin(tmp_path / "int8.onnx", tmp_path / "u8.onnx")

    onnx.checker.check_model(str(twin), full_check=True)
    agreement = compare_outputs(tmp_path / "int8.onnx", twin, pictures, threads=1, fuse=False)
    assert agreement.largest_box_px == 0.0
    assert agreement.largest_score == 0.0
    metadata = {entry.key: entry.value for entry in load_model(twin).metadata_props}
    assert metadata["quantization"] == "qdq-u8-twin"


def test_onnxruntime_runs_the_twin_on_bytes(yolo: Path, pictures: list[NDArray[np.float32]], tmp_path: Path) -> None:
    """With quantized outputs every quantized convolution becomes an integer kernel, and the result stays close."""
    report = quantize_onnx(yolo, tmp_path / "int8.onnx", FOR_ONNXRUNTIME, pictures)
    twin = write_twin(tmp_path / "int8.onnx", tmp_path / "u8.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")

    onnxruntime.InferenceSession(str(twin), options, providers=["CPUExecutionProvider"])

    kernels = Counter(node.op_type for node in onnx.load(str(tmp_path / "optimized.onnx")).graph.node)
    assert kernels["QLinearConv"] == len(report.quantized)
    assert compare_outputs(tmp_path / "int8.onnx", twin, pictures, threads=1).score_sqnr_db > 25
