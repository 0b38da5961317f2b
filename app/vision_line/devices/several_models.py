# SPDX-License-Identifier: AGPL-3.0-or-later
"""Several models as one device: each batch is of one model, the slots are shared, and each camera keeps its order."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from vision_line.errors import DeviceError, RunError
from vision_line.frames import OWN_MODEL, ClassIds, Frame, Inspection, Scores
from vision_line.ports import DeviceDescription, DeviceLoad, LoadedDevice, ShapeHW


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A device that runs one model; `name` is the model's, for errors.

    `class_ids` are the numbers of its classes (classes,) among those of the run; None: they are the same.
    """

    device: LoadedDevice
    name: str = ""
    class_ids: ClassIds | None = None


class SeveralModels:
    """Implements `ports.ModelsDevice` over devices of one hardware, each with a model of its own.

    All are open, proven and warm: another model costs a batch nothing. Together they take as many batches as one of
    them would: engines that work side by side only slow each other down. A camera that changes from one model to
    another has results on both for a moment; they are handed out in the order in which its frames were submitted.
    """

    def __init__(self, models: Mapping[str, OpenModel]) -> None:
        """Take over the devices of `models`, by the models' keys, the run's own among them; `close` closes them."""
        self._members = {key: _Member(key, model) for key, model in models.items()}
        self._lines: dict[str, list[str]] = {}  # by camera, the models that its frames are on, oldest first
        self._early: dict[tuple[str, str], list[Inspection]] = {}  # by camera and model, what waits for another's
        self._waiting = 0
        self._closing = threading.Lock()  # the one that adds is another thread than the one that closes
        self._closed = False

    @property
    def description(self) -> DeviceDescription:
        """Say what the device is with the run's own model; `max_batch` is what each of the models takes."""
        own = self._members[OWN_MODEL].device.description
        if len(self._members) == 1:  # nearly always, and asked for with every batch
            return own
        smallest = min(member.device.description.max_batch for member in self._members.values())
        return own if smallest == own.max_batch else replace(own, max_batch=smallest)

    @property
    def descriptions(self) -> dict[str, DeviceDescription]:
        """Say what the device is with each model, by the models' keys."""
        return {key: member.device.description for key, member in self._members.items()}

    def add(self, key: str, model: OpenModel) -> None:
        """Take over the device of one more model while the others go on; any one thread. Closed: it is closed too."""
        with self._closing:
            if not self._closed:
                # a new dict instead of a changed one: another thread is looking into the old one
                self._members = self._members | {key: _Member(key, model)}
                return
        model.device.close()

    def ensure_shape(self, model: str, shape_hw: ShapeHW) -> None:
        """Open one more input shape of a model while the others go on; see `ports.Device`."""
        self._members[model].device.ensure_shape(shape_hw)

    def ensure_batch(self, frames: int) -> None:
        """Have each model take batches of `frames` while the others go on; see `ports.Device`."""
        for member in self._members.values():
            with member.named_errors():
                member.device.ensure_batch(frames)

    def set_score_floors(self, floors: Mapping[str, Scores]) -> None:
        """Hand back detections from these scores on: by model (classes,), one for each of its own classes."""
        for model, floor in floors.items():
            self._members[model].device.set_score_floor(floor)

    def shape_for(self, model: str, size_wh: tuple[int, int]) -> ShapeHW:
        """Return the input shape of a model for a frame of this size."""
        return self._members[model].device.shape_for(size_wh)

    def free_slots(self) -> int:
        """Return how many batches can be submitted now, of whichever models."""
        if self._closed:
            return 0
        if len(self._members) == 1:  # nearly always, and asked for with every frame
            return self._members[OWN_MODEL].device.free_slots()
        devices = [member.device for member in self._members.values()]
        busy = sum(device.description.slots - device.free_slots() for device in devices)
        return max(0, min(device.description.slots for device in devices) - busy)

    def submit(self, model: str, frames: Sequence[Frame]) -> None:
        """Give a model's device `frames`, all of one input shape."""
        self._members[model].device.submit(frames)
        for frame in frames:
            self._lines.setdefault(frame.camera, []).append(model)
        self._waiting += len(frames)

    def collect(self) -> list[Inspection]:
        """Return what has finished by any model, in the order it was submitted for each camera. Never blocks."""
        released: list[Inspection] = []
        for key, member in self._members.items():
            for inspection in member.collect():
                released += self._release(key, inspection)
        return released

    def _release(self, model: str, inspection: Inspection) -> list[Inspection]:
        """Return what a result lets go of, oldest first. Each model's own results come in order."""
        camera = inspection.frame.camera
        line = self._lines[camera]
        if len(line) == 1:  # nearly always
            del self._lines[camera]
            self._waiting -= 1
            return [inspection]
        self._early.setdefault((camera, model), []).append(inspection)
        released: list[Inspection] = []
        while line and (finished := self._early.get((camera, line[0]))):
            released.append(finished.pop(0))
            if not finished:
                del self._early[camera, line[0]]
            del line[0]
        if not line:  # cameras come and go; an empty line is not kept for one that left
            del self._lines[camera]
        self._waiting -= len(released)
        return released

    def in_flight(self) -> int:
        """Return how many frames were submitted and not yet collected."""
        return self._waiting

    def sample(self) -> tuple[DeviceLoad, ...]:
        """Return how busy the hardware is, which all models share."""
        return self._members[OWN_MODEL].device.sample()

    def prove_again(self) -> str:
        """Prove the open engines of all models once more; see `ports.LoadedDevice`."""
        return next(filter(None, (member.prove_again() for member in self._members.values())), "")

    def close(self) -> None:
        """Close all devices, also where one fails; may be called twice."""
        with self._closing:
            self._closed = True
        self._lines.clear()
        self._early.clear()
        self._waiting = 0
        with ExitStack() as closing:
            for member in self._members.values():
                closing.callback(member.close)


def one_model(device: LoadedDevice) -> SeveralModels:
    """Return the device of the run's own model alone."""
    return SeveralModels({OWN_MODEL: OpenModel(device)})


class _Member:
    """One model and its device, which returns each camera's frames in order."""

    def __init__(self, key: str, model: OpenModel) -> None:
        self.device = model.device
        self._key = key
        self._model = model

    def collect(self) -> list[Inspection]:
        """Return what has finished, in the numbers of the run's classes."""
        if self._key == OWN_MODEL:
            return self.device.collect()
        with self.named_errors():
            return [self._of_the_run(inspection) for inspection in self.device.collect()]

    def prove_again(self) -> str:
        """Prove the model's engines once more."""
        with self.named_errors():
            fault = self.device.prove_again()
        return fault if self._key == OWN_MODEL or not fault else f"model {self._model.name}: {fault}"

    def close(self) -> None:
        """Close the device."""
        with self.named_errors():
            self.device.close()

    def _of_the_run(self, inspection: Inspection) -> Inspection:
        found, numbers = inspection.detections, self._model.class_ids
        if numbers is not None and len(found):
            found = replace(found, class_id=numbers[found.class_id])
        return replace(inspection, detections=found, model=self._key)

    @contextmanager
    def named_errors(self) -> Iterator[None]:
        """Say in errors of the engine which model it was, but for the run's own."""
        try:
            yield
        except (DeviceError, RunError) as exc:
            if self._key == OWN_MODEL:
                raise
            raise type(exc)(f"model {self._model.name}: {exc}") from exc
