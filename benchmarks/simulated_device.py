# SPDX-License-Identifier: AGPL-3.0-or-later
"""A device without an engine: results come at once or after a stated time. For benchmarks and tests."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from vision_line.devices.device import InferenceDevice
from vision_line.devices.preprocessing.letterbox import Letterbox
from vision_line.devices.result_reader import FrameOutput, Outputs
from vision_line.frames import Detections, Frame, Scores
from vision_line.ports import DeviceDescription, DeviceLoad, ShapeHW

#: Cameras have few sizes, and a benchmark of the rest counts every microsecond here.
_letterbox = lru_cache(maxsize=64)(Letterbox)


def no_detections(_: Frame) -> Detections:
    """Return no detections, whatever the frame."""
    return Detections.empty()


class StatedReader:
    """Implements `ResultReader` without an output: somebody states what is in a frame, whatever its score."""

    def __init__(self, detections: Callable[[Frame], Detections] = no_detections) -> None:
        """`detections` says what is found in a frame, in its pixels."""
        self._detections = detections

    def set_score_floor(self, floor: float | Scores) -> None:
        """Do nothing."""

    def read(self, frame: Frame, box: Letterbox, output: FrameOutput) -> Detections:  # noqa: ARG002 see ResultReader
        """Return what is stated of `frame`."""
        return self._detections(frame)


class StatedBackend:
    """The half of a `Backend` that needs no engine: shapes, slots and outputs (n, 0). The frames' data are not read."""

    engine = "the engine"

    def __init__(self, description: DeviceDescription, loads: tuple[DeviceLoad, ...] = ()) -> None:
        """Be what `description` says, and as busy as `loads` says."""
        self._description = description
        self._loads = loads
        self._outputs = np.empty((description.max_batch, 0), np.float32)
        self._sizes: dict[int, int] = {}
        self._finished: deque[int] = deque()  # may be filled by an engine's thread; append and popleft are atomic

    @property
    def kind(self) -> str:
        """What begins its errors."""
        return self._description.name

    @property
    def description(self) -> DeviceDescription:
        """What it is, with the shapes that are open."""
        return self._description

    def open_shapes(self, shapes: Sequence[ShapeHW]) -> None:
        """Offer more input shapes."""
        self._description = replace(self._description, input_shapes_hw=(*self._description.input_shapes_hw, *shapes))

    def open_batches(self, frames: int) -> None:
        """Do nothing: it takes as many frames as it was made for."""

    def convert(self, slot: int, frames: Sequence[Frame], shape_hw: ShapeHW) -> Sequence[Letterbox]:
        """Note how many frames the slot has."""
        self._sizes[slot] = len(frames)
        return [_letterbox(frame.size_wh, shape_hw) for frame in frames]

    def finished(self) -> Iterator[tuple[int, Outputs]]:
        """Give the slots that are done."""
        while self._finished:
            slot = self._finished.popleft()
            yield slot, self._outputs[: self._sizes[slot]]

    def sample(self) -> tuple[DeviceLoad, ...]:
        """Return the loads that it was made with."""
        return self._loads

    def prove_again(self) -> str:
        """Say that nothing is wrong."""
        return ""


class SimulatedBackend(StatedBackend):
    """Implements `Backend` with a single engine that works through its batches one after the other."""

    def __init__(
        self,
        description: DeviceDescription,
        wake: Callable[[], None],
        inference_s: Callable[[int], float] | float = 0.0,
        loads: tuple[DeviceLoad, ...] = (),
    ) -> None:
        """Start the engine's thread, unless `inference_s` is 0; the arguments are those of `SimulatedDevice`."""
        super().__init__(description, loads)
        self._wake = wake
        self._inference_s = inference_s if callable(inference_s) else lambda _: inference_s
        self._closed = False
        self._queued: deque[tuple[int, int, float]] = deque()  # slots with their sizes, and when they were started
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        if inference_s != 0.0:
            self._thread = threading.Thread(target=self._run, name="simulated-engine", daemon=True)
            self._thread.start()

    def start(self, slot: int) -> None:
        """Put the slot behind those that are being worked on."""
        if self._thread is None:
            self._finish(slot)
            return
        with self._changed:
            self._queued.append((slot, self._sizes[slot], time.monotonic()))
            self._changed.notify()

    def close(self, in_flight: Collection[int]) -> None:  # noqa: ARG002 see Backend
        """Let the engine finish all that it has, and end its thread."""
        self._closed = True
        if self._thread is not None:
            with self._changed:
                self._changed.notify()
            self._thread.join()

    def _finish(self, slot: int) -> None:
        self._finished.append(slot)
        self._wake()

    def _run(self) -> None:
        free_s = 0.0  # when the engine has finished all that it has begun: late wake-ups do not add up
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queued or self._closed)
                if not self._queued:
                    return
                slot, frames, started_s = self._queued.popleft()
            free_s = max(free_s, started_s) + self._inference_s(frames)
            while (remaining_s := free_s - time.monotonic()) > 0:
                time.sleep(remaining_s)
            self._finish(slot)


class SimulatedDevice(InferenceDevice):
    """An `InferenceDevice` on a `SimulatedBackend`.

    `inference_s` is the time a batch of n frames takes, as a function of n, or 0 for an instant engine, which
    finishes within `submit` and needs no thread. `detections` says what is found in a frame, in frame pixels; it is
    called in `collect`. `loads` is how busy it says it is.
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
        super().__init__(SimulatedBackend(description, wake, inference_s, loads), StatedReader(detections))
