# SPDX-License-Identifier: AGPL-3.0-or-later
"""An ONNX graph computed by torch, of the operators that the models of Ultralytics' families have.

What does not depend on the values of the images is computed once, by `first`; `__call__` runs the rest, and may be
recorded in a CUDA graph: it neither allocates outside torch's pool nor waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from torch.nn import functional

_Run = Callable[..., Any]
_END = 1 << 40  # where slices end that have no end

_ELEMENTWISE: dict[str, _Run] = {
    "Sigmoid": torch.sigmoid,
    "Mul": torch.mul,
    "Add": torch.add,
    "Sub": torch.sub,
    "Div": torch.div,
}


@dataclass(frozen=True, slots=True)
class _Step:
    """One operator: what runs, on values by their names and on known tensors; where its results go."""

    run: _Run
    arguments: Sequence[Any]
    outputs: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Node:
    """An operator's attributes, and its inputs that are known numbers; one that is left out has no name."""

    kind: str
    attributes: dict[str, Any]
    inputs: Sequence[str]
    outputs: Sequence[str]
    known: dict[str, NDArray[Any]] = field(repr=False)

    def numbers(self, index: int) -> list[int]:
        """Return an input as a list of integers."""
        return [int(value) for value in np.atleast_1d(self.known[self.inputs[index]])]

    def has(self, index: int) -> bool:
        """Whether there is such an input."""
        return len(self.inputs) > index and bool(self.inputs[index])


