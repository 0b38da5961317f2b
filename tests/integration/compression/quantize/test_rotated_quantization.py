# SPDX-License-Identifier: AGPL-3.0-or-later
"""Models of rotated boxes in INT8: their angles stay float at the end, and are compared and proven as angles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.fakes.miniature_yolo import CLASSES, draw_images, draw_yolo
from tests.fakes.quantizing import quantize_onnx
from tests.fakes.rotated_set import write_rotated_set

from vision_line.devices.cpu.openvino_engine import float_outputs
from vision_line.devices.cuda.proven_engine import FP16_TOLERANCE
from vision_line.devices.model.agreement import Tolerance, compare
from vision_line.devices.model.bundle import WHOLLY_FLOAT16
from vision_line.devices.model.heads import HeadKind
from vision_line.devices.model.model import open_model
from vision_line.devices.model.proof import drawn_images, shaped
from vision_line.devices.model.tasks import ModelTask
from vision_line_compression.bundle.bundle_proof import prove_bundle
from vision_line_compression.bundle.bundle_writer import write_bundle
from vision_line_compression.data.dataset import open_dataset
from vision_line_compression.evaluate.evaluation import evaluate
from vision_line_compression.evaluate.results import EvaluationSettings
from vision_line_compression.network.onnx_file import export_onnx
from vision_line_compression.quantize.float16 import FLOAT16_ENCODING, WEIGHTS_ENCODING, write_float16
from vision_line_compression.quantize.onnx_session import compare_outputs
from vision_line_compression.quantize.settings import QuantizeSettings
from vision_line_compression.quantize.unsigned import write_unsigned

from .conftest import SHAPE_HW, WriteCheckpoint, calmed

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's exporter announces its own future

HALF = (FLOAT16_ENCODING, WEIGHTS_ENCODING, WHOLLY_FLOAT16)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A miniature network with a branch of angles, in float and in INT8."""
    folder = tmp_path_factory.mktemp("rotated")
    onnx.save(draw_yolo(rotated=True), str(folder / "float.onnx"))
    quantize_onnx(folder / "float.onnx", folder / "int8.onnx", QuantizeSettings(), draw_images(3))
    return folder / "float.onnx", folder / "int8.onnx"


def test_every_variant_keeps_the_angles(files: tuple[Path, Path], tmp_path: Path) -> None:
    """INT8, 7-bit weights and float16 alike turn boxes by a few hundredths at most; nothing behind the head rounds."""
    source, int8 = files
    write_unsigned(int8, tmp_path / "unsigned.onnx")
    write_float16(int8, tmp_path / "half.onnx")
    variants = (int8, tmp_path / "unsigned.onnx", tmp_path / "half.onnx")

    found = [
        compare_outputs(source, path, draw_images(3), task=ModelTask.OBB, threads=1, fuse=False) for path in variants
    ]

    assert all(one.angle_sqnr_db is not None and one.angle_sqnr_db > 20 for one in found)
    assert all(one.largest_angle is not None and one.largest_angle < 0.3 for one in found)
    output = next(node for node in onnx.load(str(int8)).graph.node if node.name == "head/cv4.2")
    assert output.input[1] == "head/cv4.2.weight"  # float, as of the other branches


def test_the_bundle_opens_and_its_proof_holds(files: tuple[Path, Path], tmp_path: Path) -> None:
    """In all variants, by OpenVINO in float; the same places with other angles would not pass."""
    source, int8 = files
    bundle = write_bundle(tmp_path / "bundle", int8, "tiny", input_shapes_hw=[(64, 96)])
    prove_bundle(bundle, list(drawn_images(8, 96)), source)
    model = open_model(bundle)

    assert (model.head, model.head.task, model.precision) == (HeadKind.YOLOV8_OBB, ModelTask.OBB, "int8")
    assert model.proof is not None
    inputs = shaped(model.proof.images, (64, 96))
    for variant in (*model.variants, *model.gpu_variants):
        reference = model.proof.reference(variant.name, (64, 96))
        assert reference is not None
        outputs = float_outputs(model, variant.path, inputs)
        turned = [
            np.concatenate([output[:-1], output[-1:] + np.float32(np.pi / 2)]) for output in map(np.asarray, outputs)
        ]
        tolerance = FP16_TOLERANCE if variant.name in HALF else Tolerance()
        for found, holds in ((outputs, True), (turned, False)):
            assert compare(reference, model.head, CLASSES, model.nms_iou, found, tolerance).holds is holds, variant.name


def test_the_quantized_model_is_measured_by_its_angles(files: tuple[Path, Path], tmp_path: Path) -> None:
    """By the application's own engine, on labels of four corners."""
    names = [f"fault-{number}" for number in range(CLASSES)]
    dataset = open_dataset(write_rotated_set(tmp_path, 2, classes=names), "val", task=ModelTask.OBB)

    found = evaluate(open_model(files[1]), dataset, (64, 96), EvaluationSettings(), float_execution=True)

    assert (found.model.task, found.model.precision) == ("obb", "int8")
    assert found.operating[0].boxes == 6
    assert found.accuracy.map50_95 is not None


@pytest.mark.parametrize(
    "network", ["yolov8n-obb", *(pytest.param(n, marks=pytest.mark.long) for n in ("yolo11n-obb", "yolo26n-obb"))]
)
def test_the_branch_of_angles_is_quantized_but_for_its_end(
    network: str, write_checkpoint: WriteCheckpoint, tmp_path: Path
) -> None:
    """As Ultralytics exports it, where sines and cosines turn the sides: the three last convolutions stay float."""
    coarse = np.random.default_rng(2).random((2, 3, 8, 12), dtype=np.float32)
    images = list(np.kron(coarse, np.ones((1, 1, 8, 8), np.float32)))
    checkpoint = calmed(write_checkpoint(network), tmp_path / "parent.pt")
    source = export_onnx(checkpoint, tmp_path / "float.onnx", shape_hw=SHAPE_HW)

    report = quantize_onnx(source, tmp_path / "int8.onnx", QuantizeSettings(), images)

    assert open_model(tmp_path / "int8.onnx").head is HeadKind.YOLOV8_OBB
    ends = [name for name, reason in report.kept_float.items() if reason == "the head's output"]
    assert sum("/cv4." in name for name in ends) == 3
    assert sum("/cv4." in name for name in report.quantized) == 6
    found = compare_outputs(source, tmp_path / "int8.onnx", images, task=ModelTask.OBB, threads=1)
    assert found.box_sqnr_db > 20
    assert found.angle_sqnr_db is not None
    assert found.angle_sqnr_db > 15
