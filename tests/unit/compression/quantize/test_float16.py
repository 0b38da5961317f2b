# SPDX-License-Identifier: AGPL-3.0-or-later
"""The FP16 variant: which tensors it changes, how little that changes, and what it refuses."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from tests.fakes.quantizing import quantize_onnx

from vision_line.errors import ModelError
from vision_line_compression.network.onnx_file import load_model, save_model
from vision_line_compression.quantize.float16 import LEAST_FLOAT16_SCALE, float16_weight, write_float16
from vision_line_compression.quantize.lint import lint_model
from vision_line_compression.quantize.onnx_session import compare_outputs
from vision_line_compression.quantize.settings import QuantizeSettings


def element_types(path: Path) -> dict[str, int]:
    """Return the element type of every tensor."""
    graph = onnx.shape_inference.infer_shapes(load_model(path)).graph
    values = (*graph.value_info, *graph.output, *graph.input)
    return {value.name: value.type.tensor_type.elem_type for value in values} | {
        tensor.name: tensor.data_type for tensor in graph.initializer
    }


def test_a_float_file_becomes_half_up_to_the_heads_last_convolutions(yolo: Path, tmp_path: Path) -> None:
    """Its input is half too, and nothing casts it; the DFL, the boxes and the output stay float32."""
    half = write_float16(yolo, tmp_path / "half.onnx")

    onnx.checker.check_model(str(half), full_check=True)
    model, types = load_model(half), element_types(half)
    assert [types[value.name] for value in model.graph.input] == [TensorProto.FLOAT16]
    assert [types[value.name] for value in model.graph.output] == [TensorProto.FLOAT]
    readers = [node.op_type for node in model.graph.node if model.graph.input[0].name in node.input]
    assert "Cast" not in readers
    convolutions = {node.name: types[node.input[0]] for node in model.graph.node if node.op_type == "Conv"}
    assert [name for name, kind in convolutions.items() if kind == TensorProto.FLOAT] == ["head/dfl"]
    assert half.stat().st_size < 0.6 * yolo.stat().st_size


def test_values_hardly_change(yolo: Path, images: list[NDArray[np.float32]], tmp_path: Path) -> None:
    """Of a float file; of one with pairs less than quantization itself changes them."""
    half = write_float16(yolo, tmp_path / "half.onnx")
    int8 = tmp_path / "int8.onnx"
    quantize_onnx(yolo, int8, QuantizeSettings(), images)
    int8_half = write_float16(int8, tmp_path / "int8.half.onnx")

    plain = compare_outputs(yolo, half, images, threads=1, fuse=False)
    quantized = compare_outputs(yolo, int8, images, threads=1, fuse=False)
    both = compare_outputs(yolo, int8_half, images, threads=1, fuse=False)
    assert min(plain.box_sqnr_db, plain.score_sqnr_db) > 50
    assert both.box_sqnr_db > quantized.box_sqnr_db - 1.5
    assert both.score_sqnr_db > quantized.score_sqnr_db - 1.5


def test_pairs_keep_their_codes_and_get_half_scales(
    yolo: Path, images: list[NDArray[np.float32]], tmp_path: Path
) -> None:
    """But for the half biases it is legal by the same lint; its opset's pairs know float16; it says what it is."""
    quantize_onnx(yolo, tmp_path / "int8.onnx", QuantizeSettings(), images)

    half = load_model(write_float16(tmp_path / "int8.onnx", tmp_path / "half.onnx"))

    before, after = (
        {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        for model in (load_model(tmp_path / "int8.onnx"), half)
    )
    codes = [name for name, value in before.items() if value.dtype == np.int8]
    assert all(np.array_equal(before[name], after[name]) for name in codes)
    scales = [after[node.input[1]] for node in half.graph.node if node.op_type.endswith("quantizeLinear")]
    assert all(scale.dtype == np.float16 for scale in scales)
    assert [fault for fault in lint_model(half) if "expected a constant float32 bias, found float16" not in fault] == []
    assert half.opset_import[0].version == 19
    assert {entry.key: entry.value for entry in half.metadata_props}["quantization"] == "qdq-s8-symmetric-fp16"
    kinds = Counter(node.op_type for node in half.graph.node)
    assert kinds["QuantizeLinear"] > 0


@given(st.lists(st.floats(2.0**-40, 8.0, width=32), min_size=1, max_size=6))
def test_weights_stay_what_they_are(scales: list[float]) -> None:
    """Within a share of 2^-11, or where the scale is tiny within half of the least one's step."""
    old = np.array(scales, np.float32)
    codes = np.random.default_rng(0).integers(-127, 128, (len(old), 4)).astype(np.int8)

    new_codes, halves = float16_weight(codes, old)

    before = codes * old[:, None].astype(np.float64)
    after = new_codes * halves[:, None].astype(np.float64)
    assert (halves >= LEAST_FLOAT16_SCALE).all()
    normal = old >= 2.0**-14
    np.testing.assert_allclose(after[normal], before[normal], rtol=2.0**-11)
    tiny = old < LEAST_FLOAT16_SCALE
    assert np.abs(after[tiny] - before[tiny]).max(initial=0.0) <= float(LEAST_FLOAT16_SCALE) / 2 + 1e-12


def test_what_cannot_become_half_is_refused(yolo: Path, tmp_path: Path) -> None:
    """A file that is half already, and weights beyond float16."""
    half = write_float16(yolo, tmp_path / "half.onnx")
    with pytest.raises(ModelError, match="expected float32 outside its pairs, found float16"):
        write_float16(half, tmp_path / "again.onnx")
    model = load_model(yolo)
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "model.1/conv.weight")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * 1e6, weight.name))
    save_model(model, tmp_path / "large.onnx")
    with pytest.raises(ModelError, match=r"model\.1/conv\.weight: expected numbers within float16"):
        write_float16(tmp_path / "large.onnx", tmp_path / "again.onnx")
    assert not (tmp_path / "again.onnx").exists()
