# SPDX-License-Identifier: AGPL-3.0-or-later
"""A TensorRT engine at one input shape: an execution context for each batch bucket, a CUDA graph for each slot of it.

Buckets are opened as there are cameras for them: each costs memory, and a start the time to prove and record it.

TensorRT 10, TensorRT 11 and TensorRT-RTX run by the same calls. Contexts have no memory of their own: all of them, of
all engines of a device, take turns with one workspace, so everything that runs them is queued on one stream.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from vision_line.devices.cuda.runtime_cache import RuntimeCache
from vision_line.devices.tensorrt.build import open_logger
from vision_line.devices.tensorrt.engine_layers import EngineLayer, read_layers
from vision_line.devices.tensorrt.engine_manifest import BATCH_RANGES
from vision_line.errors import DeviceError, RunError, VisionLineError
from vision_line.ports import ShapeHW

if TYPE_CHECKING:
    import tensorrt
    from cuda.core import Buffer, Stream
    from numpy.typing import NDArray

    from vision_line.devices.cuda.context import GpuContext
    from vision_line.devices.cuda.memory import Scratch

_Answer = TypeVar("_Answer")

logger = logging.getLogger(__name__)

#: Batch sizes that engines run at. A batch runs as the next larger one; what comes of the rest is not looked at.
BUCKETS = (1, 2, 4, 8, 16, 24, 32)

_DTYPES: dict[str, np.dtype[np.floating]] = {"FLOAT": np.dtype(np.float32), "HALF": np.dtype(np.float16)}


def bucket_for(count: int) -> int:
    """Return the smallest bucket that holds `count` frames, 1..32."""
    return BUCKETS[bisect_left(BUCKETS, count)]


def buckets_for(count: int) -> tuple[int, ...]:
    """Return the buckets that batches of 1 to `count` frames run at, smallest first; all where none holds `count`."""
    return BUCKETS[: bisect_left(BUCKETS, min(max(count, 1), BUCKETS[-1])) + 1]


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """An engine's input or output; `shape` and `nbytes` are those of one frame."""

    name: str
    dtype: np.dtype[np.floating]
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Return the bytes of one frame."""
        return int(np.prod(self.shape)) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a slot's input and output lie on the GPU; each holds the largest of the buckets that are prepared there."""

    input: int
    output: int


