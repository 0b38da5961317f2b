# SPDX-License-Identifier: AGPL-3.0-or-later
"""Scales are safe whatever the range, and numpy's quantization is ONNX Runtime's bit for bit."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tests.fakes.quantizing import fake_quantize

from vision_line_compression.quantize.encodings import (
    LEAST_SCALE,
    activation_scale,
    dequantize_bias,
    quantize_bias,
    quantize_weight,
    weight_scales,
)

FLOATS = st.floats(-1e4, 1e4, width=32, allow_subnormal=False)
WEIGHTS = arrays(np.float32, (4, 3, 1, 1), elements=st.floats(-10, 10, width=32))
BIASES = arrays(np.float32, 4, elements=st.floats(-100, 100, width=32))
THRESHOLDS = st.floats(1e-30, 1e6)


@cache
def pair_session() -> Any:
    """Return a session that quantizes and dequantizes `x` with the scale `s`."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", [None]), ("s", []))
    ]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])
    graph = helper.make_graph(nodes, "pair", values, [output], [numpy_helper.from_array(np.array(0, np.int8), "z")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@settings(max_examples=200, deadline=None)
@given(arrays(np.float32, st.integers(1, 50), elements=FLOATS), st.floats(1e-3, 1e4))
def test_numpy_and_onnxruntime_agree_bit_for_bit(values: NDArray[np.float32], threshold: float) -> None:
    """The same codes, ties to even, clipped to -128..127, times the scale."""
    scale = activation_scale(threshold)

    (expected,) = pair_session().run(None, {"x": values, "s": np.array(scale)})

    assert np.array_equal(fake_quantize(values, scale), expected)


@given(THRESHOLDS, arrays(np.float32, 20, elements=st.floats(-1, 1, width=32)))
def test_a_value_in_range_moves_by_half_a_step_at_most(threshold: float, shares: NDArray[np.float32]) -> None:
    """For every positive range, from almost nothing to millions."""
    scale = activation_scale(threshold)
    values = (shares * np.float32(threshold)).astype(np.float32)

    moved = np.abs(fake_quantize(values, scale).astype(np.float64) - values)

    assert moved.max() <= float(scale) * 0.5001


@pytest.mark.parametrize("threshold", [0.0, -1.0, np.inf, np.nan])
def test_no_scale_without_a_range(threshold: float) -> None:
    """Zero, negative and infinite ranges are the caller's error."""
    with pytest.raises(ValueError, match="positive range"):
        activation_scale(threshold)


@given(WEIGHTS, BIASES, THRESHOLDS)
def test_weights_and_biases_fit_their_codes(
    weight: NDArray[np.float32], bias: NDArray[np.float32], threshold: float
) -> None:
    """Scales are normal numbers, codes symmetric, and every bias has an int32 form within half a unit."""
    input_scale = activation_scale(threshold)
    scales = weight_scales(weight, bias, input_scale)

    codes, units = quantize_bias(bias, scales, input_scale)

    assert np.isfinite(scales).all()
    assert (scales >= LEAST_SCALE).all()
    assert (units >= np.finfo(np.float32).tiny).all()
    assert np.abs(quantize_weight(weight, scales).astype(np.int32)).max() <= 127
    assert np.abs(codes.astype(np.int64)).max() <= 2**30 + 128
    moved = np.abs(dequantize_bias(codes, units).astype(np.float64) - bias)
    assert (moved <= 0.5 * units + 1e-6 * np.abs(bias) + 1e-30).all()


def test_every_channel_uses_all_its_codes() -> None:
    """The largest weight of each live channel has the code 127, a dead channel all zeros."""
    weight = np.array([[1.0, -0.5], [0.001, 0.0], [0.0, 0.0]], np.float32).reshape(3, 2, 1, 1)

    codes = quantize_weight(weight, weight_scales(weight, None, np.float32(0.1)))

    assert codes.reshape(3, 2).tolist() == [[127, -64], [127, 0], [0, 0]]


def test_weights_that_are_not_finite_are_refused() -> None:
    """A diverged checkpoint is not quantized into something plausible."""
    with pytest.raises(ValueError, match="not finite"):
        weight_scales(np.full((1, 1, 1, 1), np.nan, np.float32), None, np.float32(1))
