# SPDX-License-Identifier: AGPL-3.0-or-later
"""The unsigned form of a quantized file, for x86 processors without VNNI: see `encodings`.

A mechanical rewriting of the canonical file, never a calibration:

    activations     uint8(q + 128) with zero point 128 instead of int8(q) with zero point 0: the same values, to the bit
    weights         codes of 7 bits with a coarser scale for each output channel, see `narrow`: other values
    biases          the same float numbers

So the two forms are two models that find almost the same; each is measured, and each has a reference of its own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import numpy_helper

from vision_line_compression.network.onnx_file import ModelProto, load_model, save_model
from vision_line_compression.quantize.encodings import SIGNED, UNSIGNED
from vision_line_compression.quantize.graph import Graph, index_graph
from vision_line_compression.quantize.lint import validate_quantized
from vision_line_compression.quantize.narrow import narrow_codes

_ZERO_POINT = "zero_uint8_128"


def write_unsigned(canonical: Path, output: Path) -> Path:
    """Write the unsigned form of `canonical` to `output`.

    Raises:
        ModelError: `canonical` is not in the canonical encoding, or `output` cannot be written.
    """
    model = load_model(canonical)
    validate_quantized(model, canonical)
    graph = index_graph(model)
    shift_codes(graph)
    _narrow_weights(graph)
    drop_unread(model)
    rename_encoding(model, UNSIGNED.name)
    validate_quantized(model, output, UNSIGNED)
    save_model(model, output)
    return output


def shift_codes(graph: Graph) -> None:
    """Move the codes of all activations up by 128; `graph.constants` stay as they were."""
    graph.model.graph.initializer.append(numpy_helper.from_array(np.array(UNSIGNED.activation_zero), _ZERO_POINT))
    for node in graph.nodes:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.input[0] not in graph.constants:
            node.input[2] = _ZERO_POINT


def drop_unread(model: ModelProto) -> None:
    """Leave out the constants that no node reads."""
    read = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def rename_encoding(model: ModelProto, name: str) -> None:
    """Let the metadata of a canonical file say that it is in the encoding `name`."""
    for entry in model.metadata_props:
        if entry.key == "quantization" and entry.value == SIGNED.name:
            entry.value = name


def _narrow_weights(graph: Graph) -> None:
    stored = {tensor.name: tensor for tensor in graph.model.graph.initializer}
    for node in graph.nodes:
        if node.op_type == "DequantizeLinear" and node.input[0] in graph.constants:
            codes, scales = narrow_codes(*(graph.constants[name] for name in node.input[:2]))
            stored[node.input[0]].CopyFrom(numpy_helper.from_array(codes, node.input[0]))
            stored[node.input[1]].CopyFrom(numpy_helper.from_array(scales, node.input[1]))
