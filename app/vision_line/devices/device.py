# SPDX-License-Identifier: AGPL-3.0-or-later
"""The one device: what a batch may be, whose turn a result is and when an engine has failed, over any backend."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from vision_line.devices.camera_order import CameraOrder, Ticket
from vision_line.devices.preprocessing.letterbox import Letterbox
from vision_line.devices.preprocessing.shapes import closest_shape
from vision_line.devices.result_reader import Outputs, ResultReader
from vision_line.devices.stall import StallWatch
from vision_line.errors import DeviceError, RunError
from vision_line.frames import Frame, Inspection, Scores
from vision_line.ports import DeviceDescription, DeviceLoad, ShapeHW


class Backend(Protocol):
    """Carries batches out: owns the engine, its memory, and what says that it is done.

    Slots are numbers from 0 to `description.slots` - 1. The device says which slot a batch takes, and gives a slot to
    no other batch until it has read the outputs. A backend is made with the `wake` that it calls, from any thread,
    whenever a batch is done. All else is called by the scheduler's thread, but for
    `open_shapes`, `open_batches`, `sample` and `prove_again`.
    """

    @property
    def kind(self) -> str:
        """What begins its errors: "cuda"."""

    @property
    def engine(self) -> str:
        """What infers, as a sentence names it: "the GPU"."""

    @property
    def description(self) -> DeviceDescription:
        """What it is, with the shapes that are open."""

    def open_shapes(self, shapes: Sequence[ShapeHW]) -> None:
        """Make it able to infer at more input shapes, none of which is open, while batches go on; any one thread.

        Raises:
            ModelError, DeviceError: it cannot be done; the shapes that were open stay so.
        """

    def open_batches(self, frames: int) -> None:
        """Make it able to take batches of `frames`, or of as many as it ever takes, while batches go on.

        The thread that opens shapes, or another while none is opened.

        Raises:
            DeviceError: it cannot be done; `description.max_batch` stays as it was.
        """

    def convert(self, slot: int, frames: Sequence[Frame], shape_hw: ShapeHW) -> Sequence[Letterbox]:
        """Bring `frames` into the free `slot` as inputs of an open shape; return where each frame lies in its own.

        Raises:
            DeviceError: naming the camera, a frame that cannot be converted; the slot is then free as before.
        """

    def start(self, slot: int) -> None:
        """Let the engine begin with what was converted into `slot`; return at once.

        Raises:
            RunError: the engine does not take the work.
        """

    def finished(self) -> Iterable[tuple[int, Outputs]]:
        """Give what is done since the last call, in any order: the slot, and its outputs, a row for each frame.

        Outputs are read before the next is asked for, and may then be overwritten. Never blocks.

        Raises:
            RunError: the engine failed.
        """

    def sample(self) -> tuple[DeviceLoad, ...]:
        """Return how busy the hardware is; see `ports.LoadReporter`."""

    def prove_again(self) -> str:
        """Prove the open engines once more; see `ports.LoadedDevice`."""

    def close(self, in_flight: Collection[int]) -> None:
        """Wait for the slots that are `in_flight` and release everything; called once.

        Raises:
            RunError: the engine has failed, or does not answer.
        """


@dataclass(slots=True)
class _Batch:
    """What a slot works on: the frames' tickets and geometry, and when they were handed in."""

    tickets: tuple[Ticket, ...]
    boxes: Sequence[Letterbox]
    submitted_s: float


