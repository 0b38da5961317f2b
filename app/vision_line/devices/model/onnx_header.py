# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an ONNX file says about itself: metadata, inputs, outputs, precision, and whether it is whole.

Read from the protobuf wire format, before any engine's library sees the file. OpenVINO would tell metadata, inputs and
outputs too, but it opens a file whose weights lie in other files without a word, where no hash covers them; it takes
only operators that it knows, and a GPU's engine may know others; and the `onnx` package is no part of the runtime.
Field numbers are those of onnx/onnx.proto (IR version 3 and later).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# onnx.proto: ModelProto, GraphProto, NodeProto, TensorProto, ValueInfoProto ... field numbers
_MODEL_GRAPH, _MODEL_METADATA, _MODEL_FUNCTION = 7, 14, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT = 1, 5, 11, 12
_NODE_OP_TYPE = 4
_TENSOR_DATA_TYPE, _TENSOR_NAME, _TENSOR_EXTERNAL, _TENSOR_LOCATION = 2, 8, 13, 14
# Which fields of which message hold messages, down to the tensors: function, graph, node, attribute, sparse tensor
_NESTED: dict[str, dict[int, str]] = {
    "function": {7: "node"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_VALUE_NAME, _VALUE_TYPE = 1, 2
_TYPE_TENSOR = 1
_TENSOR_TYPE_ELEMENT, _TENSOR_TYPE_SHAPE = 1, 2
_SHAPE_DIM = 1
_DIM_VALUE = 1

_DEEPEST = 60  # messages within messages

FLOAT32, FLOAT16 = 1, 10  # TensorProto.DataType

Fields = Iterator[tuple[int, int | memoryview]]


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """An input or output: `shape` holds None where the size is not fixed; `element` is a TensorProto.DataType."""

    name: str
    element: int
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class OnnxHeader:
    """The parts of a model file that decide whether and how it can be used."""

    metadata: dict[str, str]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    precision: str  # "int8" with pairs of activations, "fp16" with more float16 than float32 constants, else "fp32"
    elsewhere: tuple[str, ...] = ()  # files beside the model that hold tensors of it, each once


def parse_onnx_header(content: bytes) -> OnnxHeader:
    """Return the header of an ONNX model.

    Raises:
        ValueError: `content` is no ONNX model, or is cut off.
    """
    metadata: dict[str, str] = {}
    graph: memoryview | None = None
    elsewhere: list[str] = []
    for number, value in _fields(memoryview(content)):
        if number == _MODEL_METADATA:
            entry = dict(_fields(_message(value)))
            metadata[_text(entry.get(_ENTRY_KEY))] = _text(entry.get(_ENTRY_VALUE))
        elif number == _MODEL_GRAPH:
            graph = _message(value)
        elif number == _MODEL_FUNCTION:
            elsewhere += _elsewhere(_message(value), "function")
    if graph is None:
        raise ValueError("it holds no graph")
    elsewhere += _elsewhere(graph, "graph")
    return replace(_with_graph(metadata, graph), elsewhere=tuple(dict.fromkeys(elsewhere)))


def _elsewhere(message: memoryview, kind: str, depth: int = 0) -> Iterator[str]:
    """Yield the files in which tensors below `message` keep their values."""
    if depth > _DEEPEST:
        raise ValueError("its graphs are nested too deeply")
    if kind == "tensor":
        yield from _tensor_files(message)
        return
    nested = _NESTED[kind]
    for number, value in _fields(message):
        if number in nested:
            yield from _elsewhere(_message(value), nested[number], depth + 1)


def _tensor_files(tensor: memoryview) -> Iterator[str]:
    fields = list(_fields(tensor))
    entries = [dict(_fields(_message(value))) for number, value in fields if number == _TENSOR_EXTERNAL]
    if entries or dict(fields).get(_TENSOR_LOCATION):
        places = {_text(entry.get(_ENTRY_KEY)): _text(entry.get(_ENTRY_VALUE)) for entry in entries}
        yield places.get("location", "")


def _with_graph(metadata: dict[str, str], graph: memoryview) -> OnnxHeader:
    parts: dict[int, list[memoryview]] = {_GRAPH_NODE: [], _GRAPH_INITIALIZER: [], _GRAPH_INPUT: [], _GRAPH_OUTPUT: []}
    for number, value in _fields(graph):
        if number in parts:
            parts[number].append(_message(value))
    operators = {_text(dict(_fields(node)).get(_NODE_OP_TYPE)) for node in parts[_GRAPH_NODE]}
    weights = [dict(_fields(tensor)) for tensor in parts[_GRAPH_INITIALIZER]]
    # files of IR version 3 list their weights among the inputs
    weight_names = {_text(weight.get(_TENSOR_NAME)) for weight in weights}
    halves, singles = (sum(weight.get(_TENSOR_DATA_TYPE) == kind for weight in weights) for kind in (FLOAT16, FLOAT32))
    inputs = tuple(info for info in map(_tensor_info, parts[_GRAPH_INPUT]) if info.name not in weight_names)
    outputs = tuple(map(_tensor_info, parts[_GRAPH_OUTPUT]))
    precision = "int8" if "QuantizeLinear" in operators else "fp16" if halves > singles else "fp32"
    return OnnxHeader(metadata, inputs, outputs, precision)


def _tensor_info(value_info: memoryview) -> TensorInfo:
    fields = dict(_fields(value_info))
    kind = dict(_fields(_message(fields.get(_VALUE_TYPE, memoryview(b"")))))
    tensor = dict(_fields(_message(kind.get(_TYPE_TENSOR, memoryview(b"")))))
    shape = _message(tensor.get(_TENSOR_TYPE_SHAPE, memoryview(b"")))
    dims = [dict(_fields(_message(dim))).get(_DIM_VALUE) for number, dim in _fields(shape) if number == _SHAPE_DIM]
    element = tensor.get(_TENSOR_TYPE_ELEMENT, 0)
    return TensorInfo(
        _text(fields.get(_VALUE_NAME)),
        element if isinstance(element, int) else 0,
        tuple(dim if isinstance(dim, int) and dim > 0 else None for dim in dims),
    )


def _fields(message: memoryview) -> Fields:
    """Yield (field number, value) of a protobuf message; the value is an integer or the field's bytes."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        size, position = _size(message, position, wire)
        if position + size > len(message):
            raise ValueError("it is cut off or no ONNX file")
        yield number, message[position : position + size]
        position += size


def _size(message: memoryview, position: int, wire: int) -> tuple[int, int]:
    if wire == _BYTES:
        return _varint(message, position)
    if wire in (_FIXED32, _FIXED64):
        return (4 if wire == _FIXED32 else 8), position
    raise ValueError("it is no ONNX file")


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            raise ValueError("it is cut off or no ONNX file")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("it is no ONNX file")


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("it is no ONNX file")  # noqa: TRY004 - a fault of the file, not of the caller
    return value


def _text(value: int | memoryview | None) -> str:
    return "" if value is None else bytes(_message(value)).decode("utf-8")