class TorchGraph:
    """A model on one device. `exact` computes in float32 as the file says, Q/DQ pairs too; else in float16 without."""

    def __init__(self, model: onnx.ModelProto, device: str, *, exact: bool) -> None:
        if device == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = not exact
        self._device, self._exact = device, exact
        self._half = not exact and device == "cuda"
        self._graph = model.graph
        self._opset = next(entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"})
        self._known = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self._input, self._output = model.graph.input[0].name, model.graph.output[0].name
        self._steps: list[_Step] = []

    def first(self, images: torch.Tensor) -> torch.Tensor:
        """Return the output for `images` (n, 3, h, w), and remember how it was computed, for images of that shape."""
        values: dict[str, Any] = {self._input: self._entering(images)}
        self._steps = []
        for node in self._graph.node:
            inputs = [name for name in node.input if name]
            if node.op_type == "Shape" and inputs[0] in values:
                self._known[node.output[0]] = np.array(values[inputs[0]].shape, np.int64)
            elif any(name in values for name in inputs):
                step = self._step(node, values)
                self._steps.append(step)
                _run(step, values)
            else:
                self._fold(node, inputs)
        return _entire(values[self._output])

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return the output for images of the shape that `first` saw."""
        values: dict[str, Any] = {self._input: self._entering(images)}
        for step in self._steps:
            _run(step, values)
        return _entire(values[self._output])

    def _entering(self, images: torch.Tensor) -> torch.Tensor:
        return images.half().to(memory_format=torch.channels_last) if self._half else images.float()

    def _fold(self, node: onnx.NodeProto, inputs: Sequence[str]) -> None:
        """Compute what depends on no image."""
        if node.op_type == "DequantizeLinear":
            codes, scale = (self._known[name].astype(np.float32) for name in inputs[:2])
            if scale.ndim:
                scale = scale.reshape([-1] + [1] * (codes.ndim - 1))
            self._known[node.output[0]] = codes * scale
            return
        given = {name: self._known[name] for name in inputs}
        found = ReferenceEvaluator(_single(node, self._opset, given)).run(None, given)
        self._known.update(zip(node.output, (np.asarray(value) for value in found), strict=True))

    def _step(self, node: onnx.NodeProto, values: dict[str, Any]) -> _Step:
        attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
        described = _Node(node.op_type, attributes, tuple(node.input), tuple(node.output), self._known)
        run, used = self._operator(described)
        arguments = [name if name in values else self._constant(name) for name in used if name]
        return _Step(run, arguments, described.outputs)

    def _operator(self, node: _Node) -> tuple[_Run, Sequence[str]]:
        """Return what runs a node, and which of its inputs it is called with; the others are known numbers."""
        if node.kind in _ELEMENTWISE:
            return _ELEMENTWISE[node.kind], node.inputs
        if node.kind in {"QuantizeLinear", "DequantizeLinear"}:
            return (_quantization(node) if self._exact else _same), node.inputs[:1]
        if node.kind == "Concat":
            axis = node.attributes["axis"]
            return (lambda *parts: torch.cat([part.to(parts[0].dtype) for part in parts], axis)), node.inputs
        if node.kind == "Conv":
            return _convolution(node), node.inputs
        if node.kind not in _OPERATORS:
            raise NotImplementedError(f"the stand-in has no {node.kind}")
        return _OPERATORS[node.kind](node), node.inputs[:1]

    def _constant(self, name: str) -> torch.Tensor:
        tensor = torch.from_numpy(np.array(self._known[name], order="C", copy=True)).to(self._device)
        if tensor.dtype in {torch.float16, torch.float32}:
            tensor = tensor.half() if self._half else tensor.float()
        if self._half and tensor.ndim == 4:
            tensor = tensor.to(memory_format=torch.channels_last)
        return tensor


def _run(step: _Step, values: dict[str, Any]) -> None:
    found = step.run(*(values[one] if isinstance(one, str) else one for one in step.arguments))
    results = found if isinstance(found, (tuple, list)) else (found,)
    values.update(zip(step.outputs, results, strict=False))


def _entire(output: torch.Tensor) -> torch.Tensor:
    return output.float()


def _same(value: torch.Tensor) -> torch.Tensor:
    return value


def _convolution(node: _Node) -> _Run:
    pads = node.attributes.get("pads", [0] * 4)
    if pads[:2] != pads[2:]:
        raise NotImplementedError(f"the stand-in pads alike on both sides, found {pads}")
    strides, dilations = node.attributes.get("strides", [1, 1]), node.attributes.get("dilations", [1, 1])
    groups = node.attributes.get("group", 1)
    return lambda x, weight, bias=None: functional.conv2d(x, weight, bias, strides, pads[:2], dilations, groups)


def _quantization(node: _Node) -> _Run:
    scale = float(node.known[node.inputs[1]])
    if node.kind == "DequantizeLinear":
        return lambda x: x * scale
    low = 0 if node.has(2) and node.known[node.inputs[2]].dtype == np.uint8 else -128
    return lambda x: torch.clamp(torch.round(x / scale), low, low + 255)


def _split(node: _Node) -> _Run:
    sizes = node.numbers(1) if node.has(1) else list(node.attributes.get("split", ()))
    axis, count = node.attributes.get("axis", 0), len(node.outputs)
    return lambda x: torch.split(x, sizes or -(-x.shape[axis] // count), axis)


def _max_pool(node: _Node) -> _Run:
    kernel, strides = node.attributes["kernel_shape"], node.attributes["strides"]
    pads = node.attributes.get("pads", [0] * 4)[:2]
    return lambda x: functional.max_pool2d(x, kernel, strides, pads)


def _average_pool(node: _Node) -> _Run:
    return lambda x: functional.avg_pool2d(x, node.attributes["kernel_shape"], node.attributes["strides"])


def _resize(node: _Node) -> _Run:
    scales = [float(value) for value in node.known[node.inputs[2]]][2:]
    return lambda x: functional.interpolate(x, scale_factor=scales, mode="nearest")


def _softmax(node: _Node) -> _Run:
    return lambda x: torch.softmax(x.float(), node.attributes.get("axis", -1)).to(x.dtype)


def _reshape(node: _Node) -> _Run:
    wanted = node.numbers(1)
    return lambda x: x.reshape([x.shape[index] if size == 0 else size for index, size in enumerate(wanted)])


def _transpose(node: _Node) -> _Run:
    return lambda x: x.permute(node.attributes["perm"])


def _unsqueeze(node: _Node) -> _Run:
    axes = sorted(node.numbers(1))

    def run(x: torch.Tensor) -> torch.Tensor:
        for axis in axes:
            x = x.unsqueeze(axis)
        return x

    return run


def _slice(node: _Node) -> _Run:
    starts, ends = node.numbers(1), node.numbers(2)
    axes = node.numbers(3) if node.has(3) else list(range(len(starts)))
    steps = node.numbers(4) if node.has(4) else [1] * len(starts)

    def run(x: torch.Tensor) -> torch.Tensor:
        where = [slice(None)] * x.ndim
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
            where[axis] = slice(start, min(end, _END), step)
        return x[tuple(where)]

    return run


def _reduce_max(node: _Node) -> _Run:
    axes = list(node.attributes["axes"]) if "axes" in node.attributes else node.numbers(1)
    keeps = bool(node.attributes.get("keepdims", 1))
    return lambda x: x.amax(axes, keepdim=keeps)


def _cumulative_sum(node: _Node) -> _Run:
    (axis,) = node.numbers(1)
    return lambda x: torch.cumsum(x, axis)


#: Those that are called with their first input alone. A cast does nothing: here all values have one type.
_OPERATORS: dict[str, Callable[[_Node], _Run]] = {
    "AveragePool": _average_pool,
    "Cast": lambda _: _same,
    "CumSum": _cumulative_sum,
    "MaxPool": _max_pool,
    "ReduceMax": _reduce_max,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "Softmax": _softmax,
    "Split": _split,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}


def _single(node: onnx.NodeProto, opset: int, given: dict[str, NDArray[Any]]) -> onnx.ModelProto:
    infos = [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), None)
        for name, value in given.items()
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
    graph = onnx.helper.make_graph([node], "one", infos, outputs)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
