# SPDX-License-Identifier: AGPL-3.0-or-later
"""Float file and images in, quantized file and report out; what ONNX Runtime makes of it is what numpy says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tests.fakes.quantizing import fake_quantize, quantize_onnx

from vision_line.errors import ModelError
from vision_line_compression.network.onnx_file import load_model
from vision_line_compression.quantize.calibrate import calibrate
from vision_line_compression.quantize.encodings import (
    dequantize_bias,
    quantize_bias,
    quantize_weight,
    weight_scales,
)
from vision_line_compression.quantize.graph import open_graph
from vision_line_compression.quantize.lint import lint_model
from vision_line_compression.quantize.onnx_session import OnnxSession, compare_outputs
from vision_line_compression.quantize.qdq_placement import plan_placement
from vision_line_compression.quantize.qdq_writer import write_pairs
from vision_line_compression.quantize.quantizer import quantize_calibrated
from vision_line_compression.quantize.settings import QuantizeReport, QuantizeSettings
from vision_line_compression.quantize.thresholds import Method

Images = list[NDArray[np.float32]]


@pytest.mark.parametrize("method", list(Method))
@pytest.mark.parametrize("share_scales", [True, False])
def test_every_method_gives_a_close_and_legal_file(
    yolo: Path, images: Images, tmp_path: Path, method: Method, share_scales: bool
) -> None:
    """The file passes ONNX's checker and the lint, and its outputs stay near the float model's."""
    output = tmp_path / "int8.onnx"
    settings = QuantizeSettings(method=method, share_scales=share_scales)

    report = quantize_onnx(yolo, output, settings, images)

    onnx.checker.check_model(str(output), full_check=True)
    assert lint_model(load_model(output)) == ()
    agreement = compare_outputs(yolo, output, images, threads=1)
    assert agreement.box_sqnr_db > 20
    assert agreement.score_sqnr_db > 20
    assert report.images == 4
    assert len(report.quantized) == 7


def test_the_report_survives_json(yolo: Path, images: Images, tmp_path: Path) -> None:
    """It is read back as it was, and names the file by its hash."""
    report = quantize_onnx(yolo, tmp_path / "int8.onnx", QuantizeSettings(), images)

    assert QuantizeReport.model_validate_json(report.model_dump_json()) == report
    assert report.bytes == (tmp_path / "int8.onnx").stat().st_size
    assert report.bytes < report.source_bytes


def test_one_calibration_serves_every_method(yolo: Path, images: Images, tmp_path: Path) -> None:
    """The same file comes out as from a calibration of its own, to the byte."""
    calibration = calibrate(yolo, images, threads=1)
    for method in Method:
        settings = QuantizeSettings(method=method)
        quantize_calibrated(yolo, tmp_path / "one.onnx", settings, calibration)
        quantize_onnx(yolo, tmp_path / "other.onnx", settings, images)

        assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "other.onnx").read_bytes()


def test_concatenated_scales_are_equal_and_weights_are_bytes(yolo: Path, images: Images, tmp_path: Path) -> None:
    """What the plan says is in the file; float weights of quantized convolutions are gone, metadata is kept."""
    quantize_onnx(yolo, tmp_path / "int8.onnx", QuantizeSettings(), images)
    model = load_model(tmp_path / "int8.onnx")
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}

    assert constants["model.1/mul_out0_scale"] == constants["model.2/add_out0_scale"]
    assert constants["model.6/conv_weight_int8"].dtype == np.int8
    assert "model.6/conv.weight" not in constants
    assert "head/cv2.2.weight" in constants
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["quantization"] == "qdq-s8-symmetric"
    assert metadata["task"] == "detect"


def test_execution_is_what_numpy_computes(tmp_path: Path) -> None:
    """Two 1x1 convolutions: the second one's result from fake-quantized input and weights, in numpy and in the file."""
    rng = np.random.default_rng(3)
    weights = [rng.normal(0, 0.3, (16, 16, 1, 1)).astype(np.float32) for _ in range(2)]
    bias = rng.normal(0, 0.1, 16).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["images", "w0", "b"], ["hidden"], "first"),
        helper.make_node("Conv", ["hidden", "w1"], ["output0"], "second"),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "two",
        [value("images", TensorProto.FLOAT, ["n", 16, "h", "w"])],
        [value("output0", TensorProto.FLOAT, ["n", 16, "h", "w"])],
        [numpy_helper.from_array(array, name) for name, array in (("w0", weights[0]), ("w1", weights[1]), ("b", bias))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "two.onnx"))
    opened = open_graph(tmp_path / "two.onnx")
    scale = np.float32(0.02)
    written = write_pairs(opened, plan_placement(opened, QuantizeSettings()), {"images": scale}, {})
    image = rng.normal(0, 1, (16, 4, 5)).astype(np.float32)

    (found,) = OnnxSession(written, 1).run(image)

    scales = weight_scales(weights[0], bias, scale)
    dequantized = quantize_weight(weights[0], scales).astype(np.float32) * scales.reshape(-1, 1, 1, 1)
    added = dequantize_bias(*quantize_bias(bias, scales, scale)).reshape(-1, 1, 1)
    hidden = np.einsum("oi,ihw->ohw", dequantized[:, :, 0, 0], fake_quantize(image, scale)) + added
    expected = np.einsum("oi,ihw->ohw", weights[1][:, :, 0, 0], hidden)
    np.testing.assert_allclose(found[0], expected, atol=2e-5)


