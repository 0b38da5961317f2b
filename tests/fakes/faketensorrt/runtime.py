# SPDX-License-Identifier: AGPL-3.0-or-later
"""The runtime: loads plans, and what contexts are made with."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov
from cuda.bindings import driver
from tests.fakes.faketensorrt.inspector import EngineInspector
from tests.fakes.faketensorrt.latest import LIBRARIES, MAGIC, current_gpu
from tests.fakes.faketensorrt.words import (
    DataType,
    ExecutionContextAllocationStrategy,
    ILogger,
    Severity,
    TensorIOMode,
)

from vision_line.devices.proof.processor import this_processor

if TYPE_CHECKING:
    from tests.fakes.faketensorrt.context import Context
    from tests.fakes.faketensorrt.library import FakeTensorRT


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

    def get_device_memory_size_for_profile_v2(self, profile_index: int) -> int:
        """Return what the largest shape of a profile needs."""
        return self.memory_for(self.profiles[profile_index][2])

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
    """Return a network whose input is `name` for one frame of this size; hundreds of engines are of the same few.

    A GPU computes INT8 rightly. Where this processor does not, the network is executed in float, as it is written.
    """
    core = ov.Core()
    network = core.read_model(content, b"")
    network.reshape({name: ov.PartialShape([1, 3, *shape_hw])})
    execution = {} if this_processor().has_dot_products else {"LP_TRANSFORMS_MODE": "NO"}
    return core.compile_model(network, "CPU", {"NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32", **execution})
