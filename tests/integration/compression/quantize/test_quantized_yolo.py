# SPDX-License-Identifier: AGPL-3.0-or-later
"""From a checkpoint to a bundle: exported, quantized, run by OpenVINO as by ONNX Runtime, opened by the runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort
import openvino as ov
import pytest
from numpy.typing import NDArray

from vision_line.devices.model.heads import HeadKind
from vision_line.devices.model.model import open_model
from vision_line.errors import ModelError
from vision_line_compression.bundle.bundle_writer import write_bundle
from vision_line_compression.network.onnx_file import export_onnx, load_model
from vision_line_compression.quantize.onnx_session import OnnxSession, compare_outputs

if TYPE_CHECKING:
    from tests.integration.compression.quantize.conftest import Quantized


def test_the_head_alone_stays_float(quantized: Quantized) -> None:
    """56 of YOLOv8n's 64 convolutions are quantized: not the stem, the six last of the head, and the DFL."""
    kept = quantized.report.kept_float

    assert len(quantized.report.quantized) == 56
    assert sorted(kept.values()) == ["fewer than 16 channels"] + ["the head's output"] * 7
    assert quantized.report.bytes < 0.3 * quantized.report.source_bytes


def test_outputs_stay_close(quantized: Quantized) -> None:
    """Also at a shape that calibration has not seen."""
    wide = np.concatenate(quantized.images[:2], axis=2)

    for images in (quantized.images, [wide]):
        agreement = compare_outputs(quantized.float_onnx, quantized.int8_onnx, images, threads=1)
        assert agreement.box_sqnr_db > 35
        assert agreement.score_sqnr_db > 25


@pytest.mark.parametrize("fixed", [True, False], ids=["fixed", "free"])
def test_openvino_runs_it_on_integers(quantized: Quantized, fixed: bool) -> None:
    """Every quantized convolution has an 8-bit kernel, and the output is ONNX Runtime's but for single codes.

    With free sizes too, where OpenVINO computes wrong results for graphs with pairs on convolutions' outputs.
    """
    image = quantized.images[0]
    core = ov.Core()
    network = core.read_model(quantized.int8_onnx)
    if fixed:
        network.reshape([1, *image.shape])
    compiled = core.compile_model(network, "CPU", {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"})
    (expected,) = OnnxSession(load_model(quantized.int8_onnx), 1).run(image)

    found = compiled(image[None])[0]

    difference = np.abs(found - expected)
    assert difference[:, :4].max() < 2.0
    assert difference[:, 4:].max() < 0.02
    assert _integer_convolutions(compiled) == len(quantized.report.quantized)


def _integer_convolutions(compiled: ov.CompiledModel) -> int:
    kinds = []
    for operation in compiled.get_runtime_model().get_ops():
        details = operation.get_rt_info()
        kinds.append((details["layerType"].astype(str), details["runtimePrecision"].astype(str)))
    return sum(kind == "Convolution" and precision in ("i8", "u8") for kind, precision in kinds)


def test_the_bundle_is_what_the_runtime_opens(quantized: Quantized, tmp_path: Path) -> None:
    """Name, classes, head, shapes, thresholds and encoding arrive; writing again replaces it."""
    for _ in range(2):
        folder = write_bundle(
            tmp_path / "bundle",
            quantized.int8_onnx,
            "boards",
            input_shapes_hw=[(64, 96), (96, 96)],
            score=0.4,
            nms_iou=0.5,
            lineage={"parent": "parent.pt"},
            results={"map50": 0.9},
        )
    model = open_model(folder)

    assert (model.name, model.head, model.precision) == ("boards", HeadKind.YOLOV8, "int8")
    assert (model.score_threshold, model.nms_iou) == (0.4, 0.5)
    assert model.input_shapes_hw == ((64, 96), (96, 96))
    assert model.classes == ("scratch", "dent")
    assert model.bundle is not None
    assert model.bundle.model.quantization == "qdq-s8-symmetric"
    assert model.bundle.lineage == {"parent": "parent.pt"}
    assert sorted(path.name for path in folder.iterdir()) == ["bundle.json", "model.onnx"]


def test_a_bundle_that_does_not_fit_is_refused(quantized: Quantized, tmp_path: Path) -> None:
    """Odd shapes, impossible thresholds and a wrong number of classes are all named; nothing is written."""
    with pytest.raises(ModelError, match=r"score.*less than 1.*"):
        write_bundle(tmp_path / "a", quantized.int8_onnx, "boards", input_shapes_hw=[(64, 96)], score=1.5)
    with pytest.raises(ModelError, match="multiples of the stride 32"):
        write_bundle(tmp_path / "a", quantized.int8_onnx, "boards", input_shapes_hw=[(65, 96)])
    with pytest.raises(ModelError, match="expected 2 class names, found 1"):
        write_bundle(tmp_path / "a", quantized.int8_onnx, "boards", ["scratch"], input_shapes_hw=[(64, 96)])
    assert not (tmp_path / "a").exists()


def test_an_export_is_reproducible_and_keeps_no_paths(quantized: Quantized, tmp_path: Path) -> None:
    """The same checkpoint gives the same bytes; metadata names the task, the classes and the shape."""
    again = export_onnx(quantized.checkpoint, tmp_path / "float.onnx", shape_hw=(64, 96))
    metadata = {entry.key: entry.value for entry in load_model(again).metadata_props}

    assert again.read_bytes() == quantized.float_onnx.read_bytes()
    assert metadata["task"] == "detect"
    assert metadata["imgsz"] == "[64, 96]"
    assert str(tmp_path) not in str(metadata)
    assert "date" not in metadata


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    """Missing files, foreign files and opsets that Q/DQ cannot use."""
    (tmp_path / "text.pt").write_text("no checkpoint", encoding="utf-8")

    for path in (tmp_path / "missing.pt", tmp_path / "text.pt"):
        with pytest.raises(ModelError, match=path.name):
            export_onnx(path, tmp_path / "float.onnx")
    with pytest.raises(ModelError, match="opset: expected 13 to 20, found 21"):
        export_onnx(tmp_path / "text.pt", tmp_path / "float.onnx", opset=21)


def array(images: tuple[NDArray[np.float32], ...]) -> NDArray[np.float32]:
    return np.stack(images)


def test_a_batch_is_its_images_one_by_one(quantized: Quantized) -> None:
    """The batch axis is free and nothing mixes the images."""
    session = OnnxSession(load_model(quantized.int8_onnx), 1)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    batched = ort.InferenceSession(quantized.int8_onnx, options, providers=["CPUExecutionProvider"])

    (together,) = batched.run(None, {"images": array(quantized.images)})

    for number, image in enumerate(quantized.images):
        (alone,) = session.run(image)
        np.testing.assert_allclose(together[number], alone[0], atol=1.0)
