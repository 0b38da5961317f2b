# SPDX-License-Identifier: AGPL-3.0-or-later
"""The FP16 variants of a file, for GPUs: what was float32 between the pairs becomes float16, the boxes' decoding stays.

A strongly typed engine computes in the types of its file, and float32 between INT8 convolutions costs a GPU more than
INT8 saves. The rewriting is mechanical, never a calibration:

    input     float16 as well: the letterbox kernel writes it, half the bytes, and nothing has to be cast
    body      every tensor that the image flows into, weights and biases of float convolutions, and the pairs' scales
    tail      float32 from the head's last convolutions on: float16 has steps of half a pixel at 512 pixels

The codes of weights stay as they are, and each scale is rounded to float16, by a share of 2^-11 at most; scales below
`LEAST_FLOAT16_SCALE` would lose more, so their channel gets that scale and new codes. `QuantizeLinear` takes float16
from opset 19 on, to which files with pairs are lifted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from vision_line.devices.model.bundle import WEIGHTS_ALONE
from vision_line.errors import ModelError
from vision_line_compression.network.onnx_file import default_opset, load_model, save_model
from vision_line_compression.quantize.graph import Graph, attribute, drop_unread, index_graph, rename_encoding
from vision_line_compression.quantize.lint import validate_quantized
from vision_line_compression.quantize.qdq_placement import last_convolutions

FLOAT16_ENCODING = "qdq-s8-symmetric-fp16"
WEIGHTS_ENCODING = WEIGHTS_ALONE
LEAST_FLOAT16_SCALE = np.float16(2.0**-20)

_PAIR_OPSET = 19
_PAIR = ("QuantizeLinear", "DequantizeLinear")
_SIZES = ("Shape", "Size")  # what they make of an image is no image any more
#: Inputs that are float32 whatever the operation's own type is.
_ALWAYS_FLOAT = {"Resize": (1, 2)}
_LARGEST = float(np.finfo(np.float16).max)


def write_float16(source: Path, output: Path) -> Path:
    """Write the FP16 variant of a float or canonically quantized file to `output`.

    Raises:
        ModelError: `source` cannot be read, is half already, or holds numbers beyond float16; or `output` cannot be
            written.
    """
    return _write(load_model(source), source, output, FLOAT16_ENCODING)


def write_weights_float16(source: Path, output: Path) -> Path:
    """Write a canonically quantized file to `output` with INT8 weights alone, and float16 for all else.

    TensorRT-RTX computes in float whatever the file says: pairs of activations are arithmetic there, and rounding that
    wins nothing.

    Raises:
        ModelError: as `write_float16`, or `source` is not in the canonical encoding.
    """
    model = load_model(source)
    validate_quantized(model, source)
    _drop_activation_pairs(model)
    return _write(model, source, output, WEIGHTS_ENCODING)


def _write(loaded: ModelProto, source: Path, output: Path, encoding: str) -> Path:
    model = _lifted(loaded, source)
    graph = index_graph(model)
    writing = _Writing(graph, source)
    nodes = writing.nodes()
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(writing.constants.values())
    drop_unread(model)
    del model.graph.value_info[:]
    for value in model.graph.input:
        if value.name == graph.input_name:
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
    rename_encoding(model, encoding)
    save_model(model, output)
    return output


def float16_weight(
    codes: NDArray[np.int8], scales: NDArray[np.float32]
) -> tuple[NDArray[np.int8], NDArray[np.float16]]:
    """Return codes (n, ...) and float16 scales (n,) of the same weights; codes change where a scale was too small."""
    rounded = np.maximum(scales.astype(np.float16), LEAST_FLOAT16_SCALE)
    raised = scales < LEAST_FLOAT16_SCALE
    if not raised.any():
        return codes, rounded
    share = np.where(raised, scales / rounded.astype(np.float32), 1.0).reshape(-1, *[1] * (codes.ndim - 1))
    return np.rint(codes * share).astype(np.int8), rounded


def _drop_activation_pairs(model: ModelProto) -> None:
    """Let whoever reads a pair of an activation read the activation."""
    graph = index_graph(model)
    read_as: dict[str, str] = {}
    kept = []
    for node in graph.nodes:
        node.input[:] = [read_as.get(name, name) for name in node.input]
        if node.op_type in _PAIR and node.input[0] not in graph.constants:
            read_as[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    drop_unread(model)


def _lifted(model: ModelProto, source: Path) -> ModelProto:
    if any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer):
        raise ModelError(f"{source}: expected float32 outside its pairs, found float16")
    has_pairs = any(node.op_type in _PAIR for node in model.graph.node)
    if not has_pairs or default_opset(model) >= _PAIR_OPSET:
        return model
    try:
        lifted = onnx.version_converter.convert_version(model, _PAIR_OPSET)
    except RuntimeError as exc:  # what the converter raises for an operation that it has no rule for
        raise ModelError(f"{source}: cannot be lifted to opset {_PAIR_OPSET}: {exc}") from exc
    del lifted.metadata_props[:]
    lifted.metadata_props.extend(model.metadata_props)
    return lifted


class _Writing:
    """One rewriting: which nodes are the body, and the half constants that they need."""

    def __init__(self, graph: Graph, source: Path) -> None:
        self.constants: dict[str, TensorProto] = {}
        self._graph = graph
        self._source = source
        self._body, self._float16 = _flow(graph)
        self._types = _types(graph.model)
        self._made: set[str] = set()

    def nodes(self) -> list[NodeProto]:
        """Return all nodes in order, casts where the body ends."""
        done: list[NodeProto] = []
        for node in self._graph.nodes:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            done += self._enter(copy) if node.name in self._body else self._leave(copy)
            done.append(copy)
            if node.name in self._body:
                done += self._outputs(copy)
        return done

    def _enter(self, node: NodeProto) -> list[NodeProto]:
        """Point a node of the body at half inputs."""
        if node.op_type == "Cast" and attribute(node, "to", None) == TensorProto.FLOAT:
            del node.attribute[:]
            node.attribute.append(onnx.helper.make_attribute("to", TensorProto.FLOAT16))
        if node.op_type == "DequantizeLinear" and node.input[0] in self._graph.constants:
            self._weight(node)
            return []
        casts = []
        for number, name in enumerate(node.input):
            if number in _ALWAYS_FLOAT.get(node.op_type, ()):
                continue
            constant = self._graph.constants.get(name)
            if constant is not None:
                scale = node.op_type in _PAIR and number == 1
                node.input[number] = self._constant(name, constant, scale=scale)
            elif name not in self._float16 and self._types.get(name) == TensorProto.FLOAT:
                casts += self._cast_once(name, f"{name}_half", TensorProto.FLOAT16)
                node.input[number] = f"{name}_half"
        return casts

    def _leave(self, node: NodeProto) -> list[NodeProto]:
        """Point a node of the tail at float inputs."""
        casts = []
        for number, name in enumerate(node.input):
            if name in self._float16 and self._types.get(name) == TensorProto.FLOAT and node.op_type not in _SIZES:
                casts += self._cast_once(name, f"{name}_float", TensorProto.FLOAT)
                node.input[number] = f"{name}_float"
        return casts

    def _outputs(self, node: NodeProto) -> Iterator[NodeProto]:
        """Give the graph's outputs their float form under their own name."""
        results = {value.name for value in self._graph.model.graph.output}
        for number, name in enumerate(node.output):
            if name in results and self._types.get(name) == TensorProto.FLOAT:
                node.output[number] = f"{name}_half"
                yield self._cast(f"{name}_half", name, TensorProto.FLOAT)

    def _constant(self, name: str, value: NDArray[np.generic], *, scale: bool) -> str:
        if value.dtype != np.float32:
            return name
        finite = value[np.isfinite(value)]
        if finite.size and np.abs(finite).max() > _LARGEST:
            raise ModelError(f"{self._source}: {name}: expected numbers within float16, found {np.abs(finite).max():g}")
        rounded = value.astype(np.float16)
        return self._kept(f"{name}_half", np.maximum(rounded, LEAST_FLOAT16_SCALE) if scale else rounded)

    def _weight(self, node: NodeProto) -> None:
        codes, scales = float16_weight(self._graph.constants[node.input[0]], self._graph.constants[node.input[1]])
        if codes is not self._graph.constants[node.input[0]]:
            node.input[0] = self._kept(f"{node.input[0]}_half", codes)
        node.input[1] = self._kept(f"{node.input[1]}_half", scales)

    def _kept(self, name: str, value: NDArray[np.generic]) -> str:
        self.constants[name] = numpy_helper.from_array(value, name)
        return name

    def _cast_once(self, name: str, result: str, kind: int) -> list[NodeProto]:
        if result in self._made:
            return []
        self._made.add(result)
        return [self._cast(name, result, kind)]

    @staticmethod
    def _cast(name: str, result: str, kind: int) -> NodeProto:
        return onnx.helper.make_node("Cast", [name], [result], f"{result}_Cast", to=kind)


def _flow(graph: Graph) -> tuple[set[str], set[str]]:
    """Return the names of the body's nodes, and the tensors that the image flows into through them."""
    tail = {later.name for node in last_convolutions(graph) for later in graph.downstream(node)}
    body: set[str] = set()
    tensors = {graph.input_name}
    for node in graph.nodes:
        if node.name in tail or node.op_type in _SIZES:
            continue
        if not tensors.isdisjoint(node.input):
            body.add(node.name)
            tensors.update(node.output)
    weights = {node.name for node in graph.nodes if node.op_type == "DequantizeLinear" and _feeds(graph, node, body)}
    return body | weights, tensors | {output for node in graph.nodes if node.name in weights for output in node.output}


def _feeds(graph: Graph, node: NodeProto, body: set[str]) -> bool:
    """Say whether `node` dequantizes weights for the body."""
    return node.input[0] in graph.constants and any(
        reader.name in body for reader in graph.consumers.get(node.output[0], ())
    )


def _types(model: ModelProto) -> dict[str, int]:
    """Return the element type of every tensor that is computed."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = (*inferred.value_info, *inferred.input, *inferred.output)
    return {value.name: value.type.tensor_type.elem_type for value in values}
