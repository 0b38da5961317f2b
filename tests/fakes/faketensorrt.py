# SPDX-License-Identifier: AGPL-3.0-or-later
"""A TensorRT that computes on the CPU: what the product uses of builder and runtime, with the library's own rules.

A plan is the model's ONNX file with the layers that were added to its network. A context queues its inference on the
fake CUDA driver, as two pieces of work: the first reads the input and leaves the results in the workspace, the second
brings them to the output. So inputs that are not there yet, outputs that are read too early and workspaces that two
contexts use at once all show in the results. Rows of the input that were never written give not-a-number.

Refused calls return None or False and log a reason, as the library's do; `refusals` makes any of them refuse.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import openvino as ov
from cuda.bindings import driver
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from tests.fakes.engine_inspector import EngineInspector, LayerInformationFormat  # noqa: F401  one of `PUBLIC`
from tests.fakes.fakecuda.driver import LAUNCH_FAILED, FakeDriver

MAGIC = b"fake TensorRT plan\n"
NEVER_WRITTEN = b"\xcd" * 64


class ProfilingVerbosity(IntEnum):
    """What an engine keeps of its layers."""

    LAYER_NAMES_ONLY = 0
    NONE = 1
    DETAILED = 2


class Severity(IntEnum):
    """How bad a message is."""

    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4


class ILogger:
    """Takes the library's messages."""

    INTERNAL_ERROR = Severity.INTERNAL_ERROR
    ERROR = Severity.ERROR
    WARNING = Severity.WARNING
    INFO = Severity.INFO
    VERBOSE = Severity.VERBOSE

    def log(self, severity: Severity, message: str) -> None:
        """Take a message."""
        raise NotImplementedError


class IProgressMonitor:
    """Hears of a build's steps, and can end it."""

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        """Hear that a phase begins."""

    def step_complete(self, phase_name: str, step: int) -> bool:
        """Hear that a step is done; return whether to go on."""
        return True

    def phase_finish(self, phase_name: str) -> None:
        """Hear that a phase has ended."""


class DataType(IntEnum):
    """Element types; written as the library's bindings write them."""

    def __str__(self) -> str:
        return f"DataType.{self.name}"

    FLOAT = 0
    HALF = 1
    INT32 = 3


class TensorIOMode(IntEnum):
    """What an engine's tensor is."""

    NONE = 0
    INPUT = 1
    OUTPUT = 2


class ReduceOperation(IntEnum):
    """Reductions."""

    MAX = 2


class TopKOperation(IntEnum):
    """Which end is kept."""

    MAX = 0


class BuilderFlag(IntEnum):
    """What a builder may do."""

    SPARSE_WEIGHTS = 7
    REQUIRE_USER_ALLOCATION = 28  # TensorRT-RTX's


class NetworkDefinitionCreationFlag(IntEnum):
    """How networks are made."""

    STRONGLY_TYPED = 1


class MemoryPoolType(IntEnum):
    """What memory a build may take."""

    WORKSPACE = 0


class ExecutionContextAllocationStrategy(IntEnum):
    """Who allocates a context's memory."""

    STATIC = 0
    ON_PROFILE_CHANGE = 1
    USER_MANAGED = 2


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


class Profile:
    """Smallest, best and largest shape of the input."""

    def __init__(self) -> None:
        self.shapes: tuple[tuple[int, ...], ...] = ()

    def set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
        """Set the three shapes."""
        self.shapes = shapes


class TimingCache:
    """What was measured in earlier builds: here, how many there were; other content is another GPU's."""

    def __init__(self, content: bytes) -> None:
        self.content = content + b"+"

    def serialize(self) -> bytes:
        """Return it for a file."""
        return self.content


