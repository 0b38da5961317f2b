# SPDX-License-Identifier: AGPL-3.0-or-later
"""The NVIDIA backend: surfaces are letterboxed by one kernel, inferred in batches, and only results cross the bus."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from vision_line.devices.cuda.context import GpuContext, open_gpu, translated_errors
from vision_line.devices.cuda.monitor import open_monitor
from vision_line.devices.cuda.pipeline import SlotPipeline
from vision_line.devices.cuda.slots import MAX_BATCH, Slot
from vision_line.devices.device import InferenceDevice
from vision_line.devices.model.model import Model
from vision_line.devices.preprocessing.letterbox import Letterbox
from vision_line.devices.result_reader import HeadReader, Outputs
from vision_line.devices.stall import STALL_S
from vision_line.devices.tensorrt.build import check_task
from vision_line.errors import DeviceError, RunError
from vision_line.frames import Frame, Scores
from vision_line.ports import GPU_SLOTS, DeviceDescription, DeviceLoad, ShapeHW

if TYPE_CHECKING:
    from vision_line.devices.cuda.context import GpuContext


class CudaBackend:
    """Implements `Backend` on one NVIDIA GPU; frames are `Surface`s, which its decoders make.

    A batch goes through the slot's own stream (parameters, letterbox kernel, results), and in between through the one
    stream on which all engines run. A completion thread waits for the GPU. All memory is allocated when a shape or
    larger batches are opened.
    """

    kind = "cuda"
    engine = "the GPU"

    def __init__(
        self,
        gpu: GpuContext,
        model: Model,
        wake: Callable[[], None],
        *,
        slots: int = GPU_SLOTS,
        cache: Path | None = None,
        stop: threading.Event | None = None,
        on_status: Callable[[str], None] | None = None,
        max_batch: int | None = None,
    ) -> None:
        """Prepare to run `model` on `gpu`, which is current; the arguments are those of `open_cuda`.

        Raises:
            DeviceError: a library is missing or does not go with the GPU, or too little memory.
        """
        self._gpu = gpu
        with translated_errors(DeviceError, "the device cannot be opened"), ExitStack() as undo:
            self._pipeline = SlotPipeline(
                gpu, model, slots, cache, stop, on_status, max_batch=MAX_BATCH if max_batch is None else max_batch
            )
            undo.callback(self._pipeline.close)
            self._monitor = open_monitor(gpu)
            undo.pop_all()
        self._completion = Completion(gpu, wake)

    @property
    def description(self) -> DeviceDescription:
        """What it is, with the shapes that are open."""
        return DeviceDescription(
            name=self._gpu.label,
            detail=self._pipeline.detail,
            precision=self._pipeline.precision,
            input_shapes_hw=self._pipeline.shapes,
            slots=len(self._pipeline.slots),
            max_batch=self._pipeline.max_batch,
            variant=f"{self._pipeline.precision} engine",
            variant_reason=self._pipeline.reason,
        )

    def open_shapes(self, shapes: Sequence[ShapeHW]) -> None:
        """Open more input shapes while the others go on; a missing engine is built, which may take minutes."""
        what = f"the input shape {shapes[0]}" if self._pipeline.shapes else "the device"
        self._gpu.enter()
        with translated_errors(DeviceError, f"{what} cannot be opened"):
            self._pipeline.open_shapes(shapes)

    def open_batches(self, frames: int) -> None:
        """Make room for larger batches while the others go on, and prove the engines at them."""
        self._gpu.enter()
        with translated_errors(DeviceError, f"batches of {frames} cannot be opened"):
            self._pipeline.open_batches(frames)

    def convert(self, slot: int, frames: Sequence[Frame], shape_hw: ShapeHW) -> Sequence[Letterbox]:
        """Describe the surfaces to the kernel, which converts them when the slot is started."""
        self._gpu.enter()
        return self._pipeline.describe(self._pipeline.slots[slot], frames, shape_hw)

    def start(self, slot: int) -> None:
        """Queue the conversion and inference of what was described in the slot."""
        started = self._pipeline.slots[slot]
        with translated_errors(RunError, "a batch cannot be started"):
            self._pipeline.start(started)
        self._completion.watch(started)

    def finished(self) -> Iterator[tuple[int, Outputs]]:
        """Give the slots that the GPU is done with, and their outputs in pinned memory."""
        finished = self._completion.finished
        while finished:
            slot = finished.popleft()
            if slot.fault:
                raise RunError(slot.fault)
            yield slot.number, slot.results()

    def sample(self) -> tuple[DeviceLoad, ...]:
        """Return how busy the GPU is, as NVML reports it."""
        return self._monitor.sample()

    def prove_again(self) -> str:
        """Prove each engine at each size of a batch once more, beside the batches that are under way."""
        self._gpu.enter()
        with translated_errors(DeviceError, "the engines cannot be proven now"):
            return self._pipeline.prove_again()

    def close(self, in_flight: Collection[int]) -> None:
        """Wait for the GPU and release everything."""
        self._monitor.close()
        if not self._completion.close(STALL_S):
            raise RunError(f"cuda: the GPU has not answered for {STALL_S:.0f} s")
        self._gpu.enter()
        self._completion.finished.clear()
        for slot in in_flight:
            if fault := self._pipeline.slots[slot].fault:
                raise RunError(fault)
        with translated_errors(RunError, "the device cannot be closed"):
            self._pipeline.close()


def open_cuda(
    model: Model,
    shapes: Sequence[ShapeHW],
    wake: Callable[[], None],
    *,
    score_floor: float | Scores | None = None,
    index: int = 0,
    slots: int = GPU_SLOTS,
    cache: Path | None = None,
    stop: threading.Event | None = None,
    on_status: Callable[[str], None] | None = None,
    max_batch: int | None = None,
) -> InferenceDevice:
    """Open GPU `index` and make engines for `shapes`: at the first use of a model that takes minutes.

    `score_floor` is the lowest score handed back, for all classes or one for each (classes,); None: the model's.
    `slots` is the number of batches in flight. `cache` is the folder for built engines; None: the user's. `stop`,
    set by another thread, ends the building of an engine; `on_status` gets its steps, see `engine_sources`.
    `max_batch` is the most frames that a batch is to have, until the device is asked for more; None: as many as engines
    take.

    Raises:
        DeviceError: no driver, GPU or library, an engine that cannot be built or run or fails its proof, or too
            little memory.
        ModelError: TensorRT cannot read the model, or its task is none that GPUs are used for.
    """
    check_task(model)
    reader = HeadReader(model, score_floor)
    backend = CudaBackend(
        open_gpu(index), model, wake, slots=slots, cache=cache, stop=stop, on_status=on_status, max_batch=max_batch
    )
    return InferenceDevice(backend, reader, shapes)


class Completion:
    """Waits for started slots in the order they were started in, and puts each into `finished` when it is done.

    A slot whose work failed comes with its `fault` set. `wake` is called after each, in this thread.
    """

    def __init__(self, gpu: GpuContext, wake: Callable[[], None]) -> None:
        self.finished: deque[Slot] = deque()  # append and popleft are atomic
        self._gpu = gpu
        self._wake = wake
        self._started: SimpleQueue[Slot | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="cuda-results", daemon=True)
        self._thread.start()

    def watch(self, slot: Slot) -> None:
        """Wait for `slot`, whose `done` has been queued."""
        self._started.put(slot)

    def close(self, timeout_s: float) -> bool:
        """Wait for what was started and end the thread; return whether it ended in time. May be called twice."""
        self._started.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        self._gpu.enter()
        while (slot := self._started.get()) is not None:
            try:
                with translated_errors(RunError, "the GPU failed"):
                    slot.done.sync()
            except RunError as exc:
                slot.fault = str(exc)
            self.finished.append(slot)
            del slot  # else the thread would keep the last batch alive while it waits
            self._wake()