def test_no_images_and_wrong_images_are_refused(yolo: Path, tmp_path: Path) -> None:
    """With the image's number, what was expected and what was found."""
    with pytest.raises(ModelError, match="expected calibration images, found none"):
        quantize_onnx(yolo, tmp_path / "int8.onnx", QuantizeSettings(), [])
    with pytest.raises(ModelError, match=r"image 0: expected \(3, height, width\) float32, found \(64, 96, 3\)"):
        quantize_onnx(yolo, tmp_path / "int8.onnx", QuantizeSettings(), [np.zeros((64, 96, 3), np.float32)])
    with pytest.raises(ModelError, match="cannot run through the model"):
        quantize_onnx(yolo, tmp_path / "int8.onnx", QuantizeSettings(), [np.zeros((3, 61, 91), np.float32)])


def test_a_quantized_file_is_not_quantized_again(yolo: Path, images: Images, tmp_path: Path) -> None:
    """Nor is a file that is no ONNX model."""
    quantize_onnx(yolo, tmp_path / "int8.onnx", QuantizeSettings(), images)
    (tmp_path / "text.onnx").write_text("no model", encoding="utf-8")

    with pytest.raises(ModelError, match="quantized already"):
        quantize_onnx(tmp_path / "int8.onnx", tmp_path / "again.onnx", QuantizeSettings(), images)
    with pytest.raises(ModelError, match="not an ONNX file"):
        calibrate(tmp_path / "text.onnx", images)
    with pytest.raises(ModelError, match="cannot be read"):
        calibrate(tmp_path / "missing.onnx", images)


def test_a_dead_activation_leaves_its_convolutions_float(images: Images, tmp_path: Path, yolo: Path) -> None:
    """Weights and bias of zero before the neck's last activation: its readers are float, the report says why."""
    model = load_model(yolo)
    for tensor in model.graph.initializer:
        if tensor.name in ("model.6/conv.weight", "model.6/conv.bias"):
            zeros = np.zeros_like(numpy_helper.to_array(tensor))
            tensor.CopyFrom(numpy_helper.from_array(zeros, tensor.name))
    onnx.save(model, str(yolo))

    report = quantize_onnx(yolo, tmp_path / "int8.onnx", QuantizeSettings(), images)

    assert report.kept_float["head/cv2.0/conv"] == "its input was zero throughout calibration"
    assert "model.6/conv" in report.quantized