class InferenceDevice:
    """Implements `ports.Device` and `ports.LoadReporter` over a backend.

    Frames are held until their results are collected: until then the engine may read them. Outputs are read in
    `collect`, on the scheduler's thread.
    """

    def __init__(
        self,
        backend: Backend,
        reader: ResultReader,
        shapes: Sequence[ShapeHW] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take over `backend` and open `shapes`; `close` closes it, and so does a shape that cannot be opened.

        Raises:
            ModelError, DeviceError: as `Backend.open_shapes`.
        """
        self._backend = backend
        self._reader = reader
        self._clock = clock
        self._order = CameraOrder()
        self._stall = StallWatch(f"{backend.kind}: {backend.engine}")
        self._working: dict[int, _Batch] = {}
        self._closed = False
        try:
            if shapes:
                backend.open_shapes(shapes)
        except BaseException:
            self.close()
            raise
        self._description = backend.description
        self._free = list(range(self._description.slots))

    @property
    def description(self) -> DeviceDescription:
        """Say what this device is."""
        return self._description

    def ensure_shape(self, shape_hw: ShapeHW) -> None:
        """Open one more input shape while the others go on; see `ports.Device`."""
        if shape_hw in self._description.input_shapes_hw:
            return
        self._backend.open_shapes([shape_hw])
        self._description = self._backend.description  # after it is open: another thread goes by what is described

    def ensure_batch(self, frames: int) -> None:
        """Be able to take batches of `frames` while the others go on; see `ports.Device`."""
        if frames <= self._description.max_batch:
            return
        self._backend.open_batches(frames)
        self._description = self._backend.description  # after it is open, as above

    def set_score_floor(self, floor: float | Scores) -> None:
        """Hand back detections from this score on."""
        self._reader.set_score_floor(floor)

    def shape_for(self, size_wh: tuple[int, int]) -> ShapeHW:
        """Return the input shape for a frame of this size."""
        return closest_shape(size_wh, self._description.input_shapes_hw)

    def free_slots(self) -> int:
        """Return how many batches can be submitted now."""
        return 0 if self._closed else len(self._free)

    def submit(self, frames: Sequence[Frame]) -> None:
        """Convert 1..max_batch frames of one input shape into a free slot and start their inference.

        Raises:
            DeviceError: the batch is empty, too large or of several shapes, no slot is free, closed, or (naming the
                camera) a frame that cannot be converted; no frame of the batch is then in flight.
            RunError: the engine does not take the work.
        """
        busy = not self._free
        shape = batch_shape(self._backend.kind, self._description, frames, closed=self._closed, busy=busy)
        slot = self._free[-1]
        boxes = self._backend.convert(slot, frames, shape)
        self._free.pop()
        now_s = self._clock()
        tickets = tuple([self._order.enter(frame, now_s) for frame in frames])
        self._working[slot] = _Batch(tickets, boxes, now_s)
        self._backend.start(slot)

    def collect(self) -> list[Inspection]:
        """Read and return what has finished, in the order it was submitted for each camera. Never blocks.

        Raises:
            RunError: the engine failed, returned no numbers, or has not answered for 30 s.
        """
        released: list[Inspection] = []
        for slot, outputs in self._backend.finished():
            released += self._finish(slot, outputs)
        if self._working:
            oldest = next(iter(self._working.values()))  # a dictionary keeps the order of submission
            self._stall.check(self._clock(), oldest.submitted_s)
        return released

    def in_flight(self) -> int:
        """Return how many frames were submitted and not yet collected."""
        return len(self._order)

    def sample(self) -> tuple[DeviceLoad, ...]:
        """Return how busy the hardware is now; see `ports.LoadReporter`."""
        return self._backend.sample()

    def prove_again(self) -> str:
        """Prove the open engines once more, while they work; see `ports.LoadedDevice`."""
        return self._backend.prove_again()

    def close(self) -> None:
        """Wait for the engine and release everything; results not collected are dropped. May be called twice.

        Raises:
            RunError: the engine has failed, or does not answer; what it may still read is then kept.
        """
        if self._closed:
            return
        self._closed = True
        self._order.clear()
        self._backend.close(tuple(self._working))
        self._working.clear()

    def _finish(self, slot: int, outputs: Outputs) -> list[Inspection]:
        batch = self._working.pop(slot, None)
        if batch is None:
            raise RunError(f"{self._backend.kind}: {self._backend.engine} finished a slot that was not submitted")
        rows = zip(batch.tickets, batch.boxes, outputs, strict=True)
        found = [self._reader.read(ticket.frame, box, output) for ticket, box, output in rows]
        self._free.append(slot)
        finished_s = self._clock()
        released: list[Inspection] = []
        for ticket, detections in zip(batch.tickets, found, strict=True):
            inspection = Inspection(ticket.frame, detections, ticket.submitted_s, finished_s)
            released += self._order.finish(ticket, inspection)
        return released


def batch_shape(
    name: str, description: DeviceDescription, frames: Sequence[Frame], *, closed: bool, busy: bool = False
) -> ShapeHW:
    """Return the one input shape of `frames`, which are a batch for what is described; `name` begins its errors.

    Raises:
        DeviceError: the batch is empty, too large or of several shapes, or the device is closed or `busy`.
    """
    if not 1 <= len(frames) <= description.max_batch:
        raise DeviceError(f"{name}: expected a batch of 1..{description.max_batch} frames, got {len(frames)}")
    if closed:
        raise DeviceError(f"{name}: the device is closed")
    if busy:
        raise DeviceError(f"{name}: all {description.slots} slots are busy")
    shapes = {closest_shape(frame.size_wh, description.input_shapes_hw) for frame in frames}
    if len(shapes) > 1:
        raise DeviceError(f"{name}: expected a batch of one input shape, got {sorted(shapes)}")
    return shapes.pop()
