# SPDX-License-Identifier: AGPL-3.0-or-later
"""The FP16 variant of real networks: every family on the CPU, and TensorRT-RTX's opinion of it without a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import openvino as ov
import pytest
from typer.testing import CliRunner

from vision_line.devices.model.model import open_model
from vision_line.devices.tensorrt.build import build_engine
from vision_line.devices.tensorrt.engine_manifest import Library, Target, read_manifest
from vision_line_compression.bundle.bundle_writer import write_bundle
from vision_line_compression.cli import cli
from vision_line_compression.network.onnx_file import export_onnx, load_model
from vision_line_compression.quantize.float16 import write_float16
from vision_line_compression.quantize.onnx_session import OnnxSession, compare_outputs

from .conftest import calmed

if TYPE_CHECKING:
    from tests.integration.compression.quantize.conftest import Quantized, WriteCheckpoint


@pytest.mark.parametrize(
    "network", ["yolov8n", "yolo26n", *(pytest.param(n, marks=pytest.mark.long) for n in ("yolov10n", "yolo11n"))]
)
def test_every_family_has_a_float16_variant(
    network: str, write_checkpoint: WriteCheckpoint, quantized: Quantized, tmp_path: Path
) -> None:
    """Attention, depth-wise convolutions and heads without a DFL too; the runtime opens it as float16."""
    checkpoint = calmed(write_checkpoint(network), tmp_path / "parent.pt")
    source = export_onnx(checkpoint, tmp_path / "float.onnx", shape_hw=(64, 96))

    half = write_float16(source, tmp_path / "half.onnx")

    onnx.checker.check_model(str(half), full_check=True)
    agreement = compare_outputs(source, half, quantized.images, threads=1, fuse=False)
    assert min(agreement.box_sqnr_db, agreement.score_sqnr_db) > 40
    assert open_model(half).precision == "fp16"


@pytest.mark.parametrize("quantize", [False, True], ids=["float", "int8"])
def test_tensorrt_rtx_builds_it(quantized: Quantized, quantize: bool, tmp_path: Path) -> None:
    """Strongly typed: every type in the file fits its neighbours, the pairs' half scales among them."""
    pytest.importorskip("tensorrt_rtx", reason="needs the rtx extra")
    source = quantized.int8_onnx if quantize else quantized.float_onnx
    half = write_float16(source, tmp_path / "half.onnx")
    model = open_model(half)

    engine = build_engine(model, (64, 96), Target(Library.RTX, 86), tmp_path / "engines")

    assert [tensor.dtype for tensor in read_manifest(engine).inputs] == ["HALF"]
    assert model.precision == ("int8" if quantize else "fp16")


def test_the_command_writes_a_bundle_of_its_own(quantized: Quantized, tmp_path: Path) -> None:
    """It says whose half it is, and not what was measured on that; nothing is overwritten."""
    source = write_bundle(
        tmp_path / "bundle",
        quantized.int8_onnx,
        "boards",
        input_shapes_hw=[(64, 96)],
        score=0.4,
        lineage={"parent": "parent.pt"},
        results={"map50": 0.9},
        failed_gates=("miss_rate",),
    )
    command = ["half", str(source), "-o", str(tmp_path / "gpu")]
    done, again = (CliRunner().invoke(cli, command) for _ in range(2))

    assert (done.exit_code, again.exit_code) == (0, 3), done.output
    assert "expected a folder that does not exist yet" in again.output
    model, before = open_model(tmp_path / "gpu"), open_model(source)
    assert (model.name, model.score_threshold, model.input_shapes_hw) == ("boards", 0.4, ((64, 96),))
    assert model.bundle is not None
    assert model.bundle.model.quantization == "qdq-s8-symmetric-fp16"
    assert model.bundle.lineage == {"parent": "parent.pt", "half_of_sha256": before.sha256}
    assert model.bundle.results == {}
    assert model.bundle.failed_gates == ("miss_rate",)  # half of what may not inspect may not either
    plain = CliRunner().invoke(cli, ["half", str(quantized.float_onnx), "-o", str(tmp_path / "plain")])
    assert plain.exit_code == 0, plain.output
    assert open_model(tmp_path / "plain").precision == "fp16"


def test_openvino_runs_it_too(quantized: Quantized, tmp_path: Path) -> None:
    """So that a machine without a GPU can judge what the GPU will run."""
    half = write_float16(quantized.int8_onnx, tmp_path / "half.onnx")
    image = quantized.images[0]
    (expected,) = OnnxSession(load_model(half), 1, fuse=False).run(image)
    compiled = ov.Core().compile_model(half, "CPU", {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"})

    difference = np.abs(compiled(image[None].astype(np.float16))[0] - expected)

    assert difference[:, :4].max() < 2.0
    assert difference[:, 4:].max() < 0.02
