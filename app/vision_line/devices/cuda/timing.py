# SPDX-License-Identifier: AGPL-3.0-or-later
"""How long the GPU takes for an engine and for the letterbox kernel, by its own clock; and what an engine computes in.

Runs are queued one behind the other, with an event between any two, so that the time from event to event is the
GPU's own: the host's queueing is in it only where that takes longer than the run. Nothing else should use the GPU.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from vision_line.devices.cuda.context import translated_errors
from vision_line.devices.cuda.kernel import FRAME_PARAMS, LetterboxKernel, frame_records
from vision_line.devices.cuda.memory import allocate, host_view, open_stream, pinned
from vision_line.devices.cuda.tensorrt_engine import BUCKETS, Addresses, Engine, TensorPlace
from vision_line.devices.preprocessing.letterbox import Letterbox
from vision_line.devices.tensorrt.engine_layers import EngineLayer
from vision_line.errors import DeviceError
from vision_line.frames import Colour
from vision_line.ports import ShapeHW

if TYPE_CHECKING:
    from cuda.core import Buffer, Stream

    from vision_line.devices.cuda.context import GpuContext
    from vision_line.devices.cuda.surface import Surface

#: Measured runs of each bucket.
REPEATS = 50

_WARM_UP = 5  # runs before those: the GPU's clock rises with the load


def time_engine(
    gpu: GpuContext,
    trt: ModuleType,
    plan: Path,
    shape_hw: ShapeHW,
    *,
    buckets: Sequence[int] = BUCKETS,
    repeats: int = REPEATS,
) -> dict[int, float]:
    """Load `plan` by itself and return the median milliseconds that a batch takes, for each bucket.

    That is one replay of the bucket's CUDA graph, just as a device runs it, from the input in the GPU's memory to the
    output in the GPU's memory. Not in it: decoding, the letterbox kernel, the copy of the results to the host, and
    anything the host does. The input is noise. The memory of one slot and the workspace are allocated and freed again.
    The GPU is current in the calling thread.

    Args:
        gpu: where it runs.
        trt: the library's module, see `open_library`.
        plan: the engine's file, see `find_engine`.
        shape_hw: the input shape that it was built for.
        buckets: which of `BUCKETS` are measured.
        repeats: the measured runs of each, at least 1.

    Raises:
        DeviceError: the engine cannot be loaded or run, or too little memory.
    """
    with translated_errors(DeviceError, f"{plan} cannot be timed"), ExitStack() as undo:
        stream, recorder = (open_stream(gpu, undo) for _ in range(2))
        engine = Engine(trt, plan.read_bytes(), shape_hw, str(plan), stream)
        undo.callback(engine.close)
        workspace, images, outputs = (
            allocate(gpu, nbytes, stream, undo)
            for nbytes in (
                engine.workspace_bytes(BUCKETS[-1]),
                engine.input.nbytes * BUCKETS[-1],
                engine.output.nbytes * BUCKETS[-1],
            )
        )
        stream.sync()  # allocated before another stream uses them
        engine.prepare(gpu, workspace, [Addresses(int(images.handle), int(outputs.handle))], stream, recorder)
        _fill_with_noise(images, engine.input, stream)
        return {bucket: _median_ms(stream, partial(engine.start, 0, bucket), repeats) for bucket in buckets}


def inspect_engine(gpu: GpuContext, trt: ModuleType, plan: Path, shape_hw: ShapeHW) -> tuple[EngineLayer, ...]:
    """Load `plan` by itself and return what it computes in, layer by layer, for the largest batch.

    Raises:
        DeviceError: the engine cannot be loaded, or the library does not say.
    """
    with translated_errors(DeviceError, f"{plan} cannot be inspected"), ExitStack() as undo:
        engine = Engine(trt, plan.read_bytes(), shape_hw, str(plan), open_stream(gpu, undo))
        undo.callback(engine.close)
        return engine.layers()


def time_kernel(
    gpu: GpuContext,
    kernel: LetterboxKernel,
    frames: Sequence[tuple[Surface, Colour]],
    shape_hw: ShapeHW,
    *,
    buckets: Sequence[int] = BUCKETS,
    repeats: int = REPEATS,
) -> dict[int, float]:
    """Return the median milliseconds of the kernel's one launch for a batch, for each bucket.

    From frames and parameters in the GPU's memory to the network's input there; neither the copy of the parameters
    nor anything the host does is in it. Frames are used in turn: a bucket's worth of them at least, or the GPU's
    cache answers for its memory. The GPU is current in the calling thread, which is the kernel's.

    Raises:
        DeviceError: a frame is too large, or too little memory.
        RunError: the GPU does not take the launches.
    """
    params_bytes = FRAME_PARAMS.itemsize * BUCKETS[-1]
    output_bytes = int(np.prod(shape_hw)) * 3 * np.dtype(np.float32).itemsize * BUCKETS[-1]  # of both kernels
    with translated_errors(DeviceError, "the kernel cannot be timed"), ExitStack() as undo:
        host = pinned(params_bytes)
        undo.callback(host.close)
        stream = open_stream(gpu, undo)
        params, output = (allocate(gpu, nbytes, stream, undo) for nbytes in (params_bytes, output_bytes))
        _describe(kernel, frames, shape_hw, host)
        for surface, _ in frames:
            if surface.ready is not None:
                stream.wait(surface.ready)
        host.copy_to(params, stream=stream)

        def launch(count: int, stream: Stream) -> None:
            kernel.launch(stream, params, count, shape_hw, int(output.handle))

        return {bucket: _median_ms(stream, partial(launch, bucket), repeats) for bucket in buckets}


def _describe(
    kernel: LetterboxKernel, frames: Sequence[tuple[Surface, Colour]], shape_hw: ShapeHW, host: Buffer
) -> None:
    """Fill the records in `host` with `frames` in turn."""
    records = frame_records(host_view(host))
    for record, (surface, colour) in zip(records, itertools.cycle(frames), strict=False):
        kernel.describe(surface, colour, Letterbox(surface.size_wh, shape_hw), record)


def _median_ms(stream: Stream, start: Callable[[Stream], None], repeats: int) -> float:
    """Return the median time of what `start` queues on `stream`; waits for all of it."""
    from cuda.core import EventOptions

    options = EventOptions(timing_enabled=True, blocking_sync=True)
    for _ in range(_WARM_UP):
        start(stream)
    events = [stream.record(options=options)]
    for _ in range(repeats):
        start(stream)
        events.append(stream.record(options=options))
    events[-1].sync()
    median_ms: float = statistics.median(after - before for before, after in itertools.pairwise(events))
    return median_ms


def _fill_with_noise(images: Buffer, place: TensorPlace, stream: Stream) -> None:
    """Fill the batch with one noise frame many times over: zeros would need less power than frames do."""
    from cuda.core import Buffer

    noise = np.random.default_rng(0).random(place.shape, np.float32).astype(place.dtype)
    source = Buffer.from_handle(noise.ctypes.data, noise.nbytes, owner=noise)
    for number in range(BUCKETS[-1]):
        row = Buffer.from_handle(int(images.handle) + number * place.nbytes, place.nbytes)
        source.copy_to(row, stream=stream)
    stream.sync()  # the noise is ours no longer than this call
