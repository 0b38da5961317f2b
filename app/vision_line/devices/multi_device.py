# SPDX-License-Identifier: AGPL-3.0-or-later
"""Several devices as one: each batch is split by where its frames lie, and the results are put in order again."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from vision_line.devices.camera_order import CameraOrder, Ticket
from vision_line.devices.device import batch_shape
from vision_line.devices.preprocessing.shapes import closest_shape
from vision_line.errors import DeviceError, RunError
from vision_line.frames import Frame, Inspection, Scores
from vision_line.ports import DeviceDescription, DeviceLoad, LoadedDevice, ShapeHW

#: Where a frame lies: the number of the device in the list of them; None: on none of them.
Where = Callable[[Any], int | None]


class MultiDevice:
    """Implements `ports.LoadedDevice` over devices of one model, such as the GPUs of a machine.

    A slot is one on every device, so that a batch can be split without waiting, however its frames lie. A device
    that cannot keep up thereby slows the others down to its pace: to spread the cameras is `CameraPlacement`'s part.
    A camera whose frames moved from one device to another has results on both for a moment; they are handed out in
    the order in which its frames were submitted.
    """

    def __init__(self, devices: Sequence[LoadedDevice], where: Where) -> None:
        """Take over `devices`, which were opened with the same shapes, score floor and `wake`; `close` closes them.

        `where` says on which of them a frame lies.
        """
        self._members = tuple(_Member(device) for device in devices)
        self._where = where
        self._order = CameraOrder()
        self._closed = False
        self._description = self._described()

    @property
    def description(self) -> DeviceDescription:
        """Say what the devices are together; `slots` and `max_batch` are those of the smallest."""
        return self._description

    def ensure_shape(self, shape_hw: ShapeHW) -> None:
        """Open one more input shape on each device in turn; it is offered when all have it."""
        for member in self._members:
            with member.named_errors():
                member.device.ensure_shape(shape_hw)
        self._description = self._described()

    def ensure_batch(self, frames: int) -> None:
        """Have each device in turn take batches of `frames`: all may lie on one. Offered when all can."""
        try:
            for member in self._members:
                with member.named_errors():
                    member.device.ensure_batch(frames)
        finally:
            self._description = self._described()

    def set_score_floor(self, floor: float | Scores) -> None:
        """Hand back detections from this score on."""
        for member in self._members:
            member.device.set_score_floor(floor)

    def shape_for(self, size_wh: tuple[int, int]) -> ShapeHW:
        """Return the input shape for a frame of this size."""
        return closest_shape(size_wh, self._description.input_shapes_hw)

    def free_slots(self) -> int:
        """Return how many batches can be submitted now, however their frames lie.

        While a shape is opened, some devices have it and some do not: a batch can then be two for a device.
        """
        if self._closed:
            return 0
        fewest = min(member.device.free_slots() for member in self._members)
        offered = len(self._description.input_shapes_hw)
        alike = all(len(member.device.description.input_shapes_hw) == offered for member in self._members)
        return fewest if alike else max(fewest // 2, min(fewest, 1))

    def submit(self, frames: Sequence[Frame]) -> None:
        """Give each device those of the frames, all of one input shape, whose data lie on it."""
        batch_shape(self._description.name, self._description, frames, closed=self._closed)
        started: list[tuple[_Member, list[int]]] = []
        try:
            for member, part in self._parts(frames):
                with member.named_errors():
                    member.device.submit([frames[index] for index in part])
                started.append((member, part))
        except DeviceError:
            for member, part in started:  # these run, and nobody will get their results
                for index in part:
                    member.expect(frames[index].camera, None)
            raise
        now_s = time.monotonic()
        tickets = [self._order.enter(frame, now_s) for frame in frames]
        for member, part in started:
            for index in part:
                member.expect(frames[index].camera, tickets[index])

    def collect(self) -> list[Inspection]:
        """Return what has finished on any device, in the order it was submitted for each camera. Never blocks."""
        released: list[Inspection] = []
        for member in self._members:
            with member.named_errors():
                finished = member.device.collect()
            for inspection in finished:
                ticket = member.ticket_of(inspection)
                if ticket is not None:
                    released += self._order.finish(ticket, inspection)
        return released

    def in_flight(self) -> int:
        """Return how many frames were submitted and not yet collected."""
        return len(self._order)

    def sample(self) -> tuple[DeviceLoad, ...]:
        """Return how busy the devices are."""
        return tuple(load for member in self._members for load in member.device.sample())

    def prove_again(self) -> str:
        """Prove the engines of all devices once more."""
        return next(filter(None, (member.device.prove_again() for member in self._members)), "")

    def close(self) -> None:
        """Close all devices, also where one fails; may be called twice."""
        if self._closed:
            return
        self._closed = True
        self._order.clear()
        with ExitStack() as closing:
            for member in self._members:
                closing.callback(member.close)

    def _described(self) -> DeviceDescription:
        each = [member.device.description for member in self._members]
        common = set.intersection(*(set(one.input_shapes_hw) for one in each))
        details = [one.detail for one in each]
        alike = len(set(details)) == 1
        return DeviceDescription(
            name=joined_name([one.name for one in each]),
            detail=f"{len(each)} x {details[0]}" if alike else "; ".join(details),
            precision=each[0].precision,
            input_shapes_hw=tuple(shape for shape in each[0].input_shapes_hw if shape in common),
            slots=min(one.slots for one in each),
            max_batch=min(one.max_batch for one in each),
            instruction_set=_together(one.instruction_set for one in each),
            variant=_together(one.variant for one in each),
            variant_reason=_together(one.variant_reason for one in each),
        )

    def _parts(self, frames: Sequence[Frame]) -> list[tuple[_Member, list[int]]]:
        """Return the frames' indices by their devices, and by the input shape that each device has for them.

        Raises:
            DeviceError: a frame is on none of the devices, or a device has too few slots.
        """
        parts: dict[tuple[int, ShapeHW], list[int]] = {}
        for index, frame in enumerate(frames):
            number = self._where(frame.data)
            if number is None:
                raise DeviceError(
                    f"camera {frame.camera!r}: frame {frame.sequence} cannot be converted: expected a frame on "
                    f"{self._description.name}, found {type(frame.data).__name__}"
                )
            shape = self._members[number].device.shape_for(frame.size_wh)
            parts.setdefault((number, shape), []).append(index)
        for number, member in enumerate(self._members):
            needed = sum(of == number for of, _ in parts)
            if needed > member.device.free_slots():
                raise DeviceError(f"{member.name}: all {member.device.description.slots} slots are busy")
        return [(self._members[number], part) for (number, _), part in parts.items()]


class _Member:
    """One of the devices, with the tickets of what is on it: it returns each camera's frames in order."""

    def __init__(self, device: LoadedDevice) -> None:
        self.device = device
        self.name = device.description.name
        self._lines: dict[str, deque[Ticket | None]] = {}

    def expect(self, camera: str, ticket: Ticket | None) -> None:
        """Note a frame that was submitted; without a ticket its result is not wanted."""
        self._lines.setdefault(camera, deque()).append(ticket)

    def ticket_of(self, inspection: Inspection) -> Ticket | None:
        """Return the ticket of a result, and forget it."""
        camera = inspection.frame.camera
        line = self._lines[camera]
        ticket = line.popleft()
        if not line:
            del self._lines[camera]
        return ticket

    def close(self) -> None:
        """Close the device."""
        self._lines.clear()
        with self.named_errors():
            self.device.close()

    @contextmanager
    def named_errors(self) -> Iterator[None]:
        """Say in errors which device it was, but in those that name a camera."""
        try:
            yield
        except (DeviceError, RunError) as exc:
            message = str(exc)
            if message.startswith(("camera ", self.name)):
                raise
            kind = self.name.partition(":")[0]
            raise type(exc)(f"{self.name}: {message.removeprefix(f'{kind}: ')}") from exc


def _together(words: Iterable[str]) -> str:
    """Return what the devices say of themselves, once where they say the same."""
    return "; ".join(filter(None, dict.fromkeys(words)))


def joined_name(names: Sequence[str]) -> str:
    """Return one name for several devices: "cuda:0+1" for "cuda:0" and "cuda:1"."""
    kinds = {name.partition(":")[0] for name in names}
    if len(kinds) != 1 or not all(":" in name for name in names):
        return "+".join(names)
    return f"{kinds.pop()}:{'+'.join(name.partition(':')[2] for name in names)}"
