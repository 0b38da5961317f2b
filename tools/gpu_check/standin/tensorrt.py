# SPDX-License-Identifier: AGPL-3.0-or-later
"""A stand-in for TensorRT on a machine with a GPU and torch, but without TensorRT: the same calls, torch computes.

It is there to try everything around the engine on real hardware: streams, events, addresses, the order of the shared
workspace, warm-up, recording and replay of graphs, slots, results. Its times are torch's, never TensorRT's.

VL_STANDIN=exact (the default) computes in float32 without TF32, Q/DQ pairs as the file says; VL_STANDIN=fast in
float16, channels last, without pairs. VL_STANDIN_CAPTURE=0: contexts say that they cannot be recorded.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import numpy as np
import onnx
import torch
from tools.gpu_check.standin.graph_in_torch import TorchGraph

__version__ = "10.16.0.standin"
_MAGIC = b"torch stand-in plan\n"
_ALIGNMENT = 256  # bytes, of a workspace


class Severity(IntEnum):
    """How bad a message is."""

    ERROR = 1
    WARNING = 2
    INFO = 3


class ILogger:
    """Base of loggers."""

    ERROR, WARNING, INFO = Severity


class IProgressMonitor:
    """Base of progress monitors; nothing is reported."""


class DataType(IntEnum):
    """Type of a tensor."""

    FLOAT = 0
    HALF = 1

    def __str__(self) -> str:
        return f"DataType.{self.name}"


class TensorIOMode(IntEnum):
    """Which way a tensor goes."""

    NONE = 0
    INPUT = 1
    OUTPUT = 2


class ReduceOperation(IntEnum):
    """How values become one."""

    MAX = 2


class TopKOperation(IntEnum):
    """Which values are kept."""

    MAX = 0


class BuilderFlag(IntEnum):
    """How engines are built."""

    SPARSE_WEIGHTS = 7


class ProfilingVerbosity(IntEnum):
    """What an engine keeps of its layers."""

    DETAILED = 2


class LayerInformationFormat(IntEnum):
    """How the inspector says it."""

    JSON = 1


class NetworkDefinitionCreationFlag(IntEnum):
    """How networks are made."""

    STRONGLY_TYPED = 1


class MemoryPoolType(IntEnum):
    """What memory a build may take."""

    WORKSPACE = 0


class ExecutionContextAllocationStrategy(IntEnum):
    """Whose memory contexts use."""

    STATIC = 0
    USER_MANAGED = 2


class _Tensor:
    def __init__(
        self,
        network: _Network,
        name: str,
        shape: tuple[int, ...] | None = None,
        dtype: DataType = DataType.FLOAT,
    ) -> None:
        self.name, self.dtype, self._network, self._shape = name, dtype, network, shape

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes, -1 where they are free."""
        return self._shape if self._shape is not None else self._network.output_shape()

    @shape.setter
    def shape(self, shape: tuple[int, ...]) -> None:
        self._shape = tuple(shape)


class _Layer:
    num_elementwise_dims = axis = 0

    def __init__(self, *outputs: _Tensor) -> None:
        self._outputs = outputs

    def get_output(self, index: int) -> _Tensor:
        """Return one of its outputs."""
        return self._outputs[index]


