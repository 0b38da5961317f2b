# SPDX-License-Identifier: AGPL-3.0-or-later
"""Networks: an ONNX file's graph, and the layers that are added to it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import openvino as ov
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from tests.fakes.faketensorrt.words import DataType, ILogger, ReduceOperation, TopKOperation

if TYPE_CHECKING:
    from tests.fakes.faketensorrt.library import FakeTensorRT


class Tensor:
    """A tensor of a network being built; `value` is its name in the ONNX graph."""

    def __init__(self, network: Network, value: str, dtype: DataType, shape: Sequence[int] | None = None) -> None:
        self.name = value
        self.value = value
        self.dtype = dtype
        self._network = network
        network.tensors.append(self)
        self._shape = None if shape is None else tuple(shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape, -1 where it is free."""
        return self._network.inferred(self) if self._shape is None else self._shape

    @shape.setter
    def shape(self, shape: Sequence[int]) -> None:
        assert self._shape is not None, "only inputs have a shape that can be set"
        self._shape = tuple(shape)


class Layer:
    """A layer that was added to a network; `nodes` makes its ONNX nodes when the engine is built."""

    def __init__(self, outputs: list[Tensor], nodes: Callable[[Layer], list[onnx.NodeProto]]) -> None:
        self.num_elementwise_dims = 0  # of a gather
        self.axis = 0  # of a concatenation
        self.nodes = nodes
        self._outputs = outputs

    def get_output(self, index: int) -> Tensor:
        """Return an output."""
        return self._outputs[index]


