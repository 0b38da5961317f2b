# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line-compress prove`: an older bundle gets its unsigned form and its proof, and keeps its model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import openvino as ov
import pytest
from onnx import numpy_helper
from tests.unit.compression.quantize.conftest import draw_yolo
from typer.testing import CliRunner, Result

from vision_line.devices.agreement import Tolerance, compare
from vision_line.devices.model import SHIPPED_BUNDLE, open_model
from vision_line.devices.preprocess import normalise
from vision_line.devices.proof import MAX_PROOF_BYTES, shaped
from vision_line_compression.bundle import write_bundle
from vision_line_compression.cli import cli
from vision_line_compression.proving import PROOF_FILE, UNSIGNED_FILE


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the shipped bundle as it was before there were forms and proofs."""
    folder = tmp_path_factory.mktemp("older")
    shutil.copy(SHIPPED_BUNDLE / "model.onnx", folder)
    description = json.loads((SHIPPED_BUNDLE / "bundle.json").read_text())
    del description["proof"], description["model"]["forms"]
    (folder / "bundle.json").write_text(json.dumps(description))
    return folder


def prove(bundle: Path) -> Result:
    return CliRunner().invoke(cli, ["prove", str(bundle)])


@pytest.fixture(scope="module")
def proven(older: Path) -> Path:
    done = prove(older)
    assert done.exit_code == 0, done.output
    assert f"{older}: added {UNSIGNED_FILE} (qdq-u8-7bit) and {PROOF_FILE}" in done.output
    return older


def test_the_bundle_gets_what_it_lacks(proven: Path) -> None:
    """The unsigned file is the shipped one bit for bit, the model is untouched, and a second time nothing is added."""
    assert (proven / UNSIGNED_FILE).read_bytes() == (SHIPPED_BUNDLE / UNSIGNED_FILE).read_bytes()
    assert (proven / "model.onnx").read_bytes() == (SHIPPED_BUNDLE / "model.onnx").read_bytes()
    assert (proven / PROOF_FILE).stat().st_size < MAX_PROOF_BYTES
    model = open_model(proven)
    assert [form.name for form in model.forms] == ["qdq-s8-symmetric", "qdq-u8-7bit"]

    before = {path.name: path.read_bytes() for path in proven.iterdir()}
    again = prove(proven)

    assert "has its forms and its proof already" in again.output
    assert {path.name: path.read_bytes() for path in proven.iterdir()} == before


def test_both_forms_are_proven_at_every_shape_with_something_to_find(proven: Path) -> None:
    """Each reference has dozens of detections, and another library's float execution agrees with it."""
    model = open_model(proven)
    assert model.proof is not None
    assert set(model.proof.references) == {
        (form.name, shape) for form in model.forms for shape in model.input_shapes_hw
    }
    core = ov.Core()
    for (name, shape), reference in model.proof.references.items():
        assert len(reference.detections) >= 20
        path = next(form.path for form in model.forms if form.name == name)
        network = core.read_model(path)
        network.reshape([1, 3, *shape])
        compiled = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "LP_TRANSFORMS_MODE": "NO"})
        outputs = [compiled(normalise(x))[0][0].copy() for x in shaped(model.proof.pictures, shape)]
        agreement = compare(reference, model.head, len(model.classes), model.nms_iou, outputs, Tolerance())
        assert agreement.holds, f"{name} at {shape}: {agreement}"


def test_a_float_bundle_gets_a_proof_alone(tmp_path: Path) -> None:
    """There is nothing to rewrite; a lone model file is no bundle."""
    onnx.save(draw_yolo(), str(tmp_path / "float.onnx"))
    bundle = write_bundle(tmp_path / "bundle", tmp_path / "float.onnx", "tiny", input_shapes_hw=[(64, 96)])

    done = prove(bundle)

    assert done.exit_code == 0, done.output
    assert "added proof.npz" in done.output
    assert not (bundle / UNSIGNED_FILE).exists()
    assert prove(bundle / "model.onnx").exit_code == 3


def test_a_model_that_finds_nothing_cannot_be_proven(tmp_path: Path) -> None:
    """One sentence says so, and the bundle stays as it was."""
    model = draw_yolo()
    for tensor in model.graph.initializer:
        if tensor.name == "head/cv3.2.bias":
            tensor.CopyFrom(numpy_helper.from_array(np.full(3, -30, np.float32), tensor.name))
    onnx.save(model, str(tmp_path / "blind.onnx"))
    bundle = write_bundle(tmp_path / "bundle", tmp_path / "blind.onnx", "blind", input_shapes_hw=[(64, 96)])
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}

    refused = prove(bundle)

    assert refused.exit_code == 3
    assert f"{bundle}: proof: fp32 at 64x96 proves nothing: " in refused.output
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before
