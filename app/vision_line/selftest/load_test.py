# SPDX-License-Identifier: AGPL-3.0-or-later
"""Load tests: full load on the device alone, and paced cameras from the packet to the result."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from math import ceil
from typing import NamedTuple

from vision_line.errors import DeviceError, RunError, SourceError
from vision_line.frames import DropCause, Frame, Inspection
from vision_line.ingest.mailbox import NewestFrame
from vision_line.scheduler.batching import BatchPlan, Ready, plan_batch
from vision_line.selftest.device_under_test import DeviceUnderTest, LoadResult
from vision_line.selftest.videos import Video, opened
from vision_line.telemetry.load_history import LoadHistory, LoadTotals

#: Period in which the GPU's power and memory are sampled, in seconds.
_SAMPLE_EVERY_S = 0.25

_WAIT_S = 0.05  # longest wait for an event


class GpuWatch:
    """Samples power and memory periodically, in the scheduler's thread."""

    def __init__(self, dut: DeviceUnderTest) -> None:
        self._device = dut.device
        self._history = LoadHistory()
        self._due_s = 0.0
        self.sample(time.monotonic())

    def sample(self, now_s: float) -> None:
        """Take a sample when one is due."""
        if now_s >= self._due_s:
            self._due_s = now_s + _SAMPLE_EVERY_S
            self._history.note(self._device.sample())

    def close(self) -> tuple[LoadTotals, ...]:
        """Take the last sample and return the totals."""
        self._history.note(self._device.sample())
        return self._history.totals()


def run_full(dut: DeviceUnderTest, batch_size: int, seconds: float) -> LoadResult:
    """Submit batches of frames that are already decoded, whenever a slot is free.

    Raises:
        DeviceError, RunError: as the device raises them; RunError also when no result comes.
    """
    device, decoded = dut.device, dut.decoded_frames
    frames = [dut.frame(f"camera{index:02d}", 0, decoded[index % len(decoded)]) for index in range(batch_size)]
    dut.inspect(frames)
    watch = GpuWatch(dut)
    inspected = 0
    began_s, began_cpu_s = time.monotonic(), time.process_time()
    now_s = began_s
    while now_s - began_s < seconds:
        while device.free_slots():
            device.submit(frames)
        inspected += len(dut.next_results())
        now_s = time.monotonic()
        watch.sample(now_s)
    taken_s, cpu_s = now_s - began_s, time.process_time() - began_cpu_s
    gpus = watch.close()
    dut.drained()
    return LoadResult(taken_s, inspected, inspected, (), gpus, cpu_s)


def run_alone(dut: DeviceUnderTest, repeats: int) -> tuple[float, ...]:
    """Return the latencies of single frames on an idle device: milliseconds, ascending.

    Raises:
        DeviceError, RunError: as the device raises them.
    """
    taken_ms = []
    for number in range(repeats):
        frame = dut.frame("alone", number, dut.decoded_frames[number % len(dut.decoded_frames)])
        began_s = time.perf_counter()
        dut.inspect([frame])
        taken_ms.append((time.perf_counter() - began_s) * 1000)
    return tuple(sorted(taken_ms))


def run_paced(dut: DeviceUnderTest) -> LoadResult:
    """Let the cameras send in real time, each decoded in its own thread; the newest frame of each waits.

    Raises:
        DeviceError, RunError: as the device raises them; RunError also when a camera's decoder fails.
    """
    return _PacedRun(dut).run()


class Span(NamedTuple):
    """The measured part of a load test."""

    from_s: float
    until_s: float

    def __contains__(self, at_s: object) -> bool:
        return isinstance(at_s, float) and self.from_s <= at_s < self.until_s