class BuilderConfig:
    """How an engine is built."""

    def __init__(self, flags: set[BuilderFlag]) -> None:
        self._flags = flags
        self.profiles: list[Profile] = []
        self.progress_monitor: IProgressMonitor | None = None
        self.profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY
        self.num_compute_capabilities = 0  # TensorRT-RTX's
        self.profile_stream = 0  # on which kernels are timed: the default one
        self.limits: dict[MemoryPoolType, int] = {}

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        """Take at most so much."""
        self.limits[pool] = pool_size

    def add_optimization_profile(self, profile: Profile) -> int:
        """Add a profile; return its number."""
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def set_compute_capability(self, capability: IntEnum, index: int) -> bool:
        """Build for a kind of GPU; TensorRT-RTX's."""
        return index < self.num_compute_capabilities

    def set_flag(self, flag: BuilderFlag) -> None:
        """Take a flag."""
        self._flags.add(flag)

    def create_timing_cache(self, content: bytes) -> TimingCache:
        """Return a cache with `content`."""
        return TimingCache(content)

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        """Use a cache, if it is this GPU's."""
        return ignore_mismatch or not cache.content.strip(b"+")


@dataclass(frozen=True, slots=True)
class BuildTakes:
    """What a build takes of its GPU: most bytes of workspace, None: all; and the priority of what it times."""

    workspace_bytes: int | None
    priority: int | None


class Builder:
    """Makes plans."""

    def __init__(self, logger: ILogger) -> None:
        library = LIBRARIES[-1]
        if library.refuses("Builder"):
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._library = library
        self._logger = logger

    def create_network(self, flags: int) -> Network:
        """Return an empty network."""
        return Network(self._library)

    def create_builder_config(self) -> BuilderConfig:
        """Return an empty configuration."""
        self._library.flags = set()
        return BuilderConfig(self._library.flags)

    def create_optimization_profile(self) -> Profile:
        """Return an empty profile."""
        return Profile()

    def build_serialized_network(self, network: Network, config: BuilderConfig) -> bytes | None:
        """Return the plan, or None."""
        self._library.builds += 1
        self._library.built_on.append(current_gpu())
        self._library.taken = BuildTakes(
            config.limits.get(MemoryPoolType.WORKSPACE), priority_of(config.profile_stream)
        )
        if self._library.refuses("build_serialized_network"):
            self._logger.log(Severity.ERROR, "the build is refused")
            return None
        if not _steps(config.progress_monitor, self._library.endless):
            return None
        head = {
            "version": self._library.module.__version__,
            "profiles": [profile.shapes for profile in config.profiles],
            "input": network.inputs[0].name,
            "input_type": network.inputs[0].dtype.name,
            "output": network.outputs[0].name,
            "details": self._library.has_details and config.profiling_verbosity is ProfilingVerbosity.DETAILED,
        }
        return MAGIC + json.dumps(head).encode() + b"\n" + network.serialized(network.outputs)


def current_gpu() -> int:
    """Return the GPU that is current in the calling thread; without one the library takes the first."""
    code, number = driver.cuCtxGetDevice()
    return int(number) if code == driver.CUresult.CUDA_SUCCESS else 0


def priority_of(stream: int) -> int | None:
    """Return the priority of a live stream, None: it is the default one, where FFmpeg's decoders work."""
    if not stream:
        return None
    code, priority = driver.cuStreamGetPriority(stream)
    assert code == driver.CUresult.CUDA_SUCCESS, "the stream is closed"
    return int(priority)


def _steps(monitor: IProgressMonitor | None, endless: bool) -> bool:
    """Report a build's steps; return whether it goes on."""
    if monitor is None:
        return True
    monitor.phase_start("building", None, 2)
    while endless and monitor.step_complete("building", 0):
        time.sleep(0.01)
    goes_on = all(monitor.step_complete("building", step) for step in range(2))
    monitor.phase_finish("building")
    return goes_on


class RuntimeConfig:
    """How contexts are made."""

    def __init__(self) -> None:
        self.strategy = ExecutionContextAllocationStrategy.STATIC

    def set_execution_context_allocation_strategy(self, strategy: ExecutionContextAllocationStrategy) -> None:
        """Say who allocates."""
        self.strategy = strategy


class RuntimeCache:
    """Kernels that were compiled, by batch; only a cache of the same GPU is taken."""

    def __init__(self) -> None:
        self.kernels: set[int] = set()

    def deserialize(self, blob: bytes) -> bool:
        """Take a cache that was written before; whether it fits."""
        assert driver.cuCtxGetDevice()[0] == driver.CUresult.CUDA_SUCCESS, "no context is current"
        try:
            found = json.loads(blob)
        except ValueError:
            return False
        if found["gpu"] != current_gpu():
            return False
        self.kernels = set(found["kernels"])
        return True

    def serialize(self) -> bytes:
        """Return it for a file."""
        return json.dumps({"gpu": current_gpu(), "kernels": sorted(self.kernels)}).encode()