class Network:
    """A network definition: an ONNX graph, and layers after it."""

    def __init__(self, library: FakeTensorRT) -> None:
        self._library = library
        self._numbers = itertools.count()
        self.model: onnx.ModelProto | None = None
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.tensors: list[Tensor] = []
        self.layers: list[Layer] = []
        self.constants: list[onnx.TensorProto] = []

    @property
    def num_inputs(self) -> int:
        """Return the number of inputs."""
        return len(self.inputs)

    @property
    def num_outputs(self) -> int:
        """Return the number of outputs."""
        return len(self.outputs)

    def get_input(self, index: int) -> Tensor:
        """Return an input."""
        return self.inputs[index]

    def get_output(self, index: int) -> Tensor:
        """Return an output."""
        return self.outputs[index]

    def mark_output(self, tensor: Tensor) -> None:
        """Make a tensor an output."""
        self.outputs.append(tensor)

    def unmark_output(self, tensor: Tensor) -> None:
        """Make an output an inner tensor."""
        self.outputs.remove(tensor)

    def add_constant(self, shape: Sequence[int], weights: NDArray[Any]) -> Layer | None:
        """Add a constant; its values are those of a numpy array."""
        tensor = self._tensor(DataType.INT32)
        self.constants.append(numpy_helper.from_array(weights.reshape(shape).astype(np.int64), tensor.value))
        return self._add("add_constant", [tensor], lambda layer: [])

    def add_gather(self, data: Tensor, indices: Tensor, axis: int) -> Layer | None:
        """Add a gather along `axis`; with one elementwise dimension each row has its own indices."""
        found = self._tensor(data.dtype)

        def nodes(layer: Layer) -> list[onnx.NodeProto]:
            if layer.num_elementwise_dims == 0:
                return [helper.make_node("Gather", [data.value, indices.value], [found.value], axis=axis)]
            assert (layer.num_elementwise_dims, axis) == (1, 2)
            last = self._constant(np.array([-1], np.int64))
            step = [self._name() for _ in range(3)]
            return [
                helper.make_node("Transpose", [data.value], [step[0]], perm=[0, 2, 1]),
                helper.make_node("Unsqueeze", [indices.value, last], [step[1]]),
                helper.make_node("GatherND", [step[0], step[1]], [step[2]], batch_dims=1),
                helper.make_node("Transpose", [step[2]], [found.value], perm=[0, 2, 1]),
            ]

        return self._add("add_gather", [found], nodes)

    def add_reduce(self, data: Tensor, op: ReduceOperation, axes: int, keep_dims: bool) -> Layer | None:
        """Add a reduction over the axes of a bit mask."""
        assert op is ReduceOperation.MAX
        found = self._tensor(data.dtype)
        assert self.model is not None
        if self.model.opset_import[0].version < 18:
            node = helper.make_node("ReduceMax", [data.value], [found.value], axes=_axes(axes), keepdims=keep_dims)
        else:
            over = self._constant(np.array(_axes(axes), np.int64))
            node = helper.make_node("ReduceMax", [data.value, over], [found.value], keepdims=keep_dims)
        return self._add("add_reduce", [found], lambda layer: [node])

    def add_topk(self, data: Tensor, op: TopKOperation, k: int, axes: int) -> Layer | None:
        """Add a top-k along the one axis of a bit mask: values, and their indices."""
        assert op is TopKOperation.MAX
        (axis,) = _axes(axes)
        values, indices = self._tensor(data.dtype), self._tensor(DataType.INT32)
        size = self._constant(np.array([k], np.int64))
        node = helper.make_node("TopK", [data.value, size], [values.value, indices.value], axis=axis)
        return self._add("add_topk", [values, indices], lambda layer: [node])

    def add_cast(self, data: Tensor, to_type: DataType) -> Layer | None:
        """Add a cast."""
        kinds = {DataType.FLOAT: onnx.TensorProto.FLOAT, DataType.HALF: onnx.TensorProto.FLOAT16}
        found = self._tensor(to_type)
        node = helper.make_node("Cast", [data.value], [found.value], to=kinds[to_type])
        return self._add("add_cast", [found], lambda layer: [node])

    def add_concatenation(self, parts: Sequence[Tensor]) -> Layer | None:
        """Add a concatenation of tensors of one type along the layer's axis."""
        assert len({part.dtype for part in parts}) == 1, "strongly typed: nothing is cast"
        found, names = self._tensor(parts[0].dtype), [part.value for part in parts]
        return self._add(
            "add_concatenation",
            [found],
            lambda layer: [helper.make_node("Concat", names, [found.value], axis=layer.axis)],
        )

    def inferred(self, tensor: Tensor) -> tuple[int, ...]:
        """Return a shape that follows from the input's."""
        network = ov.Core().read_model(self.serialized([tensor]), b"")
        network.reshape({self.inputs[0].name: ov.PartialShape(list(self.inputs[0].shape))})
        shape = network.output(0).get_partial_shape()
        return tuple(size.get_length() if size.is_static else -1 for size in shape)

    def serialized(self, outputs: Sequence[Tensor]) -> bytes:
        """Return the graph with its layers and these outputs as ONNX; tensors have the names that they were given."""
        assert self.model is not None
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        nodes = [node for layer in self.layers for node in layer.nodes(layer)]
        model.graph.initializer.extend(self.constants)
        model.graph.node.extend(nodes)
        named = {tensor.value: tensor.name for tensor in self.tensors}
        for node in model.graph.node:
            node.input[:] = [named.get(value, value) for value in node.input]
            node.output[:] = [named.get(value, value) for value in node.output]
        del model.graph.output[:]
        for tensor in outputs:
            model.graph.output.append(helper.make_tensor_value_info(tensor.name, onnx.TensorProto.FLOAT, None))
        return bytes(model.SerializeToString())

    def _name(self) -> str:
        return f"added_{next(self._numbers)}"

    def _tensor(self, dtype: DataType) -> Tensor:
        return Tensor(self, self._name(), dtype)

    def _constant(self, values: NDArray[Any]) -> str:
        name = self._name()
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def _add(self, call: str, outputs: list[Tensor], nodes: Callable[[Layer], list[onnx.NodeProto]]) -> Layer | None:
        if self._library.refuses(call):
            return None
        self.layers.append(Layer(outputs, nodes))
        return self.layers[-1]


def _axes(mask: int) -> list[int]:
    return [axis for axis in range(8) if mask >> axis & 1]


@dataclass(slots=True)
class ParserError:
    """Why a file was not parsed."""

    text: str

    def desc(self) -> str:
        """Say it."""
        return self.text


class OnnxParser:
    """Reads an ONNX file into a network."""

    def __init__(self, network: Network, logger: ILogger) -> None:
        self._network = network
        self._errors: list[ParserError] = []

    @property
    def num_errors(self) -> int:
        """Return how many faults there are."""
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        """Return a fault."""
        return self._errors[index]

    def parse(self, model: bytes, path: str | None = None) -> bool:
        """Read a file's content; return whether it could be read."""
        network = self._network
        try:
            network.model = onnx.load_from_string(model)
        except Exception as exc:  # noqa: BLE001  whatever protobuf raises
            self._errors.append(ParserError(str(exc)))
            return False
        for value in network.model.graph.input:
            shape = [dim.dim_value or -1 for dim in value.type.tensor_type.shape.dim]
            half = value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
            network.inputs.append(Tensor(network, value.name, DataType.HALF if half else DataType.FLOAT, shape))
        network.outputs = [Tensor(network, value.name, DataType.FLOAT) for value in network.model.graph.output]
        return True
