# SPDX-License-Identifier: AGPL-3.0-or-later
"""The unsigned variant: the same activations, weights of 7 bits that keep their sums, and what the lint says of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper
from tests.fakes.quantizing import quantize_onnx

from vision_line.errors import ModelError
from vision_line_compression.network.onnx_file import load_model, save_model
from vision_line_compression.quantize.encodings import SIGNED, UNSIGNED
from vision_line_compression.quantize.lint import lint_model
from vision_line_compression.quantize.onnx_session import compare_outputs
from vision_line_compression.quantize.settings import QuantizeSettings
from vision_line_compression.quantize.unsigned import narrow_codes, write_unsigned


@pytest.fixture
def canonical(yolo: Path, images: list[NDArray[np.float32]], tmp_path: Path) -> Path:
    quantize_onnx(yolo, tmp_path / "int8.onnx", QuantizeSettings(), images)
    return tmp_path / "int8.onnx"


def test_executed_as_written_it_is_the_signed_file_with_narrower_weights(
    canonical: Path, images: list[NDArray[np.float32]], tmp_path: Path
) -> None:
    """No output differs in a bit from that of the canonical file whose weights were replaced by codes of 7 bits."""
    unsigned = write_unsigned(canonical, tmp_path / "unsigned.onnx")
    expected = load_model(canonical)
    stored = {tensor.name: tensor for tensor in expected.graph.initializer}
    for node in expected.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in stored:
            codes, scales = narrow_codes(*(numpy_helper.to_array(stored[name]) for name in node.input[:2]))
            stored[node.input[0]].CopyFrom(numpy_helper.from_array(codes, node.input[0]))
            stored[node.input[1]].CopyFrom(numpy_helper.from_array(scales, node.input[1]))
    save_model(expected, tmp_path / "expected.onnx")

    onnx.checker.check_model(str(unsigned), full_check=True)
    agreement = compare_outputs(tmp_path / "expected.onnx", unsigned, images, threads=1, fuse=False)
    assert agreement.largest_box_px == 0.0
    assert agreement.largest_score == 0.0
    assert compare_outputs(canonical, unsigned, images, threads=1, fuse=False).score_sqnr_db > 25


def test_the_file_says_what_it_is_and_the_canonical_one_stays(canonical: Path, tmp_path: Path) -> None:
    """The metadata names the encoding, no constant is left over, and the source is not touched."""
    before = canonical.read_bytes()
    model = load_model(write_unsigned(canonical, tmp_path / "unsigned.onnx"))

    assert {entry.key: entry.value for entry in model.metadata_props}["quantization"] == "qdq-u8-7bit"
    assert {tensor.name for tensor in model.graph.initializer} <= {
        name for node in model.graph.node for name in node.input
    }
    assert canonical.read_bytes() == before
    assert lint_model(model, UNSIGNED) == ()
    assert any("expected the zero point int8 0, found uint8 [128]" in fault for fault in lint_model(model))


def spoilt(model: ModelProto) -> ModelProto:
    codes = next(
        tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.INT8 and tensor.dims
    )
    wide = numpy_helper.to_array(codes).copy()
    wide.flat[0] = 64
    codes.CopyFrom(numpy_helper.from_array(wide, codes.name))
    return model


def test_weights_that_saturate_and_a_second_rewriting_are_refused(canonical: Path, tmp_path: Path) -> None:
    """The lint knows the form's range, and only a canonical file is rewritten."""
    unsigned = write_unsigned(canonical, tmp_path / "unsigned.onnx")

    faults = lint_model(spoilt(load_model(unsigned)), UNSIGNED)
    assert any("expected codes from -64 to 63, found" in fault for fault in faults)
    assert lint_model(load_model(canonical), SIGNED) == ()
    with pytest.raises(ModelError, match="not a legal quantized graph"):
        write_unsigned(unsigned, tmp_path / "again.onnx")


@example(seed=36883, kernel=3, outlier=False)
@example(seed=2109, kernel=3, outlier=False)
@given(seed=st.integers(0, 2**32 - 1), kernel=st.sampled_from((1, 3)), outlier=st.booleans())
def test_narrowed_weights_are_close_and_keep_their_sums(seed: int, kernel: int, outlier: bool) -> None:
    """Every code fits; no weight that is not cut moves by a step; uncut kernels and channels keep their sums."""
    rng = np.random.default_rng(seed)
    codes = np.clip(rng.normal(0, 40, (5, 6, kernel, kernel)), -127, 127).astype(np.int8)
    codes[0] = 0
    if outlier:
        codes[1] //= 16
        codes[1].flat[0] = 127
    scales = rng.uniform(1e-4, 1e-2, 5).astype(np.float32)

    narrow, steps = narrow_codes(codes, scales)

    assert narrow.dtype == np.int8
    assert narrow.min() >= -64
    assert narrow.max() <= 63
    # The quotient in float64: rounded to float32 it adds up, over the weights of a channel, to more than the bound.
    wanted = codes * (scales.astype(np.float64) / steps)[:, None, None, None]
    errors = narrow - wanted
    uncut = np.abs(wanted) <= 63.5
    assert np.abs(errors[uncut]).max() < 1
    whole = uncut.reshape(5, -1).all(axis=1)
    assert np.abs(errors[whole].sum(axis=(1, 2, 3))).max(initial=0.0) <= 0.5 + 1e-9
    assert (steps <= np.maximum(scales * 127 / 63, 2.0**-40) * 1.001).all()