class _Camera:
    """One camera's thread: gives each packet to the decoder when it is due, and the frame to the mailbox."""

    def __init__(self, dut: DeviceUnderTest, video: Video, number: int, began_s: float, stop: threading.Event) -> None:
        """Prepare; cameras are out of phase, as real ones are."""
        self.name = f"camera{number:02d}"
        self.mailbox = NewestFrame(dut.woken.set)
        self.fault = ""
        self._dut = dut
        self._video = video
        self._period_s = 1 / dut.settings.fps
        self._first_s = began_s + number * self._period_s / dut.settings.cameras
        self._stop = stop
        self.thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def due(self, measured: Span) -> int:
        """Return the number of frames that were due to be inspected in that time."""
        last = ceil((measured.until_s - self._first_s) / self._period_s)
        numbers = range(0, last + 1, self._dut.settings.inspect_every)
        return sum(self._due_s(number) in measured for number in numbers)

    def _due_s(self, number: int) -> float:
        return self._first_s + number * self._period_s

    def _run(self) -> None:
        try:
            self._send()
        except (SourceError, DeviceError) as exc:
            self.fault = str(exc)
            self._dut.woken.set()

    def _send(self) -> None:
        with opened(self._video) as (stream, packets), ExitStack() as undo:
            decoder = self._dut.open_decoder(self.name, stream, None)
            undo.callback(decoder.close)
            sequence = number = 0
            while not self._stop.wait(max((due_s := self._due_s(number)) - time.monotonic(), 0.0)):
                self.mailbox.count_arrived()
                for decoded in decoder.decode(packets[number % len(packets)]):
                    if not sequence % self._dut.settings.inspect_every:
                        self.mailbox.put(self._dut.frame(self.name, sequence, decoded, due_s))
                    sequence += 1
                number += 1


class _PacedRun:
    """The scheduler's side of a paced load; it ends with `run`."""

    def __init__(self, dut: DeviceUnderTest) -> None:
        self._dut = dut
        self._device = dut.device
        self._stop = threading.Event()
        video, cameras = dut.video, range(dut.settings.cameras)
        began_s = time.monotonic()
        self._cameras = [_Camera(dut, video, number, began_s, self._stop) for number in cameras]
        self._turns = [-1] * len(self._cameras)
        self._batches = 0
        self._latency_ms: list[float] = []
        from_s = began_s + dut.settings.settle_s
        self._measured = Span(from_s, from_s + dut.settings.seconds)

    def run(self) -> LoadResult:
        """Run for the settling and the measured time, then stop the cameras and drain the device."""
        from_s, until_s = self._measured
        watch: GpuWatch | None = None
        try:
            for camera in self._cameras:
                camera.thread.start()
            while (now_s := time.monotonic()) < until_s and not self._faults():
                if now_s >= from_s:
                    watch = watch or GpuWatch(self._dut)
                    watch.sample(now_s)
                self._inspect()
            gpus = () if watch is None else watch.close()
        finally:
            self._end()
        if faults := self._faults():
            raise RunError(f"selftest: {faults[0]}")
        due = sum(camera.due(self._measured) for camera in self._cameras)
        latency_ms = tuple(sorted(self._latency_ms))
        return LoadResult(until_s - from_s, due, len(latency_ms), latency_ms, gpus)

    def _inspect(self) -> None:
        """Submit what is ready, wait for something to happen, and note the latency of what has finished."""
        while self._device.free_slots() and self._submit():
            pass
        self._dut.woken.wait(_WAIT_S)
        self._dut.woken.clear()
        self._note(self._device.collect())

    def _note(self, inspections: Sequence[Inspection]) -> None:
        now_s = time.monotonic()
        arrivals = [inspection.frame.arrived_s for inspection in inspections]
        self._latency_ms += [(now_s - arrived_s) * 1000 for arrived_s in arrivals if arrived_s in self._measured]

    def _submit(self) -> bool:
        """Submit one batch; return whether there was one."""
        waiting = {index: frame for index, camera in enumerate(self._cameras) if (frame := camera.mailbox.oldest())}
        plan = self._plan(waiting)
        frames = [frame for index in plan.batch if (frame := self._cameras[index].mailbox.take()) is not None]
        if not frames:
            return False
        self._batches += 1
        for index in plan.batch:
            self._turns[index] = self._batches
        self._device.submit(frames)
        return True

    def _plan(self, waiting: dict[int, Frame]) -> BatchPlan:
        shape_for = self._device.shape_for
        ready = [
            Ready(index, frame.arrived_s, shape_for(frame.size_wh), self._turns[index])
            for index, frame in waiting.items()
        ]
        return plan_batch(time.monotonic(), ready, max_batch=self._device.description.max_batch)

    def _faults(self) -> Sequence[str]:
        return [camera.fault for camera in self._cameras if camera.fault]

    def _end(self) -> None:
        """Stop the cameras, and drain the device."""
        self._stop.set()
        for camera in self._cameras:
            if camera.thread.ident is not None:
                camera.thread.join()
            camera.mailbox.drop(DropCause.SHUTDOWN)
        self._note(self._dut.drained())


def percentile(ascending: Sequence[float], share: float) -> float:
    """Return the smallest of `ascending` values (at least one) that `share` of them do not exceed."""
    return ascending[max(1, ceil(share * len(ascending) - 1e-9)) - 1]
