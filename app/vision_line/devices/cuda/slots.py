# SPDX-License-Identifier: AGPL-3.0-or-later
"""A batch slot: the memory, stream and events that one batch uses from its frames to its results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vision_line.devices.cuda.kernel import FRAME_PARAMS, FRAME_WORDS, LetterboxKernel, frame_records
from vision_line.devices.cuda.memory import Reserve, host_view, part_of, pinned
from vision_line.devices.cuda.tensorrt_engine import BUCKETS, Addresses, Engine, bucket_for
from vision_line.devices.result_reader import Outputs
from vision_line.ports import ShapeHW

if TYPE_CHECKING:
    from cuda.core import Buffer, Event, Stream

    from vision_line.devices.cuda.context import GpuContext

#: The largest batch that any engine takes.
MAX_BATCH = BUCKETS[-1]


@dataclass(frozen=True, slots=True)
class Batch:
    """What a slot works on: frames of one shape."""

    size: int
    shape_hw: ShapeHW

    @property
    def kind(self) -> tuple[ShapeHW, int]:
        """Return its input shape, and the bucket that it runs at."""
        return self.shape_hw, bucket_for(self.size)


@dataclass(frozen=True, slots=True, eq=False)
class _Memory:
    """A slot's memory for some buckets of one input shape; smaller shapes share that of a larger one."""

    input: Buffer
    output: Buffer
    results: Buffer  # pinned
    output_bytes: int  # of one frame
    results_view: Outputs  # (largest bucket, *output shape)


class Slot:
    """One of the device's batch slots. `place` is for the opening thread, the rest for the inspecting one.

    Everything between two batches of a slot is ordered by `done`, which is waited for before the slot is used again.
    """

    def __init__(self, number: int, gpu: GpuContext) -> None:
        from cuda.core import EventOptions

        device = gpu.device
        self.number = number
        self.batch = Batch(0, (0, 0))
        self.ready: tuple[Event, ...] = ()  # after these the batch's surfaces can be read
        self.fault = ""  # why the batch failed; set by the completion thread
        self.stream: Stream = gpu.open_stream()
        self._filled = device.create_event()
        self._inferred = device.create_event()
        self.done = device.create_event(options=EventOptions(blocking_sync=True))
        self._input = Reserve(lambda nbytes: device.allocate(nbytes, stream=self.stream))
        self._output = Reserve(lambda nbytes: device.allocate(nbytes, stream=self.stream))
        self._results = Reserve(pinned)
        self._host_params = pinned(FRAME_PARAMS.itemsize * MAX_BATCH)
        self._device_params = device.allocate(self._host_params.size, stream=self.stream)
        self.params: NDArray[np.uint64] = frame_records(host_view(self._host_params))  # (MAX_BATCH, FRAME_WORDS)
        self._memory: dict[tuple[ShapeHW, int], _Memory] = {}  # by `Batch.kind`

    def place(self, shape_hw: ShapeHW, engine: Engine, buckets: Sequence[int]) -> Addresses:
        """Make room for batches of `engine` in `buckets`, smallest first, and return where; all others go on meanwhile.

        Buckets that have their place keep it: graphs were recorded there.
        """
        most = buckets[-1]
        nbytes = engine.output.nbytes * most
        memory = _Memory(
            input=self._input.at_least(engine.input.nbytes * most),
            output=self._output.at_least(nbytes),
            results=self._results.at_least(nbytes),
            output_bytes=engine.output.nbytes,
            results_view=host_view(self._results.at_least(nbytes))[:nbytes]
            .view(engine.output.dtype)
            .reshape(most, *engine.output.shape),
        )
        self.stream.sync()  # the engine's stream uses what was allocated on this one
        # a new dict, because another thread is looking into the old one
        self._memory = self._memory | {(shape_hw, bucket): memory for bucket in buckets}
        return Addresses(int(memory.input.handle), int(memory.output.handle))

    def keep(self, buckets: Sequence[int]) -> None:
        """Give back what was made for other buckets than these; nothing was started in those."""
        self._memory = {kind: memory for kind, memory in self._memory.items() if kind[1] in buckets}
        kept = self._memory.values()
        self._input.keep(memory.input for memory in kept)
        self._output.keep(memory.output for memory in kept)
        self._results.keep(memory.results for memory in kept)

    def start(self, kernel: LetterboxKernel, engine: Engine, inference: Stream) -> None:
        """Queue the batch, whose `params` were filled, from its surfaces to its results on the host; `done` follows.

        `inference` is the stream that all engines share. The copies to the GPU and back, and the kernel, are queued on
        the slot's own stream, so that they overlap with another slot's inference.
        """
        batch = self.batch
        count, memory = batch.size, self._memory[batch.kind]
        for ready in self.ready:
            self.stream.wait(ready)
        used = FRAME_PARAMS.itemsize * count
        part_of(self._host_params, used).copy_to(part_of(self._device_params, used), stream=self.stream)
        kernel.launch(self.stream, self._device_params, count, batch.shape_hw, int(memory.input.handle))
        self.stream.record(self._filled)
        inference.wait(self._filled)
        engine.start(self.number, count, inference)
        inference.record(self._inferred)
        self.stream.wait(self._inferred)
        used = memory.output_bytes * count
        part_of(memory.output, used).copy_to(part_of(memory.results, used), stream=self.stream)
        self.stream.record(self.done)

    def results(self) -> Outputs:
        """Return the outputs (n, ...) of the batch that is done, and let go of the events that it waited for.

        The slot's next batch overwrites them.
        """
        self.ready = ()
        view: Outputs = self._memory[self.batch.kind].results_view[: self.batch.size]
        return view

    def close(self) -> None:
        """Free everything; the slot's work has ended. May be called twice."""
        self.ready = ()
        self._memory = {}
        self.params = np.empty((0, FRAME_WORDS), np.uint64)
        for reserve in (self._input, self._output, self._results):
            reserve.close()
        self._device_params.close()
        self._host_params.close()
        for event in (self._filled, self._inferred, self.done):
            event.close()
        self.stream.close()
