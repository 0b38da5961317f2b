# SPDX-License-Identifier: AGPL-3.0-or-later
"""Execution contexts with the library's rules, and the runs that they queue on the fake driver."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.fakes.faketensorrt.runtime import CompilingConfig, Engine, RuntimeConfig
from tests.fakes.faketensorrt.words import Severity

NEVER_WRITTEN = b"\xcd" * 64


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
        assert self._profile is not None, "what a profile needs is not known without one"
        needed = self._engine.get_device_memory_size_for_profile_v2(self._profile)
        assert size >= needed, "device memory is too small"
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


def _memory(address: int, shape: Sequence[int], dtype: type[np.floating] = np.float32) -> NDArray[Any]:
    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address)).view(dtype).reshape(shape)