class _Network:
    """A parsed file, and the one reduction that is added to it: `rows` to judge by and `k` columns to keep.

    `joins`: of those the box, the best row, and its number among `rows` are left.
    """

    def __init__(self) -> None:
        self.model = onnx.ModelProto()
        self.inputs: list[_Tensor] = []
        self.outputs: list[_Tensor] = []
        self.rows: list[int] = []
        self.k = 0
        self.joins = False

    @property
    def num_inputs(self) -> int:
        """How many inputs it has."""
        return len(self.inputs)

    @property
    def num_outputs(self) -> int:
        """How many outputs it has."""
        return len(self.outputs)

    def get_input(self, index: int) -> _Tensor:
        """Return one of its inputs."""
        return self.inputs[index]

    def get_output(self, index: int) -> _Tensor:
        """Return one of its outputs."""
        return self.outputs[index]

    def mark_output(self, tensor: _Tensor) -> None:
        """Make a tensor an output."""
        self.outputs.append(tensor)

    def unmark_output(self, tensor: _Tensor) -> None:
        """Make a tensor no output."""
        self.outputs.remove(tensor)

    def add_constant(self, shape: tuple[int, ...], values: Any) -> _Layer:
        """Take the rows that columns are judged by: the first that are named."""
        self.rows = self.rows or [int(value) for value in np.asarray(values).ravel()]
        return _Layer(_Tensor(self, "rows", tuple(shape)))

    def add_gather(self, _data: _Tensor, _indices: _Tensor, axis: int) -> _Layer:
        """Take rows, or columns."""
        return _Layer(_Tensor(self, f"gathered{axis}", (-1, 4 + len(self.rows), self.k or -1)))

    def add_reduce(self, *_arguments: object) -> _Layer:
        """Take the best row of each column."""
        return _Layer(_Tensor(self, "best", (-1, -1)))

    def add_topk(self, _data: _Tensor, _operation: TopKOperation, k: int, _axes: int) -> _Layer:
        """Take the best columns, and once more the best row of those."""
        self.k = self.k or int(k)
        return _Layer(_Tensor(self, "values", (-1, k)), _Tensor(self, "places", (-1, k)))

    def add_cast(self, _data: _Tensor, to_type: DataType) -> _Layer:
        """Make numbers of places."""
        return _Layer(_Tensor(self, "numbers", (-1, 1, self.k), to_type))

    def add_concatenation(self, _parts: Sequence[_Tensor]) -> _Layer:
        """Join box, best row and its number."""
        self.joins = True
        return _Layer(_Tensor(self, "joined", (-1, 6, self.k)))

    def output_shape(self) -> tuple[int, ...]:
        """Return the file's own output's shape, once the input's is fixed."""
        free = tuple(self.inputs[0].shape)
        if min(free[1:]) < 0:
            return (-1, -1, -1)
        found = TorchGraph(self.model, "cpu", exact=True).first(torch.zeros(1, *free[1:]))
        return (free[0], *found.shape[1:])


class _ParserError:
    def __init__(self, text: str) -> None:
        self._text = text

    def desc(self) -> str:
        """Return what is wrong."""
        return self._text


class OnnxParser:
    """Reads a file into a network."""

    def __init__(self, network: _Network, _logger: object) -> None:
        self._network = network
        self._errors: list[_ParserError] = []

    @property
    def num_errors(self) -> int:
        """How many errors there are."""
        return len(self._errors)

    def get_error(self, index: int) -> _ParserError:
        """Return one of them."""
        return self._errors[index]

    def parse(self, content: bytes) -> bool:
        """Read a file's content; whether it could be read."""
        network = self._network
        try:
            network.model = onnx.load_from_string(content)
        except Exception as exc:  # noqa: BLE001  protobuf has no public name for what it raises
            self._errors.append(_ParserError(str(exc)))
            return False
        for value in network.model.graph.input:
            shape = tuple(dim.dim_value or -1 for dim in value.type.tensor_type.shape.dim)
            half = value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
            network.inputs.append(_Tensor(network, value.name, shape, DataType.HALF if half else DataType.FLOAT))
        network.outputs = [_Tensor(network, value.name) for value in network.model.graph.output]
        return True


class _Profile:
    def __init__(self) -> None:
        self.shapes: list[list[int]] = []

    def set_shape(self, _name: str, *shapes: tuple[int, ...]) -> None:
        """Take the least, the best and the largest shape of an input."""
        self.shapes = [list(shape) for shape in shapes]


class _TimingCache:
    def serialize(self) -> bytes:
        """Return nothing that is worth keeping."""
        return b"none"


