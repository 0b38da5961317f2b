# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a TensorRT says of an engine's layers, worked out from the model's file."""

from __future__ import annotations

import json
from collections.abc import Collection
from enum import IntEnum
from typing import Any

import onnx

#: Operations that integers go through as they are.
_MOVING = ("Cast", "Concat", "MaxPool", "Resize", "Slice", "Split")


class LayerInformationFormat(IntEnum):
    """How the inspector says it."""

    ONELINE = 0
    JSON = 1


class EngineInspector:
    """Says what an engine's layers compute in: convolutions in INT8 where a pair stands before them, all else in float.

    A convolution takes up its activation, and writes INT8 where nothing but a pair reads that.
    """

    def __init__(self, content: bytes, unfused: Collection[str], *, has_details: bool) -> None:
        """`unfused` are convolutions that the library computes in float for all pairs."""
        self._graph = onnx.load_from_string(content).graph
        self._unfused = unfused
        self._has_details = has_details
        self.execution_context: object = None

    def get_engine_information(self, format: LayerInformationFormat) -> str:  # noqa: A002  the library's name
        """Return the layers; without details their names alone, without a context no formats."""
        assert format is LayerInformationFormat.JSON
        nodes = [node for node in self._graph.node if node.op_type == "Conv"]
        if not self._has_details:
            return json.dumps({"Layers": [node.name for node in nodes]})
        writers = {name: node for node in self._graph.node for name in node.output}
        return json.dumps({"Layers": [self._layer(writers, node) for node in nodes]})

    def _layer(self, writers: dict[str, Any], node: Any) -> dict[str, Any]:
        is_int8 = _is_integer(writers, node.input[0]) and node.name not in self._unfused
        taken, written = [node.name], node.output[0]
        while (readers := [one for one in self._graph.node if written in one.input]) and {
            r.op_type for r in readers
        } <= {
            "Sigmoid",
            "Mul",
        }:
            taken += [one.name for one in readers]
            written = readers[-1].output[0]
        writes_int8 = is_int8 and bool(readers) and all(one.op_type == "QuantizeLinear" for one in readers)
        return {
            "Name": " + ".join(taken),
            "LayerType": "CaskConvolution",
            "ParameterType": "Convolution",
            "Inputs": [{"Name": node.input[0], "Format/Datatype": self._said(is_int8)}],
            "Outputs": [{"Name": written, "Format/Datatype": self._said(writes_int8)}],
            "Weights": {"Type": "Int8" if is_int8 else "Float", "Count": 1},
            "Metadata": "\x1e".join(f"[ONNX Layer: {name}]" for name in taken),
        }

    def _said(self, is_int8: bool) -> str:
        if self.execution_context is None:
            return "N/A due to dynamic shapes"
        return "Thirty-two wide channel vectorized row major Int8 format" if is_int8 else "Row major linear FP32"


def _is_integer(writers: dict[str, Any], tensor: str) -> bool:
    """Whether what is read is a pair's, or only moved since."""
    node = writers.get(tensor)
    if node is None or node.op_type not in {"DequantizeLinear", *_MOVING}:
        return False
    moved = node.input if node.op_type == "Concat" else node.input[:1]
    return node.op_type == "DequantizeLinear" or all(_is_integer(writers, name) for name in moved)
