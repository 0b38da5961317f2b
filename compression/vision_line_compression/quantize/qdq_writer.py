# SPDX-License-Identifier: AGPL-3.0-or-later
"""Writes Q/DQ pairs into an ONNX graph: the one encoding that TensorRT 10, 11 and RTX accept.

Signed, symmetric, zero point 0; activations with one scale a tensor; weights stored as int8 with a `DequantizeLinear`
of one scale for each output channel, so that the file shrinks; biases float, but on the grid of the integer sum, so
that an engine that adds them as int32 adds the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

from vision_line.errors import ModelError
from vision_line_compression.quantize.encodings import (
    dequantize_bias,
    quantize_bias,
    quantize_weight,
    weight_scales,
)
from vision_line_compression.quantize.graph import Graph
from vision_line_compression.quantize.qdq_placement import Placement


def write_pairs(
    graph: Graph, placement: Placement, scales: Mapping[str, np.float32], metadata: Mapping[str, str]
) -> ModelProto:
    """Return the quantized form of `graph`, whose model is left as it is.

    `scales` holds the scale of every tensor in `placement.groups`; `metadata` is added to the file's own.

    Raises:
        ModelError: a convolution's weights are not finite.
    """
    writing = _Writing(graph, placement, scales)
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    del model.graph.node[:]
    del model.graph.value_info[:]
    del model.graph.initializer[:]
    model.graph.node.extend(writing.nodes())
    model.graph.initializer.extend(writing.initializers(model.graph.node))
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    return model


class _Writing:
    """One rewriting of a graph: new nodes in order, and the constants that they need."""

    def __init__(self, graph: Graph, placement: Placement, scales: Mapping[str, np.float32]) -> None:
        self._graph = graph
        self._placement = placement
        self._scales = scales
        self._quantized = set(placement.convolutions)
        self._constants: dict[str, NDArray[np.generic]] = {}

    def nodes(self) -> list[NodeProto]:
        """Return all nodes, each tensor's pair right behind what makes the tensor."""
        done = self._pair(self._graph.input_name)
        for node in self._graph.nodes:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            if node.name in self._quantized:
                done.append(self._weight(copy))
            for number in range(len(node.input)):
                tensor = self._placement.edges.get((node.name, number))
                if tensor is not None:
                    copy.input[number] = f"{tensor}_dequantized"
            done.append(copy)
            for tensor in node.output:
                done += self._pair(tensor)
        return done

    def initializers(self, nodes: Iterable[NodeProto]) -> list[onnx.TensorProto]:
        """Return the constants that `nodes` read, the float weights that nobody reads any more left out."""
        names = {name for node in nodes for name in node.input}
        kept = [tensor for tensor in self._graph.model.graph.initializer if tensor.name in names]
        return kept + [numpy_helper.from_array(value, name) for name, value in self._constants.items()]

    def _pair(self, tensor: str) -> list[NodeProto]:
        if tensor not in self._scales:
            return []
        scale = self._constant(f"{tensor}_scale", np.array(self._scales[tensor], np.float32))
        zero = self._constant("zero_int8", np.array(0, np.int8))
        codes = f"{tensor}_quantized"
        make = onnx.helper.make_node
        return [
            make("QuantizeLinear", [tensor, scale, zero], [codes], f"{tensor}_QuantizeLinear"),
            make(
                "DequantizeLinear",
                [codes, scale, zero],
                [f"{tensor}_dequantized"],
                f"{tensor}_DequantizeLinear",
            ),
        ]

    def _weight(self, node: NodeProto) -> NodeProto:
        """Point `node` at its dequantized weights and return the node that makes them."""
        name = node.input[1]
        weight = self._graph.constants[name].astype(np.float32)
        bias = self._graph.constants[node.input[2]] if len(node.input) > 2 and node.input[2] else None
        input_scale = self._scales[self._input_tensor(node)]
        try:
            scales = weight_scales(weight, bias, input_scale)
        except ValueError as exc:
            raise ModelError(f"convolution {node.name!r}: {exc}") from exc
        codes = self._constant(f"{node.name}_weight_int8", quantize_weight(weight, scales))
        scale = self._constant(f"{node.name}_weight_scale", scales)
        zero = self._constant(f"zero_int8_{len(scales)}", np.zeros(len(scales), np.int8))
        node.input[1] = f"{node.name}_weight_dequantized"
        if bias is not None:
            on_grid = dequantize_bias(*quantize_bias(bias, scales, input_scale))
            node.input[2] = self._constant(f"{node.name}_bias", on_grid)
        return onnx.helper.make_node(
            "DequantizeLinear",
            [codes, scale, zero],
            [node.input[1]],
            f"{node.name}_weight_DequantizeLinear",
            axis=0,
        )

    def _input_tensor(self, node: NodeProto) -> str:
        """Return a tensor with the scale of `node`'s input: of its own pair, or of one before its pass-through ops."""
        while (tensor := self._placement.edges.get((node.name, 0))) is None:
            node = self._graph.producer[node.input[0]]
        return tensor

    def _constant(self, name: str, value: NDArray[np.generic]) -> str:
        self._constants[name] = value
        return name
