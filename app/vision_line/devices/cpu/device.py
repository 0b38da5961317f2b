# SPDX-License-Identifier: AGPL-3.0-or-later
"""The CPU device: PyAV decodes, OpenCV converts, OpenVINO infers with several requests in parallel."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

import av.error
import cv2
import numpy as np
import openvino as ov
from numpy.typing import NDArray

from vision_line.cores import usable_cores
from vision_line.devices.camera_order import CameraOrder, Ticket
from vision_line.devices.cpu.converter import Converter
from vision_line.devices.cpu.decoder import CpuDecoder
from vision_line.devices.cpu.openvino_engine import last_line
from vision_line.devices.cpu.planes import open_planes
from vision_line.devices.cpu.proven_engines import ProvenEngines
from vision_line.devices.model.model import Model
from vision_line.devices.preprocessing.letterbox import Letterbox, in_picture
from vision_line.devices.preprocessing.shapes import closest_shape
from vision_line.devices.stall import StallWatch
from vision_line.errors import DeviceError, RunError
from vision_line.frames import Colour, Frame, Inspection, Scores
from vision_line.inspection.detection.heads import HeadDecoder, class_floors
from vision_line.ports import DeviceDescription, DeviceLoad, ShapeHW

if TYPE_CHECKING:
    from av.video.stream import VideoStream


@dataclass(slots=True, eq=False)
class _Slot:
    """A request with the memory of its input, and while it works the frame's ticket and geometry."""

    request: ov.InferRequest
    input: NDArray[np.float32]  # (h, w, 3), shared with the request
    ticket: Ticket | None = None
    box: Letterbox | None = None


