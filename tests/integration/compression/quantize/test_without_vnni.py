# SPDX-License-Identifier: AGPL-3.0-or-later
"""OpenVINO on a processor that has AVX2 and no VNNI, which an emulator plays: which variant it computes rightly."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import openvino as ov
import pytest
from numpy.typing import NDArray
from tests.fakes.emulator import TIMEOUT_S, needs_emulator, run_emulated
from tests.fakes.miniature_yolo import draw_images, draw_yolo
from tests.fakes.quantizing import quantize_onnx

from vision_line_compression.quantize.settings import QuantizeSettings
from vision_line_compression.quantize.unsigned import write_unsigned

#: Runs each file as it is compiled by default; prints the processor and each file's scores.
PROGRAM = """
import json, sys
import numpy as np, openvino as ov
core, images, found = ov.Core(), np.load(sys.argv[1]), []
for path in sys.argv[2:]:
    network = core.read_model(path)
    network.reshape(images[:1].shape)
    compiled = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})
    found.append([compiled(image[None])[0][0, 4:].tolist() for image in images])
print(json.dumps([core.get_property("CPU", "FULL_DEVICE_NAME"), found]))
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Return images, a canonical file and its unsigned variant."""
    onnx.save(draw_yolo(), str(tmp_path / "float.onnx"))
    images = draw_images(4)
    quantize_onnx(tmp_path / "float.onnx", tmp_path / "signed.onnx", QuantizeSettings(), images)
    write_unsigned(tmp_path / "signed.onnx", tmp_path / "unsigned.onnx")
    np.save(tmp_path / "images.npy", np.stack(images[:2]))
    return tmp_path / "images.npy", tmp_path / "signed.onnx", tmp_path / "unsigned.onnx"


def exact_scores(path: Path, images: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the scores (n, classes, places) of the file executed in float, on this machine."""
    exactly = {"INFERENCE_PRECISION_HINT": "f32", "LP_TRANSFORMS_MODE": "NO"}
    compiled = ov.Core().compile_model(path, "CPU", exactly)
    return np.concatenate([compiled(image[None])[0][:, 4:] for image in images]).astype(np.float64)


@needs_emulator
@pytest.mark.timeout(TIMEOUT_S + 60)
def test_the_unsigned_variant_is_computed_rightly(files: tuple[Path, Path, Path]) -> None:
    """It agrees with its execution in float; the canonical variant does not, or this test would show nothing."""
    images = np.load(files[0])

    done = run_emulated(PROGRAM, *files)
    assert done.returncode == 0, done.stderr
    processor, scores = json.loads(done.stdout)

    assert "QEMU" in processor
    signed, unsigned = (
        decibels(exact_scores(path, images), np.array(found)) for path, found in zip(files[1:], scores, strict=True)
    )
    assert unsigned > 30
    assert signed < 20


def decibels(exact: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    """Return the signal over the difference."""
    return float(10 * np.log10((exact**2).sum() / (((found - exact) ** 2).sum() + 1e-12)))