class CompilingConfig(RuntimeConfig):
    """TensorRT-RTX's: contexts compile, and share what a cache holds."""

    def __init__(self) -> None:
        super().__init__()
        self.dynamic_shapes_kernel_specialization_strategy = "LAZY"
        self.cache = RuntimeCache()  # of its own, unless it is given one

    def create_runtime_cache(self) -> RuntimeCache:
        """Return an empty cache."""
        return RuntimeCache()

    def set_runtime_cache(self, cache: RuntimeCache) -> bool:
        """Share `cache` with the contexts that are made with this."""
        self.cache = cache
        return True


class DynamicShapesKernelSpecializationStrategy(IntEnum):
    """When kernels are compiled; TensorRT-RTX's."""

    LAZY = 0
    EAGER = 1


class Runtime:
    """Loads plans."""

    def __init__(self, logger: ILogger) -> None:
        library = LIBRARIES[-1]
        if library.refuses("Runtime"):
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._library = library
        self._logger = logger

    def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
        """Return the engine, or None where the plan is another version's or none at all."""
        if self._library.refuses("deserialize_cuda_engine") or not plan.startswith(MAGIC):
            self._logger.log(Severity.ERROR, "not a plan")
            return None
        head, _, content = plan.removeprefix(MAGIC).partition(b"\n")
        facts = json.loads(head)
        if facts["version"] != self._library.module.__version__:
            self._logger.log(Severity.ERROR, "a plan of another version")
            return None
        return Engine(self._library, self._logger, facts, content)


class Engine:
    """A loaded plan."""

    def __init__(self, library: FakeTensorRT, logger: ILogger, facts: dict[str, Any], content: bytes) -> None:
        self.library = library
        self.logger = logger
        self.input, self.output = str(facts["input"]), str(facts["output"])
        self.profiles = [[tuple(shape) for shape in shapes] for shapes in facts["profiles"]]
        self.content = content
        self.input_type = DataType[facts["input_type"]]
        self.has_details = bool(facts["details"])
        self.num_io_tensors = 2

    @property
    def device_memory_size_v2(self) -> int:
        """Return what the largest shape needs."""
        return max(self.memory_for(shapes[2]) for shapes in self.profiles)

    def memory_for(self, shape: tuple[int, ...]) -> int:
        """Return the workspace of a run."""
        return shape[0] * int(np.prod(self.output_shape(shape[2:]))) * 4

    def get_tensor_name(self, index: int) -> str:
        """Return a tensor's name."""
        return (self.input, self.output)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        """Return whether it is an input."""
        return TensorIOMode.INPUT if name == self.input else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        """Return its element type."""
        return self.input_type if name == self.input else DataType.FLOAT

    @property
    def input_dtype(self) -> type[np.floating]:
        """Return the input's element type as numpy has it."""
        return np.float16 if self.input_type is DataType.HALF else np.float32

    def create_runtime_config(self) -> RuntimeConfig | None:
        """Return an empty configuration."""
        return None if self.library.refuses("create_runtime_config") else self.library.config_type()

    def create_execution_context(self, config: RuntimeConfig) -> Context | None:
        """Return a context."""
        if self.library.refuses("create_execution_context"):
            return None
        assert config.strategy is ExecutionContextAllocationStrategy.USER_MANAGED, "the workspace is to be shared"
        return self.library.context_type(self, config)

    def create_engine_inspector(self) -> EngineInspector | None:
        """Return what says of the layers what they compute in."""
        if self.library.refuses("create_engine_inspector"):
            return None
        return EngineInspector(self.content, self.library.unfused, has_details=self.has_details)

    def compiled(self, shape_hw: tuple[int, int]) -> ov.CompiledModel:
        """Return the network for one frame of this size."""
        return compiled(self.content, self.input, shape_hw)

    def output_shape(self, shape_hw: tuple[int, ...]) -> tuple[int, ...]:
        """Return the output's shape for one frame."""
        height, width = shape_hw
        return tuple(self.compiled((height, width)).output(0).get_shape())[1:]