class Engine:
    """One plan, loaded. Opened, prepared and proven by one thread at a time, started by another; closed when idle."""

    def __init__(
        self,
        trt: ModuleType,
        plan: bytes,
        shape_hw: ShapeHW,
        where: str,
        stream: Stream,
        runtime_cache: Path | None = None,
        buckets: Sequence[int] = BUCKETS,
    ) -> None:
        """Load `plan` and make its contexts for `shape_hw`; they cannot be started before `prepare`.

        Args:
            trt: the library's module.
            plan: the engine, as the library's builder serialized it.
            shape_hw: the input shape that it was built for.
            where: names the engine in errors.
            stream: what is set up on the GPU is queued here.
            runtime_cache: where kernels that are compiled now are kept for the next start; None: nowhere.
            buckets: which of `BUCKETS` are opened, the smallest at least.

        Raises:
            DeviceError: the library cannot load it, or its inputs and outputs are not those of a detection model.
        """
        self._trt = trt
        self._where = where
        self._logger = open_logger(trt)
        self._kernels = RuntimeCache(runtime_cache)
        self._runtime = self._open_runtime()
        self._engine = self._checked(self._runtime.deserialize_cuda_engine(plan), "cannot be loaded")
        input_name, output_name = self._names()
        self._shape_hw = shape_hw
        self._input_name = input_name
        self._contexts: dict[int, tensorrt.IExecutionContext] = {}
        self._prepared: tuple[int, ...] = ()
        self._starts: list[dict[int, Callable[[Stream], None]]] = []
        self._closers: list[tuple[int, Callable[[], None]]] = []  # of the graphs, by bucket
        self.open_buckets(buckets, stream)
        self.input = self._place(input_name)
        self.output = self._place(output_name)

    @property
    def buckets(self) -> tuple[int, ...]:
        """Return the buckets that are prepared, smallest first."""
        return self._prepared

    def open_buckets(self, buckets: Sequence[int], stream: Stream) -> None:
        """Make contexts for those of `buckets` that have none, while the others go on; set up on `stream`.

        Raises:
            DeviceError: the library gives none.
        """
        for bucket in buckets:
            if bucket not in self._contexts:
                self._contexts[bucket] = self._open_context(bucket, stream)
        stream.sync()  # the contexts run on other streams too

    def keep(self, buckets: Sequence[int]) -> None:
        """Give up all other buckets than these; nothing was started in those."""
        self._prepared = tuple(bucket for bucket in self._prepared if bucket in buckets)
        self._starts = [{bucket: start[bucket] for bucket in self._prepared} for start in self._starts]
        for bucket, close in self._closers:
            if bucket not in buckets:
                close()
        self._closers = [(bucket, close) for bucket, close in self._closers if bucket in buckets]
        self._contexts = {bucket: context for bucket, context in self._contexts.items() if bucket in buckets}

    def workspace_bytes(self, bucket: int) -> int:
        """Return the memory that a context of `bucket` or a smaller one needs while it runs.

        At least one byte, so that there is an address.
        """
        profiles = range(_profile_for(bucket) + 1)
        return max(1, *(int(self._engine.get_device_memory_size_for_profile_v2(profile)) for profile in profiles))

    def prepare(
        self, gpu: GpuContext, workspace: Buffer, slots: Sequence[Addresses], stream: Stream, recorder: Stream
    ) -> None:
        """Run each bucket that is not prepared once on `stream`, then record its graph for each of `slots`.

        `recorder` is a stream that nothing else uses. Prepared buckets and other engines may run on `stream` meanwhile:
        they may use the same `workspace`, but one after the other.

        Raises:
            DeviceError: the engine does not run; what was prepared before stays so.
        """
        new = [bucket for bucket in sorted(self._contexts) if bucket not in self._prepared]
        for bucket in new:
            self._contexts[bucket].set_device_memory(int(workspace.handle), workspace.size)
        self._warm_up(gpu, new, stream)
        self._kernels.keep()
        recorded = [{bucket: self._start(bucket, addresses, recorder) for bucket in new} for addresses in slots]
        before = self._starts or [{} for _ in slots]
        # a new list, because another thread is looking into the old one
        self._starts = [old | more for old, more in zip(before, recorded, strict=True)]
        self._prepared = (*self._prepared, *new)

    def infer(self, inputs: NDArray[np.generic], bucket: int, memory: Scratch) -> NDArray[np.floating]:
        """Return the outputs (n, ...) of `inputs` (n, 3, h, w), of the engine's own dtype, run as batches of `bucket`.

        Waits for them. A bucket that is prepared gets a context of its own for this, with the same kernels and weights:
        what may be inspecting meanwhile keeps its own.

        Raises:
            DeviceError: the engine does not run.
        """
        stream = memory.stream
        context = self._open_context(bucket, stream) if bucket in self._prepared else self._contexts[bucket]
        context.set_device_memory(int(memory.workspace.handle), memory.workspace.size)
        self._bind(context, Addresses(int(memory.input.handle), int(memory.output.handle)), DeviceError)
        outputs = []
        for start in range(0, len(inputs), bucket):
            batch = inputs[start : start + bucket]
            memory.upload(batch)
            self._execute(context, stream, DeviceError)
            outputs.append(memory.download((len(batch), *self.output.shape), self.output.dtype))
        return np.concatenate(outputs)

    def layers(self, bucket: int = BUCKETS[-1]) -> tuple[EngineLayer, ...]:
        """Return what it computes in, layer by layer, for batches of `bucket`.

        Raises:
            DeviceError: the library does not say.
        """
        return read_layers(self._trt, self._engine, self._contexts[bucket])

    def start(self, slot: int, count: int, stream: Stream) -> None:
        """Queue the inference of `count` frames in slot number `slot` on `stream`, the one that `prepare` got.

        Raises:
            RunError: the library does not start it.
        """
        self._starts[slot][bucket_for(count)](stream)

    def close(self) -> None:
        """Free everything; may be called twice."""
        self._starts, self._prepared = [], ()
        while self._closers:
            self._closers.pop()[1]()
        self._contexts.clear()
        self._kernels.close()
        self._engine = self._runtime = None

    def _open_runtime(self) -> tensorrt.Runtime:
        try:
            return self._trt.Runtime(self._logger)
        except TypeError as exc:  # what the bindings raise when the library gives no object
            raise DeviceError(f"{self._where}: {self._trt.__name__} does not start: {self._logger}") from exc

    def _names(self) -> tuple[str, str]:
        engine, mode = self._engine, self._trt.TensorIOMode
        names = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
        inputs = [name for name in names if engine.get_tensor_mode(name) == mode.INPUT]
        outputs = [name for name in names if engine.get_tensor_mode(name) == mode.OUTPUT]
        if len(inputs) != 1 or len(outputs) != 1:
            raise DeviceError(f"{self._where}: expected one input and one output, found {inputs} and {outputs}")
        return inputs[0], outputs[0]

    def _place(self, name: str) -> TensorPlace:
        kind = str(self._engine.get_tensor_dtype(name)).rpartition(".")[2]
        shape = tuple(self._contexts[1].get_tensor_shape(name))[1:]
        if kind not in _DTYPES or not shape or min(shape) < 1:
            raise DeviceError(f"{self._where}: {name}: expected numbers of fixed size, found {kind} {shape}")
        return TensorPlace(name, _DTYPES[kind], shape)

    def _open_context(self, bucket: int, stream: Stream) -> tensorrt.IExecutionContext:
        name, shape = self._input_name, (bucket, 3, *self._shape_hw)
        config = self._checked(self._engine.create_runtime_config(), "gives no configuration")
        config.set_execution_context_allocation_strategy(self._trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        if hasattr(config, "dynamic_shapes_kernel_specialization_strategy"):  # TensorRT-RTX: compile now, not later
            config.dynamic_shapes_kernel_specialization_strategy = (
                self._trt.DynamicShapesKernelSpecializationStrategy.EAGER
            )
        self._kernels.attach(config)
        context = self._checked(self._engine.create_execution_context(config), "gives no context")
        profile = _profile_for(bucket)
        self._checked(context.set_optimization_profile_async(profile, int(stream.handle)), f"has no profile {profile}")
        self._checked(context.set_input_shape(name, shape), f"refuses the input shape {shape}")
        missing = context.infer_shapes()
        if missing:
            raise DeviceError(f"{self._where}: the shapes of {missing} do not follow from the input's")
        return context

    def _warm_up(self, gpu: GpuContext, buckets: Sequence[int], stream: Stream) -> None:
        """Run `buckets` once each, as the library wants it after a change of shape and before a recording."""
        most = max(buckets, default=1)
        spare_input = gpu.device.allocate(self.input.nbytes * most, stream=stream)
        spare_output = gpu.device.allocate(self.output.nbytes * most, stream=stream)
        addresses = Addresses(int(spare_input.handle), int(spare_output.handle))
        try:
            for bucket in buckets:
                self._bind(self._contexts[bucket], addresses, DeviceError)
                self._execute(self._contexts[bucket], stream, DeviceError)
        finally:  # a context must not be given up while it runs
            spare_input.close(stream)
            spare_output.close(stream)
            stream.sync()

    def _start(self, bucket: int, addresses: Addresses, recorder: Stream) -> Callable[[Stream], None]:
        """Return what starts `bucket` in a slot: its graph, or the context where its work cannot be recorded."""
        context = self._contexts[bucket]
        self._bind(context, addresses, DeviceError)
        if hasattr(context, "is_stream_capturable") and not context.is_stream_capturable(int(recorder.handle)):
            logger.warning(
                "%s: batches of %d run without a CUDA graph: the library cannot record them", self._where, bucket
            )
            return partial(self._run_unrecorded, context, addresses)
        builder = recorder.create_graph_builder().begin_building("thread_local")
        try:
            self._execute(context, builder.stream, DeviceError)
        finally:
            builder.end_building()
        graph = builder.complete()
        builder.close()
        self._closers.append((bucket, graph.close))
        launch: Callable[[Stream], None] = graph.launch
        return launch

    def _run_unrecorded(self, context: tensorrt.IExecutionContext, addresses: Addresses, stream: Stream) -> None:
        self._bind(context, addresses, RunError)
        self._execute(context, stream, RunError)

    def _bind(self, context: tensorrt.IExecutionContext, addresses: Addresses, error: type[VisionLineError]) -> None:
        for name, address in ((self.input.name, addresses.input), (self.output.name, addresses.output)):
            if not context.set_tensor_address(name, address):
                raise error(f"{self._where}: the address of {name} is refused: {self._logger}")

    def _execute(self, context: tensorrt.IExecutionContext, stream: Stream, error: type[VisionLineError]) -> None:
        if not context.execute_async_v3(int(stream.handle)):
            raise error(f"{self._where}: the engine does not run: {self._logger}")

    def _checked(self, answer: _Answer | None, fault: str) -> _Answer:
        """Return `answer`, with which the library says None or False when it refuses."""
        if answer is None or answer is False:
            raise DeviceError(f"{self._where}: {fault}: {self._logger}")
        return answer


def _profile_for(batch: int) -> int:
    return next(number for number, (low, _, high) in enumerate(BATCH_RANGES) if low <= batch <= high)
