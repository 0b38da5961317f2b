# SPDX-License-Identifier: AGPL-3.0-or-later
"""The NVIDIA device: surfaces are letterboxed by one kernel, inferred in batches, and only results cross the bus."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vision_line.devices.camera_order import CameraOrder
from vision_line.devices.cuda.completion import Completion
from vision_line.devices.cuda.context import open_gpu, translated_errors
from vision_line.devices.cuda.decoders.choice import CudaDecoder
from vision_line.devices.cuda.monitor import open_monitor
from vision_line.devices.cuda.pipeline import SlotPipeline
from vision_line.devices.cuda.slots import MAX_BATCH, Batch, Slot
from vision_line.devices.model.model import Model
from vision_line.devices.preprocessing.letterbox import in_picture
from vision_line.devices.preprocessing.shapes import closest_shape
from vision_line.devices.stall import STALL_S, StallWatch
from vision_line.errors import DeviceError, RunError
from vision_line.frames import Colour, Detections, Frame, Inspection, Scores
from vision_line.inspection.detection.heads import HeadDecoder, class_floors
from vision_line.ports import GPU_SLOTS, DeviceDescription, DeviceLoad, ShapeHW

if TYPE_CHECKING:
    from av.video.stream import VideoStream


class CudaDevice:
    """Implements `ports.Device` on one NVIDIA GPU; pictures are `Surface`s, which its decoders make.

    A batch goes through the slot's own stream (parameters, letterbox kernel, results), and in between through the one
    stream on which all engines run. Frames are held until their results are collected: until then the GPU may read
    them. A completion thread waits for the GPU; heads are decoded in `collect`, on the inspecting thread. All memory is
    allocated when a shape is opened.
    """

    def __init__(
        self,
        model: Model,
        shapes: Sequence[ShapeHW],
        wake: Callable[[], None],
        *,
        score_floor: float | Scores | None = None,
        index: int = 0,
        slots: int = GPU_SLOTS,
        cache: Path | None = None,
        stop: threading.Event | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        """Open GPU `index` and make engines for `shapes`: at the first use of a model that takes minutes.

        `score_floor` is the lowest score handed back, for all classes or one for each (classes,); None: the model's.
        `slots` is the number of batches in flight. `cache` is the folder for built engines; None: the user's. `stop`,
        set by another thread, ends the building of an engine; `tell` hears of its steps, see `engine_sources`.

        Raises:
            DeviceError: no driver, GPU or library, an engine that cannot be built or run or fails its proof, or too
                little memory.
            ModelError: TensorRT cannot read the model.
        """
        self._model = model
        self.set_score_floor(model.score_threshold if score_floor is None else score_floor)
        self._order = CameraOrder()
        self._stall = StallWatch("cuda: the GPU")
        self._busy: set[Slot] = set()
        self._closed = False
        self._gpu = open_gpu(index)
        with translated_errors(DeviceError, "the device cannot be opened"), ExitStack() as undo:
            self._pipeline = SlotPipeline(self._gpu, model, slots, cache, stop, tell)
            undo.callback(self._pipeline.close)
            self._pipeline.open_shapes(shapes)
            self._monitor = open_monitor(self._gpu)
            undo.pop_all()
        self._free = list(self._pipeline.slots)
        self._description = self._described()
        self._completion = Completion(self._gpu, wake)

    @property
    def description(self) -> DeviceDescription:
        """Say what this device is."""
        return self._description

    def ensure_shape(self, shape_hw: ShapeHW) -> None:
        """Open one more input shape while the others go on; a missing engine is built, which may take minutes.

        Raises:
            ModelError: TensorRT cannot read the model.
            DeviceError: the engine cannot be built or run, or fails its proof; the device stays as it was.
        """
        if shape_hw in self._pipeline.shapes:
            return
        self._gpu.enter()
        with translated_errors(DeviceError, f"the input shape {shape_hw} cannot be opened"):
            self._pipeline.open_shapes([shape_hw])
        self._description = self._described()  # after the engine is there: another thread goes by what is described

    def set_score_floor(self, floor: float | Scores) -> None:
        """Hand back detections from this score on."""
        model = self._model
        self._head = HeadDecoder(model.head, class_floors(len(model.classes), floor), model.nms_iou)

    def open_decoder(self, camera: str, stream: VideoStream, colour: Colour | None) -> CudaDecoder:
        """Open a decoder for `stream`; see `CudaDecoder`."""
        return CudaDecoder(self._gpu, camera, stream, colour)

    def shape_for(self, size_wh: tuple[int, int]) -> ShapeHW:
        """Return the input shape for a picture of this size."""
        return closest_shape(size_wh, self._description.input_shapes_hw)

    def free_slots(self) -> int:
        """Return how many batches can be submitted now."""
        return 0 if self._closed else len(self._free)

    def submit(self, frames: Sequence[Frame]) -> None:
        """Queue the conversion and inference of 1..32 frames of one input shape.

        Raises:
            DeviceError: the batch is empty, too large or of several shapes, no slot is free, closed, or (naming the
                camera) a picture that is not on this GPU; no frame of the batch is then in flight.
            RunError: the GPU does not take the work.
        """
        shape = self._checked_shape(frames)
        self._gpu.enter()
        slot = self._free[-1]
        rows = zip(frames, slot.params[: len(frames)], strict=True)
        boxes = tuple(self._pipeline.describe(frame, shape, record) for frame, record in rows)
        self._free.pop()
        self._busy.add(slot)
        now_s = time.monotonic()
        slot.batch = Batch(tuple(self._order.enter(frame, now_s) for frame in frames), boxes, shape, now_s)
        with translated_errors(RunError, "a batch cannot be started"):
            self._pipeline.start(slot, slot.batch)
        self._completion.watch(slot)

    def collect(self) -> list[Inspection]:
        """Decode and return what has finished, in the order it was submitted for each camera. Never blocks.

        Raises:
            RunError: the engine failed, returned no numbers, or has not answered for 30 s.
        """
        released: list[Inspection] = []
        finished = self._completion.finished
        while finished:
            released += self._finish(finished.popleft())
        self._check_stall()
        return released

    def in_flight(self) -> int:
        """Return how many frames were submitted and not yet collected."""
        return len(self._order)

    def loads(self) -> tuple[DeviceLoad, ...]:
        """Return how busy the GPU is, as NVML tells it; see `ports.Device`."""
        load = self._monitor.sample()
        return () if load is None else (load,)

    def close(self) -> None:
        """Wait for the GPU and release everything; results not collected are dropped. May be called twice.

        Raises:
            RunError: the GPU has failed, or does not answer; what it holds is then left to the end of the process.
        """
        if self._closed:
            return
        self._closed = True
        self._monitor.close()
        if not self._completion.close(STALL_S):
            raise RunError(f"cuda: the GPU has not answered for {STALL_S:.0f} s")
        self._gpu.enter()
        faults = [slot.fault for slot in self._busy if slot.fault]
        self._completion.finished.clear()
        self._busy.clear()
        self._order.clear()
        if faults:
            raise RunError(faults[0])
        with translated_errors(RunError, "the device cannot be closed"):
            self._pipeline.close()

    def _described(self) -> DeviceDescription:
        return DeviceDescription(
            name=self._gpu.label,
            detail=self._pipeline.detail,
            precision=self._pipeline.precision,
            input_shapes_hw=self._pipeline.shapes,
            slots=len(self._pipeline.slots),
            max_batch=MAX_BATCH,
            form=f"{self._pipeline.precision} engine",
            form_reason=self._pipeline.reason,
        )

    def _checked_shape(self, frames: Sequence[Frame]) -> ShapeHW:
        if not 1 <= len(frames) <= MAX_BATCH:
            raise DeviceError(f"cuda: expected a batch of 1..{MAX_BATCH} frames, got {len(frames)}")
        if self._closed:
            raise DeviceError("cuda: the device is closed")
        if not self._free:
            raise DeviceError(f"cuda: all {len(self._pipeline.slots)} slots are busy")
        shapes = {self.shape_for(frame.size_wh) for frame in frames}
        if len(shapes) != 1:
            raise DeviceError(f"cuda: expected a batch of one input shape, got {sorted(shapes)}")
        return shapes.pop()

    def _finish(self, slot: Slot) -> list[Inspection]:
        batch = slot.batch
        if batch is None:
            raise RunError("cuda: the GPU finished a slot that was not submitted")
        if slot.fault:
            raise RunError(slot.fault)
        outputs = slot.results(batch)
        found = [in_picture(self._decode(output), box) for output, box in zip(outputs, batch.boxes, strict=True)]
        slot.batch = None
        self._busy.remove(slot)
        self._free.append(slot)
        finished_s = time.monotonic()
        released: list[Inspection] = []
        for ticket, detections in zip(batch.tickets, found, strict=True):
            inspection = Inspection(ticket.frame, detections, ticket.submitted_s, finished_s)
            released += self._order.finish(ticket, inspection)
        return released

    def _decode(self, output: NDArray[np.float32]) -> Detections:
        return self._head.decode(output.astype(np.float32, copy=False))

    def _check_stall(self) -> None:
        self._stall.check(time.monotonic(), [slot.batch.submitted_s for slot in self._busy if slot.batch is not None])
