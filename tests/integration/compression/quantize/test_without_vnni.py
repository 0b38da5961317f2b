# SPDX-License-Identifier: AGPL-3.0-or-later
"""OpenVINO on a processor that has AVX2 and no VNNI, which an emulator plays: which form it computes rightly."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.emulator import needs_emulator, run_emulated
from tests.unit.compression.quantize.conftest import draw_pictures, draw_yolo

from vision_line_compression.quantize.quantizer import quantize_onnx
from vision_line_compression.quantize.settings import QuantizeSettings
from vision_line_compression.quantize.unsigned import write_unsigned

#: Runs each file twice, as it is compiled by default and in float, and prints the signal over difference in dB.
PROGRAM = """
import json, sys
import numpy as np, openvino as ov
core, pictures, found = ov.Core(), np.load(sys.argv[1]), {}
for path in sys.argv[2:]:
    outputs = []
    for modes in ({}, {"LP_TRANSFORMS_MODE": "NO"}):
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, **modes}
        network = core.read_model(path)
        network.reshape(pictures[:1].shape)
        compiled = core.compile_model(network, "CPU", settings)
        outputs.append(np.concatenate([compiled(picture[None])[0][:, 4:] for picture in pictures]).astype(float))
    default, exact = outputs
    found[path] = 10 * np.log10((exact**2).sum() / (((default - exact) ** 2).sum() + 1e-12))
print(json.dumps([core.get_property("CPU", "FULL_DEVICE_NAME"), found]))
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Return pictures, a canonical file and its unsigned form."""
    onnx.save(draw_yolo(), str(tmp_path / "float.onnx"))
    pictures = draw_pictures(4)
    quantize_onnx(tmp_path / "float.onnx", tmp_path / "signed.onnx", QuantizeSettings(), pictures)
    write_unsigned(tmp_path / "signed.onnx", tmp_path / "unsigned.onnx")
    np.save(tmp_path / "pictures.npy", np.stack(pictures[:2]))
    return tmp_path / "pictures.npy", tmp_path / "signed.onnx", tmp_path / "unsigned.onnx"


@needs_emulator
def test_the_unsigned_form_is_computed_rightly(files: tuple[Path, Path, Path]) -> None:
    """It agrees with its execution in float; the canonical form does not, or this test would show nothing."""
    pictures, signed, unsigned = map(str, files)

    done = run_emulated(PROGRAM, pictures, signed, unsigned)
    assert done.returncode == 0, done.stderr
    processor, decibels = json.loads(done.stdout)

    assert "QEMU" in processor
    assert decibels[unsigned] > 30
    assert decibels[signed] < 20
