# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line-compress prove`: an older bundle gets its unsigned variant and its proof, and keeps its model."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from pathlib import Path

import numpy as np
import onnx
import openvino as ov
import pytest
from onnx import numpy_helper
from tests.fakes.miniature_yolo import draw_yolo
from tests.fakes.quantizing import quantize_onnx
from typer.testing import CliRunner, Result

from vision_line.devices.cuda.proven_engine import TOLERANCE
from vision_line.devices.model.agreement import Reference, Tolerance, compare
from vision_line.devices.model.bundle import WHOLLY_FLOAT16
from vision_line.devices.model.model import SHIPPED_BUNDLE, open_model
from vision_line.devices.model.proof import MAX_PROOF_BYTES, shaped
from vision_line.devices.preprocessing.definition import normalise
from vision_line_compression.bundle.bundle_proof import (
    FLOAT16_FILE,
    PROOF_FILE,
    UNSIGNED_FILE,
    WEIGHTS_FILE,
    WHOLLY_FLOAT16_FILE,
    drawn_candidates,
    given_candidates,
    most_telling,
    prove_bundle,
)
from vision_line_compression.bundle.bundle_writer import write_bundle
from vision_line_compression.bundle.float_file import quantized_of
from vision_line_compression.cli import cli
from vision_line_compression.quantize.float16 import FLOAT16_ENCODING, WEIGHTS_ENCODING
from vision_line_compression.quantize.settings import QuantizeSettings


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the shipped bundle as it was before there were variants and proofs."""
    folder = tmp_path_factory.mktemp("older")
    shutil.copy(SHIPPED_BUNDLE / "model.onnx", folder)
    description = json.loads((SHIPPED_BUNDLE / "bundle.json").read_text())
    del description["proof"], description["model"]["forms"], description["model"]["gpu_variants"]
    (folder / "bundle.json").write_text(json.dumps(description))
    return folder


def prove(bundle: Path, *options: object) -> Result:
    return CliRunner().invoke(cli, ["prove", str(bundle), *map(str, options)])


@pytest.fixture(scope="module")
def proven(older: Path) -> Path:
    done = prove(older)
    assert done.exit_code == 0, done.output
    files = ((UNSIGNED_FILE, "qdq-u8-7bit"), (FLOAT16_FILE, FLOAT16_ENCODING), (WEIGHTS_FILE, WEIGHTS_ENCODING))
    added = " and ".join(f"{file} ({name}, {(older / file).stat().st_size} bytes)" for file, name in files)
    assert f"{older}: added {added} and {PROOF_FILE}" in done.output
    return older


def test_the_bundle_gets_what_it_lacks(proven: Path) -> None:
    """The other files are the shipped ones bit for bit, the model is untouched, and a second time nothing is added."""
    for file in (FLOAT16_FILE, WEIGHTS_FILE, UNSIGNED_FILE, "model.onnx"):
        assert (proven / file).read_bytes() == (SHIPPED_BUNDLE / file).read_bytes(), file
    assert (proven / PROOF_FILE).stat().st_size < MAX_PROOF_BYTES
    model = open_model(proven)
    assert [variant.name for variant in model.variants] == ["qdq-s8-symmetric", "qdq-u8-7bit"]
    assert [variant.name for variant in model.gpu_variants] == [FLOAT16_ENCODING, WEIGHTS_ENCODING]

    before = {path.name: path.read_bytes() for path in proven.iterdir()}
    again = prove(proven)

    assert "has its variants and its proof already" in again.output
    assert {path.name: path.read_bytes() for path in proven.iterdir()} == before


def test_all_variants_are_proven_at_every_shape_with_something_to_find(proven: Path) -> None:
    """Each reference has dozens of detections, and another library's float execution agrees with it."""
    model = open_model(proven)
    assert model.proof is not None
    assert set(model.proof.references) == {
        (variant.name, shape) for variant in (*model.variants, *model.gpu_variants) for shape in model.input_shapes_hw
    }
    core = ov.Core()
    for (name, shape), reference in model.proof.references.items():
        assert len(reference.detections) >= 20
        path = next(variant.path for variant in (*model.variants, *model.gpu_variants) if variant.name == name)
        network = core.read_model(path)
        network.reshape([1, 3, *shape])
        compiled = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "LP_TRANSFORMS_MODE": "NO"})
        is_half = name in (FLOAT16_ENCODING, WEIGHTS_ENCODING)
        images = [normalise(x).astype(np.float16 if is_half else np.float32) for x in shaped(model.proof.images, shape)]
        outputs = [compiled(x)[0][0].copy() for x in images]
        tolerance = TOLERANCE if is_half else Tolerance()  # float16 is a GPU's
        agreement = compare(reference, model.head, len(model.classes), model.nms_iou, outputs, tolerance)
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


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return an INT8 bundle that has all but the FP16 variant, and the float file that it was made of."""
    folder = tmp_path_factory.mktemp("small")
    onnx.save(draw_yolo(), str(folder / "float.onnx"))
    images = list(np.random.default_rng(3).random((2, 3, 64, 96), dtype=np.float32))
    quantize_onnx(folder / "float.onnx", folder / "int8.onnx", QuantizeSettings(), images)
    bundle = write_bundle(folder / "bundle", folder / "int8.onnx", "tiny", input_shapes_hw=[(64, 96)])
    assert prove(bundle).exit_code == 0
    return bundle, folder / "float.onnx"


def test_the_float_model_is_added_in_float16(small: tuple[Path, Path], tmp_path: Path) -> None:
    """With a reference of its own on the images that the proof has; what was there stays."""
    source, float_onnx = small
    bundle = shutil.copytree(source, tmp_path / "bundle")
    before = open_model(bundle)

    done = prove(bundle, "--float", float_onnx)

    assert done.exit_code == 0, done.output
    size = (bundle / WHOLLY_FLOAT16_FILE).stat().st_size
    assert f"added {WHOLLY_FLOAT16_FILE} (fp16, {size} bytes) and {PROOF_FILE}" in done.output
    model = open_model(bundle)
    assert [variant.name for variant in model.gpu_variants] == [FLOAT16_ENCODING, WEIGHTS_ENCODING, WHOLLY_FLOAT16]
    assert quantized_of(bundle / WHOLLY_FLOAT16_FILE) == hashlib.sha256(float_onnx.read_bytes()).hexdigest()
    assert before.proof is not None
    assert model.proof is not None
    np.testing.assert_array_equal(model.proof.images, before.proof.images)
    assert {name for name, _ in model.proof.references} - {name for name, _ in before.proof.references} == {"fp16"}
    assert "already" in prove(bundle, "--float", float_onnx).output


def test_another_models_float_file_is_left_out(small: tuple[Path, Path], tmp_path: Path) -> None:
    """It has the same inputs and outputs, and would pass a proof made of itself."""
    bundle = shutil.copytree(small[0], tmp_path / "bundle")
    onnx.save(draw_yolo(seed=1), str(tmp_path / "other.onnx"))

    done = prove(bundle, "--float", tmp_path / "other.onnx")

    assert done.exit_code == 0, done.output
    words = f"already; without {WHOLLY_FLOAT16_FILE}: it does not find what the model finds at 96x64: "
    assert words in " ".join(done.output.split())
    assert not (bundle / WHOLLY_FLOAT16_FILE).exists()


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


def test_given_images_become_a_proof_that_is_small_enough(older: Path, tmp_path: Path) -> None:
    """Parts of camera images, with all their grain, fit into a bundle; what they show is still found."""
    bundle = shutil.copytree(older, tmp_path / "bundle")
    description = json.loads((bundle / "bundle.json").read_text())
    description |= {"proof": None, "input_shapes_hw": [[192, 320]]}
    (bundle / "bundle.json").write_text(json.dumps(description))
    rng = np.random.default_rng(5)
    grain = (rng.normal(0, 0.06, (3, 320, 320)).astype(np.float32) for _ in range(6))
    boards = (image.transpose(2, 0, 1) / np.float32(255) for image in drawn_candidates())

    done = prove_bundle(bundle, given_candidates([np.clip(b + g, 0, 1) for b, g in zip(boards, grain, strict=False)]))

    assert 0 < done.proof_bytes < MAX_PROOF_BYTES
    assert done.detections >= 10
    model = open_model(bundle)
    assert model.proof is not None
    assert len(model.proof.images) == 4


def places(*scores: float, x: float = 0.0) -> Reference:
    rows = [(x, 0, x + 10, 10, score, 0) for score in (*scores, *(0.0,) * (8 - len(scores)))]
    return Reference(np.array([rows], np.float32), np.empty((0, 7), np.float32))


def test_images_are_chosen_by_what_is_found_in_them_and_differ() -> None:
    """The one with most places first; what shows the same as the last comes only where there is no other."""
    seen = [places(0.9), places(0.9, 0.8, 0.7), places(0.9, 0.8, 0.6), places(0.9, 0.8, x=50), places()]

    assert most_telling(seen) == [1, 3]
    assert most_telling(seen[:2]) == [1, 0]


def turned_places(*scores: float, angle: float) -> Reference:
    rows = [(20 * n, 0, 10, 10, angle, score, 0) for n, score in enumerate((*scores, *(0.0,) * (8 - len(scores))))]
    return Reference(np.array([rows], np.float32), np.empty((0, 8), np.float32))


def test_an_angle_is_no_score_when_images_are_chosen() -> None:
    """Of rotated boxes a score comes behind the angle."""
    seen = [turned_places(0.1, angle=2.0), turned_places(0.9, 0.8, angle=-0.5), turned_places(0.9, angle=0.0)]

    assert most_telling(seen) == [1, 2, 0]


def test_a_model_whose_findings_hang_on_rounding_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another right engine would not pass its proof: the step says so, and where there is a choice leaves such out."""
    onnx.save(draw_yolo(), str(tmp_path / "float.onnx"))
    bundle = write_bundle(tmp_path / "bundle", tmp_path / "float.onnx", "tiny", input_shapes_hw=[(64, 96)])
    monkeypatch.setattr(
        "vision_line_compression.bundle.bundle_proof.Tolerance", lambda: Tolerance(score=-1.0)
    )  # nothing agrees

    with caplog.at_level(logging.WARNING):
        assert prove(bundle).exit_code == 0

    assert any("on 32 of 32 images two float executions" in record.getMessage() for record in caplog.records)
    assert open_model(bundle).proof is not None
