# SPDX-License-Identifier: AGPL-3.0-or-later
"""The unsigned twin of a quantized file, for ONNX Runtime on x86: the same codes moved up by 128, the same values.

ONNX Runtime runs a convolution on bytes there only if its input is uint8, its bias int32 and its output quantized too;
engines that take the canonical file refuse all of that. So the twin is a mechanical rewriting, never a calibration:

    codes     uint8(q + 128) with zero point 128 instead of int8(q) with zero point 0
    bias      int32(round(b / (s_x * s_w))) with the scale s_x * s_w instead of float b, which lies on that grid

Computed in float the two give the same bits. ONNX Runtime's integer kernels add exactly where float rounds, which moves
a value by one code where it lies on the edge of two. Only a file made with `quantize_outputs` and not `share_scales`
becomes faster than float by it. Without VNNI instructions pairs of products may saturate in 16 bits: there set the
session option `session.x64quantprecision` to 1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from vision_line_compression.onnx_file import load_model, save_model
from vision_line_compression.quantize.graph import Graph, Node, index_graph
from vision_line_compression.quantize.lint import refuse_illegal
from vision_line_compression.quantize.placement import CARRIERS
from vision_line_compression.quantize.scales import quantize_bias
from vision_line_compression.quantize.unsigned import drop_unread, rename_encoding, shift_codes

TWIN_ENCODING = "qdq-u8-twin"


def write_twin(canonical: Path, output: Path) -> Path:
    """Write the unsigned twin of `canonical` to `output`.

    Raises:
        ModelError: `canonical` is not in the canonical encoding, or `output` cannot be written.
    """
    model = load_model(canonical)
    refuse_illegal(model, canonical)
    graph = index_graph(model)
    shift_codes(graph)
    _quantize_biases(graph)
    rename_encoding(model, TWIN_ENCODING)
    save_model(model, output)
    return output


def _quantize_biases(graph: Graph) -> None:
    nodes: list[Node] = []
    for node in graph.nodes:
        weights = graph.producer.get(node.input[1]) if node.op_type == "Conv" else None
        if weights is not None and weights.op_type == "DequantizeLinear" and len(node.input) > 2 and node.input[2]:
            nodes.append(_bias(graph, node, weights))
        nodes.append(node)
    del graph.model.graph.node[:]
    graph.model.graph.node.extend(nodes)
    drop_unread(graph.model)


def _bias(graph: Graph, node: Node, weights: Node) -> Node:
    """Point `node` at an int32 form of its bias and return the node that dequantizes it."""
    name = f"{node.name}_bias"
    bias, scales = graph.constants[node.input[2]], graph.constants[weights.input[1]]
    codes, units = quantize_bias(bias, scales, _input_scale(graph, node.input[0]))
    for suffix, value in (("int32", codes), ("scale", units), ("zero", np.zeros_like(codes))):
        graph.model.graph.initializer.append(numpy_helper.from_array(value, f"{name}_{suffix}"))
    node.input[2] = f"{name}_dequantized"
    inputs = [f"{name}_int32", f"{name}_scale", f"{name}_zero"]
    return onnx.helper.make_node("DequantizeLinear", inputs, [node.input[2]], f"{name}_DequantizeLinear", axis=0)


def _input_scale(graph: Graph, tensor: str) -> Any:
    """Return the scale of a dequantized tensor; a legal graph has one for all that carriers bring together."""
    node = graph.producer[tensor]
    while node.op_type in CARRIERS:
        node = graph.producer[node.input[0]]
    return graph.constants[node.input[1]]