@lru_cache(maxsize=32)
def compiled(content: bytes, name: str, shape_hw: tuple[int, int]) -> ov.CompiledModel:
    """Return a network whose input is `name` for one frame of this size; hundreds of engines are of the same few."""
    core = ov.Core()
    network = core.read_model(content, b"")
    network.reshape({name: ov.PartialShape([1, 3, *shape_hw])})
    return core.compile_model(network, "CPU", {"NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"})


@dataclass(frozen=True, slots=True)
class Job:
    """One run that was queued: where it reads, works and writes."""

    engine: Engine
    shape: tuple[int, ...]
    input: int
    workspace: int
    output: int

    def infer(self) -> None:
        """Read the input and leave the results in the workspace."""
        batch, _, height, width = self.shape
        rows = _memory(self.input, self.shape, self.engine.input_dtype)
        results = _memory(self.workspace, (batch, *self.engine.output_shape((height, width))))
        request = self.engine.compiled((height, width)).create_infer_request()
        known: dict[bytes, NDArray[np.float32]] = {}  # much of a large batch is often the same
        for row, result in zip(rows, results, strict=True):
            content = row.tobytes()
            if content[: len(NEVER_WRITTEN)] == NEVER_WRITTEN:
                result[:] = np.nan
                continue
            if content not in known:
                request.infer([row[None]])
                known[content] = request.get_output_tensor(0).data[0].copy()
            result[:] = known[content]
        wrong_from = self.engine.library.wrong_from
        if wrong_from is not None and batch >= wrong_from:
            results *= 0.6

    def finish(self) -> None:
        """Bring the results from the workspace to the output."""
        shape = (self.shape[0], *self.engine.output_shape(self.shape[2:]))
        _memory(self.output, shape)[:] = _memory(self.workspace, shape)