class CpuDevice:
    """Implements `ports.Device` on this computer's processor.

    A batch is one frame: requests side by side use the cores better than one request with a batch (94 against 50
    images/s on two cores). Each input shape has its own compiled network with `slots` requests; `slots` bounds the
    frames in flight over all shapes. Inputs and outputs are allocated once.

    OpenVINO calls back on a thread of its own, where only a number is appended and `wake` called; heads are decoded
    in `collect`, on the inspecting thread. OpenCV's own threads are switched off for the whole process, since they
    would fight the decoding threads for the cores.
    """

    def __init__(
        self,
        model: Model,
        shapes: Sequence[ShapeHW],
        wake: Callable[[], None],
        *,
        score_floor: float | Scores | None = None,
        slots: int | None = None,
        inference_precision: str = "f32",
    ) -> None:
        """Compile `model` for `shapes`, each in the first form whose proof holds here; see `ProvenEngines`.

        `score_floor` is the lowest score handed back, for all classes or one for each (classes,); None: the
        model's. `slots` is the number of frames in flight; None: one more than there are cores to use, so that one
        waits while all cores work. `inference_precision` "bf16" lets processors with AMX compute the float layers in
        bfloat16: several times faster for float models, but boxes move by pixels, so it is not the default.

        Raises:
            ModelError: OpenVINO cannot read the model or reshape it to one of `shapes`, or its output is of another
                kind than its description says.
            DeviceError: OpenVINO cannot compile for this processor, or computes the model wrongly in every form.
        """
        cv2.setNumThreads(1)
        cores = usable_cores()
        self._slots = slots or cores + 1
        self._wake = wake
        self._model = model
        self.set_score_floor(model.score_threshold if score_floor is None else score_floor)
        self._converter = Converter()
        self._order = CameraOrder()
        self._stall = StallWatch("cpu: the engine")
        self._finished: deque[_Slot] = deque()  # filled by OpenVINO's thread; append and popleft are atomic
        self._closed = False
        self._engines = ProvenEngines(model, cores, inference_precision)
        self._busy: set[_Slot] = set()
        self._free: dict[ShapeHW, list[_Slot]] = {}
        self._shapes: tuple[ShapeHW, ...] = ()
        version = ov.__version__.split("-")[0]
        self._detail = f"{self._engines.processor.name}, {cores} cores, OpenVINO {version}"
        self._description = self._described()
        for shape in shapes:
            self.ensure_shape(shape)

    @property
    def description(self) -> DeviceDescription:
        """Say what this device is."""
        return self._description

    def ensure_shape(self, shape_hw: ShapeHW) -> None:
        """Compile for one more input shape while the others go on; its slots appear when its engine is proven.

        Raises:
            ModelError: OpenVINO cannot read the model or reshape it.
            DeviceError: OpenVINO cannot compile for this processor, or computes the model wrongly in every form.
        """
        if shape_hw in self._free:
            return
        network = self._engines.open(shape_hw)
        # New objects instead of changed ones, and slots before the shape is offered: another thread is using them.
        self._free = self._free | {shape_hw: self._open_slots(network, shape_hw)}
        self._shapes = (*self._shapes, shape_hw)
        self._description = self._described()

    def set_score_floor(self, floor: float | Scores) -> None:
        """Hand back detections from this score on."""
        model = self._model
        self._head = HeadDecoder(model.head, class_floors(len(model.classes), floor), model.nms_iou)

    def open_decoder(self, camera: str, stream: VideoStream, colour: Colour | None) -> CpuDecoder:
        """Open a decoder for `stream`; see `CpuDecoder`."""
        return CpuDecoder(camera, stream, colour)

    def shape_for(self, size_wh: tuple[int, int]) -> ShapeHW:
        """Return the input shape for a picture of this size."""
        return closest_shape(size_wh, self._shapes)

    def free_slots(self) -> int:
        """Return how many frames can be submitted now."""
        return 0 if self._closed else self._slots - len(self._busy)

    def submit(self, frames: Sequence[Frame]) -> None:
        """Convert one frame into a free slot and start its inference.

        Raises:
            DeviceError: not one frame, no free slot, closed, or (naming the camera) a picture that cannot be converted;
                the slot is then free again.
            RunError: the engine does not start.
        """
        if len(frames) != 1:
            raise DeviceError(f"cpu: expected a batch of 1 frame, got {len(frames)}")
        if not self.free_slots():
            raise DeviceError("cpu: the device is closed" if self._closed else f"cpu: all {self._slots} slots are busy")
        frame = frames[0]
        free = self._free[self.shape_for(frame.size_wh)]
        slot = free[-1]
        slot.box = self._convert(frame, slot.input)
        free.pop()
        self._busy.add(slot)
        slot.ticket = self._order.enter(frame, time.monotonic())
        try:
            slot.request.start_async()
        except RuntimeError as exc:
            raise RunError(f"cpu: the engine does not start: {last_line(exc)}") from exc

    def collect(self) -> list[Inspection]:
        """Decode and return what has finished, in the order it was submitted for each camera. Never blocks.

        Raises:
            RunError: the engine failed, returned no numbers, or has not answered for 30 s.
        """
        released: list[Inspection] = []
        while self._finished:
            released += self._finish(self._finished.popleft())
        self._check_stall()
        return released

    def in_flight(self) -> int:
        """Return how many frames were submitted and not yet collected."""
        return len(self._order)

    def engine_rate(self, shape_hw: ShapeHW, seconds: float) -> float:
        """Return how many inputs of one shape a second the network alone takes, with all slots busy for `seconds`.

        That is the bound of what inspection can reach. The slots' inputs stay as they are. Nothing may be in flight.

        Raises:
            RunError: the engine failed.
        """
        slots = self._free[shape_hw]
        done, started_s = 0, time.monotonic()
        try:
            for slot in slots:
                slot.request.start_async()
            for slot in cycle(slots):
                slot.request.wait()
                done += 1
                if time.monotonic() - started_s >= seconds:
                    break
                slot.request.start_async()
            for slot in slots:
                slot.request.wait()
        except RuntimeError as exc:
            raise RunError(f"cpu: the engine failed: {last_line(exc)}") from exc
        finally:
            self._finished.clear()
        return (done + len(slots) - 1) / (time.monotonic() - started_s)

    def loads(self) -> tuple[DeviceLoad, ...]:
        """Return nothing: how busy the processor is, the process knows itself."""
        return ()

    def close(self) -> None:
        """Wait for the engine and release it; results not collected are dropped. May be called twice."""
        if self._closed:
            return
        self._closed = True
        try:
            for slot in self._busy:
                slot.request.wait()
        except RuntimeError as exc:
            raise RunError(f"cpu: the engine failed: {last_line(exc)}") from exc
        finally:
            for slots in self._free.values():
                slots.clear()
            self._busy.clear()
            self._finished.clear()
            self._order.clear()

    def _described(self) -> DeviceDescription:
        engines = self._engines
        return DeviceDescription(
            name="cpu",
            detail=self._detail,
            precision=engines.precision,
            input_shapes_hw=self._shapes,
            slots=self._slots,
            max_batch=1,
            instruction_set=engines.processor.instruction_set,
            form=engines.form,
            form_reason=engines.reason,
        )

    def _open_slots(self, network: ov.CompiledModel, shape: ShapeHW) -> list[_Slot]:
        slots = []
        for _ in range(self._slots):
            slot = _Slot(network.create_infer_request(), np.zeros((*shape, 3), np.float32))
            slot.request.set_input_tensor(ov.Tensor(slot.input[None], shared_memory=True))
            slot.request.set_callback(self._on_finished, slot)
            slots.append(slot)
        return slots

    def _on_finished(self, slot: _Slot) -> None:
        self._finished.append(slot)
        self._wake()

    def _convert(self, frame: Frame, out: NDArray[np.float32]) -> Letterbox:
        try:
            return self._converter.convert(open_planes(frame.picture), frame.colour, out)
        except (cv2.error, ValueError, av.error.FFmpegError) as exc:
            raise DeviceError(
                f"camera {frame.camera!r}: frame {frame.sequence} cannot be converted: {last_line(exc)}"
            ) from exc

    def _finish(self, slot: _Slot) -> list[Inspection]:
        ticket, box = slot.ticket, slot.box
        if ticket is None or box is None:
            raise RunError("cpu: the engine finished a slot that was not submitted")
        try:
            found = self._head.decode(slot.request.get_output_tensor(0).data[0])
        except RuntimeError as exc:
            raise RunError(f"cpu: the engine failed: {last_line(exc)}") from exc
        slot.ticket = slot.box = None
        self._busy.remove(slot)
        self._free[box.dst_hw].append(slot)
        inspection = Inspection(ticket.frame, in_picture(found, box), ticket.submitted_s, time.monotonic())
        return self._order.finish(ticket, inspection)

    def _check_stall(self) -> None:
        # an inference that throws in OpenVINO's thread never calls back
        self._stall.check(time.monotonic(), [slot.ticket.submitted_s for slot in self._busy if slot.ticket is not None])