class _Config:
    progress_monitor: IProgressMonitor | None = None
    profiling_verbosity = ProfilingVerbosity.DETAILED
    profile_stream = 0

    def __init__(self) -> None:
        self.profiles: list[_Profile] = []

    def set_memory_pool_limit(self, _pool: MemoryPoolType, _nbytes: int) -> None:
        """Do nothing: it tries no kernels."""

    def add_optimization_profile(self, profile: _Profile) -> int:
        """Return the number of a profile."""
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def set_flag(self, _flag: BuilderFlag) -> None:
        """Do nothing: it changes no result."""

    def create_timing_cache(self, _content: bytes) -> _TimingCache:
        """Return an empty one."""
        return _TimingCache()

    def set_timing_cache(self, _cache: _TimingCache, ignore_mismatch: bool) -> bool:
        """Take it."""
        return not ignore_mismatch


class Builder:
    """Makes plans: the file with its profiles."""

    def __init__(self, _logger: object) -> None:
        pass

    def create_network(self, _flags: int) -> _Network:
        """Return an empty network."""
        return _Network()

    def create_builder_config(self) -> _Config:
        """Return a configuration."""
        return _Config()

    def create_optimization_profile(self) -> _Profile:
        """Return an empty profile."""
        return _Profile()

    def build_serialized_network(self, network: _Network, config: _Config) -> bytes:
        """Return the plan."""
        head = {
            "profiles": [profile.shapes for profile in config.profiles],
            "input": network.inputs[0].name,
            "input_type": network.inputs[0].dtype.name,
            "output": network.outputs[0].name,
            "rows": network.rows,
            "k": network.k,
            "joins": network.joins,
        }
        return b"".join((_MAGIC, json.dumps(head).encode(), b"\n", network.model.SerializeToString()))


class _RuntimeConfig:
    def __init__(self) -> None:
        self.strategy = ExecutionContextAllocationStrategy.STATIC

    def set_execution_context_allocation_strategy(self, strategy: ExecutionContextAllocationStrategy) -> None:
        """Say whose memory contexts use."""
        self.strategy = strategy


class Runtime:
    """Loads plans."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, plan: bytes) -> _Engine | None:
        """Return the engine, None for what is no plan of the stand-in's."""
        if not plan.startswith(_MAGIC):
            self._logger.log(Severity.ERROR, "not a plan of the stand-in")
            return None
        head, _, content = plan.removeprefix(_MAGIC).partition(b"\n")
        return _Engine(json.loads(head), onnx.load_from_string(content))


class _Engine:
    num_io_tensors = 2

    def __init__(self, facts: dict[str, Any], model: onnx.ModelProto) -> None:
        self.facts, self.model = facts, model

    def get_tensor_name(self, index: int) -> str:
        """Return the name of the input, or of the output."""
        return str((self.facts["input"], self.facts["output"])[index])

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        """Return which of them has this name."""
        return TensorIOMode.INPUT if name == self.facts["input"] else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        """Return the type of a tensor: the output's is float."""
        return DataType[self.facts["input_type"]] if name == self.facts["input"] else DataType.FLOAT

    def get_device_memory_size_for_profile_v2(self, _profile: int) -> int:
        """Return a workspace's size: torch has its own besides."""
        return 1 << 20

    def create_runtime_config(self) -> _RuntimeConfig:
        """Return a configuration for contexts."""
        return _RuntimeConfig()

    def create_engine_inspector(self) -> _Inspector:
        """Return what says what torch computes in."""
        return _Inspector(self.model)

    def create_execution_context(self, config: _RuntimeConfig) -> _Context | None:
        """Return a context, None where it would have memory of its own."""
        if config.strategy is not ExecutionContextAllocationStrategy.USER_MANAGED:
            return None
        return _Unrecordable(self) if os.environ.get("VL_STANDIN_CAPTURE") == "0" else _Context(self)


