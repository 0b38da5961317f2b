# SPDX-License-Identifier: AGPL-3.0-or-later
"""A device without an engine: results come at once or after a stated time. For benchmarks, planning and tests."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from vision_line.devices.camera_order import CameraOrder, Ticket
from vision_line.devices.preprocessing.shapes import closest_shape
from vision_line.errors import DeviceError
from vision_line.frames import Colour, Detections, Frame, Inspection, Scores
from vision_line.ports import Decoder, DeviceDescription, DeviceLoad, ShapeHW

if TYPE_CHECKING:
    from av.video.stream import VideoStream

Batch = tuple[Ticket, ...]


def no_detections(_: Frame) -> Detections:
    """Return no detections, whatever the frame."""
    return Detections.empty()


class SimulatedDevice:
    """Implements `ports.Device` with a single engine that works through its batches one after the other.

    `inference_s` is the time a batch of n frames takes, as a function of n, or 0 for an instant engine, which
    finishes within `submit` and needs no thread. `detections` says what is found in a frame, in picture pixels; it is
    called in `collect`. `loads` is how busy it says it is. Pictures are not looked at; decoders are the CPU's.
    """

    def __init__(
        self,
        description: DeviceDescription,
        wake: Callable[[], None],
        inference_s: Callable[[int], float] | float = 0.0,
        detections: Callable[[Frame], Detections] = no_detections,
        loads: tuple[DeviceLoad, ...] = (),
    ) -> None:
        """Start the engine's thread, unless `inference_s` is 0."""
        self._description = description
        self._wake = wake
        self._inference_s = inference_s if callable(inference_s) else lambda _: inference_s
        self._detections = detections
        self._order = CameraOrder()
        self._finished: deque[Batch] = deque()  # filled by the engine's thread; append and popleft are atomic
        self._busy = 0
        self._loads = loads
        self._closed = False
        self._queued: deque[Batch] = deque()
        self._changed = threading.Condition()
        self._engine: threading.Thread | None = None
        if inference_s != 0.0:
            self._engine = threading.Thread(target=self._run, name="simulated-engine", daemon=True)
            self._engine.start()

    @property
    def description(self) -> DeviceDescription:
        """Say what this device is."""
        return self._description

    def ensure_shape(self, shape_hw: ShapeHW) -> None:
        """Offer one more input shape."""
        if shape_hw not in self._description.input_shapes_hw:
            shapes = (*self._description.input_shapes_hw, shape_hw)
            self._description = replace(self._description, input_shapes_hw=shapes)

    def set_score_floor(self, floor: float | Scores) -> None:
        """Do nothing: what `detections` says is handed back whatever its score."""

    def open_decoder(self, camera: str, stream: VideoStream, colour: Colour | None) -> Decoder:
        """Open a CPU decoder for `stream`."""
        from vision_line.devices.cpu.decoder import CpuDecoder  # loads PyAV, which simulated frames do not need

        return CpuDecoder(camera, stream, colour)

    def shape_for(self, size_wh: tuple[int, int]) -> ShapeHW:
        """Return the input shape for a picture of this size."""
        return closest_shape(size_wh, self._description.input_shapes_hw)

    def free_slots(self) -> int:
        """Return how many batches can be submitted now."""
        return 0 if self._closed else self._description.slots - self._busy

    def submit(self, frames: Sequence[Frame]) -> None:
        """Queue a batch of 1..max_batch frames of one input shape.

        Raises:
            DeviceError: no slot is free, the batch is empty, too large or of several shapes, or the device is closed.
        """
        name = self._description.name
        if not 1 <= len(frames) <= self._description.max_batch:
            raise DeviceError(f"{name}: expected a batch of 1..{self._description.max_batch} frames, got {len(frames)}")
        if not self.free_slots():
            raise DeviceError(f"{name}: the device is closed" if self._closed else f"{name}: all slots are busy")
        shapes = {self.shape_for(frame.size_wh) for frame in frames}
        if len(shapes) != 1:
            raise DeviceError(f"{name}: expected a batch of one input shape, got {sorted(shapes)}")
        submitted_s = time.monotonic()
        batch = tuple(self._order.enter(frame, submitted_s) for frame in frames)
        self._busy += 1
        if self._engine is None:
            self._finish(batch)
            return
        with self._changed:
            self._queued.append(batch)
            self._changed.notify()

    def collect(self) -> list[Inspection]:
        """Return what has finished, in the order it was submitted for each camera. Never blocks."""
        released: list[Inspection] = []
        while self._finished:
            finished_s = time.monotonic()
            for ticket in self._finished.popleft():
                found = self._detections(ticket.frame)
                inspection = Inspection(ticket.frame, found, ticket.submitted_s, finished_s)
                released += self._order.finish(ticket, inspection)
            self._busy -= 1
        return released

    def in_flight(self) -> int:
        """Return how many frames were submitted and not yet collected."""
        return len(self._order)

    def loads(self) -> tuple[DeviceLoad, ...]:
        """Return the loads that it was made with."""
        return self._loads

    def close(self) -> None:
        """Let the engine finish, end its thread; results not collected are dropped. May be called twice."""
        self._closed = True
        if self._engine is not None:
            with self._changed:
                self._changed.notify()
            self._engine.join()
        self._finished.clear()
        self._order.clear()
        self._busy = 0

    def _finish(self, batch: Batch) -> None:
        self._finished.append(batch)
        self._wake()

    def _run(self) -> None:
        free_s = 0.0  # when the engine has finished all that it has begun: late wake-ups do not add up
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queued or self._closed)
                if not self._queued:
                    return
                batch = self._queued.popleft()
            free_s = max(free_s, batch[0].submitted_s) + self._inference_s(len(batch))
            while (remaining_s := free_s - time.monotonic()) > 0:
                time.sleep(remaining_s)
            self._finish(batch)
            del batch  # else the thread would keep the last frames alive while it waits