class Context:
    """An execution context with the rules of the library."""

    def __init__(self, engine: Engine, config: RuntimeConfig) -> None:
        self._engine = engine
        self._config = config
        self._driver = engine.library.driver
        self._profile: int | None = None
        self._shape: tuple[int, ...] | None = None
        self._addresses: dict[str, int] = {}
        self._workspace: tuple[int, int] | None = None
        self._warm = False

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        """Choose a profile."""
        if not 0 <= profile_index < len(self._engine.profiles):
            return self._refused(f"no profile {profile_index}")
        self._profile = profile_index
        return not self._engine.library.refuses("set_optimization_profile_async")

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        """Choose a shape within the profile."""
        if self._profile is None or name != self._engine.input:
            return self._refused(f"no profile for {name}")
        low, _, high = self._engine.profiles[self._profile]
        if not all(least <= size <= most for least, size, most in zip(low, shape, high, strict=True)):
            return self._refused(f"{shape} lies outside {low} .. {high}")
        self._shape, self._warm = tuple(shape), False
        if isinstance(self._config, CompilingConfig) and shape[0] not in self._config.cache.kernels:
            self._engine.library.compiled += 1
            self._config.cache.kernels.add(shape[0])
        return not self._engine.library.refuses("set_input_shape")

    def infer_shapes(self) -> list[str]:
        """Return what is not known yet."""
        return [] if self._shape else [self._engine.input]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        """Return a shape, after the input's was chosen."""
        assert self._shape is not None
        if name == self._engine.input:
            return self._shape
        return (self._shape[0], *self._engine.output_shape(self._shape[2:]))

    def set_device_memory(self, memory: int, size: int) -> None:
        """Take the workspace."""
        assert memory % 256 == 0, "device memory is to be aligned"
        assert size >= self._engine.device_memory_size_v2, "device memory is too small"
        self._workspace = (memory, size)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        """Say where the input or the output lies."""
        if name not in (self._engine.input, self._engine.output):
            return self._refused(f"no tensor {name}")
        self._addresses[name] = memory
        return not self._engine.library.refuses("set_tensor_address")

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Queue a run."""
        library = self._engine.library
        if library.refuses("execute_async_v3"):
            return self._refused("the run is refused")
        if stream_handle == 0 or self._shape is None or self._workspace is None or len(self._addresses) != 2:
            return self._refused("no stream, shape, memory or addresses")
        if self._driver.is_capturing(stream_handle) and not self._warm:
            return self._refused("a run is recorded before the first one")
        job = Job(
            self._engine,
            self._shape,
            self._addresses[self._engine.input],
            self._workspace[0],
            self._addresses[self._engine.output],
        )
        output_bytes = self._engine.memory_for(self._shape)
        input_bytes = int(np.prod(self._shape)) * np.dtype(self._engine.input_dtype).itemsize
        if not (self._driver.is_live(job.input, input_bytes) and self._driver.is_live(job.output, output_bytes)):
            return self._refused("an address outside live memory")
        self._warm = True
        library.enqueue(stream_handle, job)
        return True

    def _refused(self, reason: str) -> bool:
        self._engine.logger.log(Severity.ERROR, reason)
        return False


class RecordableContext(Context):
    """A context of TensorRT-RTX, which says whether its work can be recorded."""

    def is_stream_capturable(self, stream: int) -> bool:
        """Return what the test wants."""
        return self._engine.library.recordable


@dataclass(eq=False)
class FakeTensorRT:
    """One library: its module, what it refuses, and what it was asked for."""

    driver: FakeDriver
    version: str = "10.16.1.11"
    name: str = "tensorrt"
    context_type: type[Context] = Context
    config_type: type[RuntimeConfig] = RuntimeConfig
    compiled: int = 0  # kernels, where contexts compile them
    recordable: bool = True
    refusals: set[str] = field(default_factory=set)
    builds: int = 0
    built_on: list[int] = field(default_factory=list)  # the GPU of each build
    taken: BuildTakes | None = None  # of the GPU by the latest build
    endless: bool = False  # builds go on until they are stopped
    has_details: bool = True  # False: it builds as for a program that asked for none
    unfused: set[str] = field(default_factory=set)  # convolutions that it computes in float for all pairs
    wrong_from: int | None = None  # batches of this size and larger come out wrong
    flags: set[BuilderFlag] = field(default_factory=set)  # of the latest build
    module: ModuleType = field(init=False)

    def __post_init__(self) -> None:
        """Make the module, and what the driver calls."""
        self.module = ModuleType(self.name)
        self.module.__dict__.update({name: value for name, value in globals().items() if name in PUBLIC})
        self.module.__dict__["__version__"] = self.version
        self._go = threading.Event()
        self._go.set()
        self._jobs: dict[int, Job] = {}
        self._numbers = itertools.count()
        self._infer = self.driver.host_function(lambda number: self._run(number, Job.infer))
        self._finish = self.driver.host_function(lambda number: self._run(number, Job.finish))
        LIBRARIES.append(self)

    def refuses(self, call: str) -> bool:
        """Return whether a call is to be refused."""
        return call in self.refusals

    def enqueue(self, stream: int, job: Job) -> None:
        """Queue a run; graphs may run it many times."""
        number = next(self._numbers)
        self._jobs[number] = job
        self._infer(stream, number)
        self._finish(stream, number)

    def hold(self) -> threading.Event:
        """Let runs wait until the returned event is set."""
        self._go = threading.Event()
        return self._go

    def _run(self, number: int, part: Callable[[Job], None]) -> int:
        self._go.wait()
        if self.refuses("the GPU"):
            return LAUNCH_FAILED
        part(self._jobs[number])
        return 0


#: The product's names for what a module of the library holds.
PUBLIC = frozenset(
    {
        "Builder",
        "BuilderFlag",
        "DataType",
        "DynamicShapesKernelSpecializationStrategy",
        "ExecutionContextAllocationStrategy",
        "ILogger",
        "LayerInformationFormat",
        "MemoryPoolType",
        "IProgressMonitor",
        "NetworkDefinitionCreationFlag",
        "OnnxParser",
        "ProfilingVerbosity",
        "ReduceOperation",
        "Runtime",
        "TensorIOMode",
        "TopKOperation",
    }
)

#: The last is the one that new builders and runtimes belong to.
LIBRARIES: list[FakeTensorRT] = []


def _memory(address: int, shape: Sequence[int], dtype: type[np.floating] = np.float32) -> NDArray[Any]:
    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address)).view(dtype).reshape(shape)
