# SPDX-License-Identifier: AGPL-3.0-or-later
"""The lint names every way in which a quantized graph can be illegal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from tests.fakes.quantizing import quantize_onnx

from vision_line.errors import ModelError
from vision_line_compression.network.onnx_file import load_model
from vision_line_compression.quantize.lint import lint_model, validate_quantized
from vision_line_compression.quantize.settings import QuantizeSettings
from vision_line_compression.quantize.unsigned import write_unsigned


@pytest.fixture
def model(yolo: Path, images: list[NDArray[np.float32]], tmp_path: Path) -> Any:
    quantize_onnx(yolo, tmp_path / "int8.onnx", QuantizeSettings(), images)
    return load_model(tmp_path / "int8.onnx")


def node(model: Any, name: str) -> Any:
    return next(node for node in model.graph.node if node.name == name)


def set_constant(model: Any, name: str, value: NDArray[Any]) -> None:
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(value, name))


def add_constant(model: Any, name: str, value: NDArray[Any]) -> str:
    model.graph.initializer.append(numpy_helper.from_array(value, name))
    return name


def unequal_concat(model: Any) -> None:
    set_constant(model, "model.2/add_out0_scale", np.array(0.5, np.float32))


def zero_scale(model: Any) -> None:
    set_constant(model, "model.6/mul_out0_scale", np.array(0, np.float32))


def zero_point(model: Any) -> None:
    shifted = add_constant(model, "three", np.array(3, np.int8))
    for name in ("model.6/mul_out0_QuantizeLinear", "model.6/mul_out0_DequantizeLinear"):
        node(model, name).input[2] = shifted


def int32_bias(model: Any) -> None:
    codes = add_constant(model, "bias_codes", np.zeros(16, np.int32))
    scale = add_constant(model, "bias_scale", np.ones(16, np.float32))
    zero = add_constant(model, "bias_zero", np.zeros(16, np.int32))
    model.graph.node.insert(0, helper.make_node("DequantizeLinear", [codes, scale, zero], ["bias"], "bias_dq", axis=0))
    node(model, "model.6/conv").input[2] = "bias"


def float_input(model: Any) -> None:
    node(model, "head/cv2.0/conv").input[0] = "model.6/mul_out0"


def one_weight_scale(model: Any) -> None:
    node(model, "model.6/conv_weight_DequantizeLinear").input[1] = "model.6/mul_out0_scale"


def unread_pair(model: Any) -> None:
    for name in ("head/cv2.0/conv", "head/cv3.0/conv"):
        node(model, name).input[0] = "model.3/cv2/mul_out0_dequantized"


def quantized_head(model: Any) -> None:
    pair = ["model.6/mul_out0_scale", "zero_int8"]
    make = helper.make_node
    position = [node.name for node in model.graph.node].index("head/confidence")
    model.graph.node.insert(position, make("DequantizeLinear", ["hq", *pair], ["hd"], "head_dq"))
    model.graph.node.insert(position, make("QuantizeLinear", ["head/logits_out0", *pair], ["hq"], "head_q"))
    node(model, "head/confidence").input[0] = "hd"


def old_opset(model: Any) -> None:
    model.opset_import[0].version = 12


def foreign_operator(model: Any) -> None:
    node(model, "head/confidence").domain = "com.example"


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (unequal_concat, "model.2/concat: expected one scale on all its inputs"),
        (zero_scale, "model.6/mul_out0_QuantizeLinear: expected a constant scale of at least"),
        (zero_point, "expected the zero point int8 0, found int8 [3]"),
        (int32_bias, "bias_dq: expected int8 weights, found int32"),
        (float_input, "head/cv2.0/conv: its weights are quantized, its input is not"),
        (one_weight_scale, "model.6/conv_weight_DequantizeLinear: expected (16,) scales on axis 0"),
        (unread_pair, "model.6/mul_out0_DequantizeLinear: nothing reads it"),
        (quantized_head, "head/cv3.2: an output of the head, expected only float behind it"),
        (old_opset, "opset: expected 13 to 20, found 12"),
        (foreign_operator, "operators: expected standard ones only"),
    ],
)
def test_each_fault_is_named(model: Any, spoil: Callable[[Any], None], complaint: str) -> None:
    """One fault put into a legal graph is found, and the file is refused."""
    assert lint_model(model) == ()

    spoil(model)

    assert complaint in "; ".join(lint_model(model))
    with pytest.raises(ModelError, match="not a legal quantized graph"):
        validate_quantized(model, Path("spoilt.onnx"))


def test_the_unsigned_variant_is_not_canonical(model: Any, tmp_path: Path) -> None:
    """uint8 codes around 128 are refused where signed ones are expected."""
    faults = "; ".join(lint_model(load_model(write_unsigned(tmp_path / "int8.onnx", tmp_path / "u8.onnx"))))

    assert "expected the zero point int8 0, found uint8 [128]" in faults