class _Inspector:
    execution_context: _Context | None = None

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model

    def get_engine_information(self, _format: LayerInformationFormat) -> str:
        """Return the convolutions, all of them in float: torch computes them."""
        number = "Row major linear FP32" if _is_exact() else "Channel major FP16 format"
        tensor = [{"Format/Datatype": number}]
        layers = [
            {"Name": node.name, "LayerType": "Convolution", "Inputs": tensor, "Outputs": tensor}
            | {"Metadata": f"[ONNX Layer: {node.name}]"}
            for node in self._model.graph.node
            if node.op_type == "Conv"
        ]
        return json.dumps({"Layers": layers})


def _is_exact() -> bool:
    return os.environ.get("VL_STANDIN", "exact") == "exact"


class _Memory:
    """Memory of the GPU that is not torch's, as torch takes it."""

    def __init__(self, address: int, shape: tuple[int, ...], dtype: DataType) -> None:
        self.__cuda_array_interface__ = {
            "version": 3,
            "shape": shape,
            "typestr": "<f2" if dtype is DataType.HALF else "<f4",
            "data": (address, False),
            "strides": None,
        }


class _Context:
    def __init__(self, engine: _Engine) -> None:
        self._engine, self._facts = engine, engine.facts
        self._workspace_bytes = engine.get_device_memory_size_for_profile_v2(0)
        self._graph = TorchGraph(engine.model, "cuda", exact=_is_exact())
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._views: dict[tuple[str, int], torch.Tensor] = {}

    def set_optimization_profile_async(self, profile: int, _stream: int) -> bool:
        """Whether there is such a profile."""
        return 0 <= profile < len(self._facts["profiles"])

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        """Take the shape, and find the output's."""
        with torch.no_grad():
            found = self._kept(self._graph.first(torch.zeros(shape, device="cuda")))
        torch.cuda.synchronize()
        self._shapes = {name: tuple(shape), self._facts["output"]: tuple(found.shape)}
        return True

    def infer_shapes(self) -> list[str]:
        """Return the tensors whose shapes are not known."""
        return []

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        """Return a shape."""
        return self._shapes[name]

    def set_device_memory(self, memory: int, size: int) -> None:
        """Take the workspace.

        Raises:
            ValueError: it is too small, or lies badly.
        """
        if memory % _ALIGNMENT or size < self._workspace_bytes:
            raise ValueError(f"expected {self._workspace_bytes} aligned bytes, found {size} at {memory}")

    def set_tensor_address(self, name: str, address: int) -> bool:
        """Bind a tensor; its view is made now, since nothing may be made while a graph is recorded."""
        self._addresses[name] = address
        if (name, address) not in self._views:
            memory = _Memory(address, self._shapes[name], self._engine.get_tensor_dtype(name))
            self._views[name, address] = torch.as_tensor(memory, device="cuda")
        return True

    def execute_async_v3(self, stream: int) -> bool:
        """Compute on a stream that is not torch's."""
        source, target = (
            self._views[name, self._addresses[name]] for name in (self._facts["input"], self._facts["output"])
        )
        with torch.no_grad(), torch.cuda.stream(torch.cuda.ExternalStream(stream)):  # type: ignore[no-untyped-call]
            target.copy_(self._kept(self._graph(source)))
        return True

    def _kept(self, found: torch.Tensor) -> torch.Tensor:
        """Return the `k` columns whose best row of `rows` is largest, whole or with that row alone."""
        rows, k = self._facts["rows"], self._facts["k"]
        if not k:
            return found
        places = found[:, rows[0] : rows[-1] + 1].amax(1).topk(k, dim=1).indices
        kept = found.gather(2, places[:, None].expand(-1, found.shape[1], -1))
        if not self._facts["joins"]:
            return kept
        scores, numbers = kept[:, rows[0] : rows[-1] + 1].max(1, keepdim=True)
        return torch.cat([kept[:, : rows[0]], scores, numbers.to(kept.dtype)], 1)


class _Unrecordable(_Context):
    def is_stream_capturable(self, _stream: int) -> bool:
        """Say that it cannot be recorded, as TensorRT-RTX may."""
        return False
