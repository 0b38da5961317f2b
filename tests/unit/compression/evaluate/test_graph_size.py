# SPDX-License-Identifier: AGPL-3.0-or-later
"""Parameters and multiply-accumulates of small graphs, counted by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from vision_line.devices.model.heads import HeadKind
from vision_line.devices.model.model import Model
from vision_line.errors import ModelError
from vision_line_compression.evaluate.graph_size import GraphSize, count_graph

SHAPE_HW = (8, 16)

#: Output (4, 8, 16) of 3 channels and 3x3 taps, 4 biases; then 2 groups of 2 channels, 1x1 taps, no bias.
EXPECTED = GraphSize(params=4 * 3 * 9 + 4 + 4 * 2, macs=4 * 128 * 27 + 4 * 128 * 2)


def tensor(name: str, values: NDArray[np.generic]) -> onnx.TensorProto:
    """Return an initializer."""
    return numpy_helper.from_array(np.asarray(values), name)


def write_model(path: Path, nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto]) -> Model:
    """Write a graph from `images` to `output` with free sides; return it as a model."""
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, "height", "width"])
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "graph", [image], [output], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return Model(
        name="graph", path=path, sha256="0" * 64, precision="fp32", classes=("open",), stride=1, head=HeadKind.YOLOV8,
        input_name="images", input_shapes_hw=(SHAPE_HW,), dynamic=True, score_threshold=0.25, nms_iou=0.7, bundle=None,
        variants=(),
    )  # fmt: skip


def second_convolution() -> onnx.NodeProto:
    """Return the grouped convolution of `hidden`."""
    return helper.make_node("Conv", ["hidden", "grouped"], ["output"], group=2, kernel_shape=[1, 1])


GROUPED = tensor("grouped", np.ones((4, 2, 1, 1), np.float32))
BIAS = tensor("bias", np.ones(4, np.float32))


def test_float_graph(tmp_path: Path) -> None:
    """Convolutions count their weights, biases and taps; groups see only their own channels."""
    nodes = [
        helper.make_node("Conv", ["images", "weight", "bias"], ["hidden"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        second_convolution(),
    ]
    weight = tensor("weight", np.ones((4, 3, 3, 3), np.float32))

    assert count_graph(write_model(tmp_path / "a.onnx", nodes, [weight, BIAS, GROUPED]), SHAPE_HW) == EXPECTED


def test_quantized_graph_counts_the_same(tmp_path: Path) -> None:
    """Q/DQ pairs and int8 weights do not change what is counted."""
    nodes = [
        helper.make_node("QuantizeLinear", ["images", "step", "zero"], ["codes"]),
        helper.make_node("DequantizeLinear", ["codes", "step", "zero"], ["seen"]),
        helper.make_node("DequantizeLinear", ["weight", "steps", "zeros"], ["dequantized"], axis=0),
        helper.make_node("Conv", ["seen", "dequantized", "bias"], ["hidden"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        second_convolution(),
    ]
    weights = [
        tensor("step", np.array(0.01, np.float32)),
        tensor("zero", np.array(0, np.int8)),
        tensor("weight", np.ones((4, 3, 3, 3), np.int8)),
        tensor("steps", np.full(4, 0.01, np.float32)),
        tensor("zeros", np.zeros(4, np.int8)),
        BIAS,
        GROUPED,
    ]

    assert count_graph(write_model(tmp_path / "a.onnx", nodes, weights), SHAPE_HW) == EXPECTED


def test_matrix_products(tmp_path: Path) -> None:
    """A product with weights counts them; one of two activations counts only its work."""
    nodes = [
        helper.make_node("MatMul", ["images", "weight"], ["hidden"]),  # (1, 3, 8, 16) x (16, 5)
        helper.make_node("Transpose", ["hidden"], ["turned"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["hidden", "turned"], ["output"]),  # (8, 5) x (5, 8), three times
    ]
    weight = tensor("weight", np.ones((16, 5), np.float32))

    size = count_graph(write_model(tmp_path / "a.onnx", nodes, [weight]), SHAPE_HW)

    assert size == GraphSize(params=80, macs=3 * 8 * 5 * 16 + 3 * 8 * 8 * 5)


def test_impossible_shape_is_refused(tmp_path: Path) -> None:
    """A shape that the graph cannot take is an error of the model."""
    nodes = [helper.make_node("MatMul", ["images", "weight"], ["output"])]
    model = write_model(tmp_path / "a.onnx", nodes, [tensor("weight", np.ones((16, 5), np.float32))])

    with pytest.raises(ModelError, match="cannot count it at"):
        count_graph(model, (8, 15))
