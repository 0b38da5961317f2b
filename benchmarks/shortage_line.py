# SPDX-License-Identifier: AGPL-3.0-or-later
"""A line whose decoding and inspecting share a few cores, in virtual time: which parts get their inspections.

Played are the cameras' packets, the cores, and the time that decoding and the engine take. What decides is the
product's: `FrameAge`, `Intake` and `DecodeWatch` which frames are decoded, the scheduler with its batches, turns and
rests which are inspected, the ledger what is reported. The same line gives the same result on any machine.
"""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial

import av

from benchmarks.control_plane import COLOUR, NoLog, NoTracker
from benchmarks.shared_cores import SharedCores
from benchmarks.simulated_device import StatedBackend, StatedReader
from benchmarks.virtual_time import JOIN_LIMIT_S, SIZE_WH, VirtualTime
from vision_line.config.models import Stream
from vision_line.devices.device import InferenceDevice
from vision_line.devices.several_models import one_model
from vision_line.encoded import EncodedFrame
from vision_line.errors import SourceError
from vision_line.frames import (
    CameraState,
    DefectEvent,
    Detections,
    DropCause,
    Frame,
    Inspection,
    NotInspected,
    StateChange,
)
from vision_line.ingest.age import FrameAge
from vision_line.ingest.intake import Intake
from vision_line.ingest.lifecycle import Backoff
from vision_line.ingest.mailbox import NewestFrame
from vision_line.ingest.shedding import DecodeLoad
from vision_line.inspection.coverage.ledger import CoverageLedger
from vision_line.inspection.coverage.minutes import CameraCounts
from vision_line.inspection.coverage.window import Need
from vision_line.ports import DeviceDescription
from vision_line.runtime.decode_watch import PERIOD_S, DecodeWatch
from vision_line.runtime.ledger_updater import TICK_S
from vision_line.scheduler import CameraPipeline, Scheduler, SchedulerUpdate

START_S = 2.0  # within which the cameras begin
PART_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class SharedLine:
    """Cameras of one kind, and the cores that decode and inspect them."""

    cameras: int
    cores: int
    decode_s: float  # of a core, a frame
    inspect_s: float  # of a core, an inspection, with all that belongs to it
    fps: float = 25.0
    group: int = 50  # frames from keyframe to keyframe
    read_s: float = 0.0003  # of a core, a frame, decoded or not
    dwell_s: float = 4.0
    inspections: int = 7  # that each part needs
    camera_weight: float = 1.0  # of the cameras' threads, against the engine's

    @property
    def load(self) -> float:
        """What all frames decoded and every part inspected would take, as a share of the cores: 1 is the capacity."""
        camera = self.fps * (self.read_s + self.decode_s) + self.inspections / self.dwell_s * self.inspect_s
        return self.cameras * camera / self.cores

    @property
    def best_share(self) -> float:
        """The largest share of parts that any schedule can give their inspections.

        An inspection counts for the parts in view, so a share of the parts needs that share of `inspections` /
        `dwell_s` a second, and a frame that is inspected was read and decoded.
        """
        left = self.cores - self.cameras * self.fps * self.read_s
        need = self.cameras * self.inspections / self.dwell_s * (self.decode_s + self.inspect_s)
        return max(0.0, min(1.0, left / need))


@dataclass(slots=True)
class Shown:
    """What became of one camera's parts."""

    inspected_s: list[float] = field(default_factory=list)
    intervals: dict[str, NotInspected] = field(default_factory=dict)
    dropped: dict[DropCause, int] = field(default_factory=dict)
    decoded: int = 0
    reconnects: int = 0


class SharedEngine(StatedBackend):
    """Implements `Backend`: a frame a batch, as many at once as there are cores."""

    def __init__(self, line: SharedLine, time: VirtualTime, cores: SharedCores) -> None:
        """Start idle."""
        super().__init__(DeviceDescription("cpu", "", "int8", ((384, 640),), line.cores + 1, 1))
        self._time = time
        self._cores = cores
        self._inspect_s = line.inspect_s
        self._idle = line.cores
        self._queue: deque[int] = deque()

    def start(self, slot: int) -> None:
        """Put the slot behind those that are being worked on."""
        self._queue.append(slot)
        self._begin()

    def close(self, in_flight: Collection[int]) -> None:
        """Do nothing: there is no engine."""

    def _begin(self) -> None:
        while self._idle and self._queue:
            self._idle -= 1
            self._cores.work(self._inspect_s, partial(self._finish, self._queue.popleft()))

    def _finish(self, slot: int) -> None:
        self._idle += 1
        self._begin()
        self._finished.append(slot)
        self._time.notify()


def _keep(detections: Detections, _: tuple[int, int]) -> tuple[Detections, Detections]:
    return detections, detections


class SharedCamera:
    """A camera and its thread: reads one packet after the other, decodes what `Intake` chooses, opens again."""

    def __init__(self, name: str, line: SharedLine, time: VirtualTime, cores: SharedCores, start_s: float) -> None:
        """Send the first frame at `start_s`."""
        self.stream = Stream.model_validate(
            {"name": name, "url": "rtsp://10.0.0.1/x", "dwell_s": line.dwell_s, "min_hits": line.inspections}
        )
        self.load = DecodeLoad()
        self.mailbox = NewestFrame(partial(time.notify_frame, name))
        self.pipeline = CameraPipeline(
            name,
            self.mailbox,
            _keep,
            NoTracker(),
            max_staleness_s=self._limit_s,
            period_s=1.0 / self.stream.needed_fps,
            dwell_s=line.dwell_s,
        )
        self.on_state: Callable[[StateChange], None] = lambda _: None
        self.reconnects = 0
        self._line = line
        self._time = time
        self._cores = cores
        self._backoff = Backoff()
        self._packets: deque[int] = deque()  # not read yet
        self._sent = 0
        self._is_open = True
        self._works = False
        self._connect()
        time.at(start_s, self._send)

    @property
    def _limit_s(self) -> float:
        return self.stream.max_staleness_ms / 1000

    def counts(self) -> CameraCounts:
        """Return the ledger's view of its frames, as `ManagedCamera` has it."""
        counts = self.mailbox.counts()
        return CameraCounts(counts.arrived, counts.decoded, self.pipeline.inspected, counts.dropped, self.reconnects)

    def _connect(self) -> None:
        self._age = FrameAge()
        self._intake = Intake(self.stream.name, self._limit_s, self.load, self.mailbox.count_dropped)
        self._busy_s = 0.0
        self._chosen: deque[EncodedFrame] = deque()
        self._opened_s = self._time.now_s

    def _send(self) -> None:
        if self._is_open:
            self._packets.append(self._sent)
            self._go_on()
        self._sent += 1
        self._time.at(self._time.now_s + 1 / self._line.fps, self._send)

    def _go_on(self) -> None:
        if self._works or not self._is_open:
            return
        if self._chosen:
            self._decode(self._chosen.popleft(), self._line.decode_s)
        elif self._packets:
            self._read(self._packets.popleft())

    def _work(self, seconds: float, then: Callable[[], None]) -> None:
        self._works = True
        self._cores.work(seconds, partial(self._worked, then), self._line.camera_weight)

    def _worked(self, then: Callable[[], None]) -> None:
        self._works = False
        then()
        self._go_on()

    def _read(self, number: int) -> None:
        """Take a packet; what reading takes is part of what follows it."""
        line, now_s = self._line, self._time.now_s
        packet = av.Packet(b"x" * 100)
        packet.pts, packet.time_base = number, Fraction(1, round(line.fps))
        behind_s = self._age.saw(now_s, self._busy_s, number / line.fps)
        self._busy_s = 0.0
        self.mailbox.count_arrived()
        frame = EncodedFrame(packet, None, number % line.group == 0, now_s, now_s, behind_s=behind_s)
        try:
            self._chosen.extend(self._intake.take(frame, self._age))
        except SourceError as error:
            self.mailbox.count_dropped(DropCause.CORRUPT)
            self._give_up(error)
            return
        if self._chosen:
            self._decode(self._chosen.popleft(), line.read_s + line.decode_s)
        else:
            self._work(line.read_s, lambda: None)

    def _decode(self, frame: EncodedFrame, seconds: float) -> None:
        began_s = self._time.now_s

        def then() -> None:
            now_s = self._time.now_s
            self._busy_s += now_s - began_s
            self._intake.decoded(now_s - began_s)
            if frame.shown and frame.behind_s > self._limit_s:
                self.mailbox.count_dropped(DropCause.BEHIND)
            elif frame.shown:
                self._put(frame, now_s)

        self._work(seconds, then)

    def _put(self, frame: EncodedFrame, now_s: float) -> None:
        at_s, number = frame.arrived_s, self.mailbox.counts().decoded
        shown = Frame(self.stream.name, number, SIZE_WH, COLOUR, None, at_s, at_s, now_s, behind_s=frame.behind_s)
        self.mailbox.put(shown)

    def _give_up(self, error: SourceError) -> None:
        """Close the connection as `Camera` does, and open another."""
        self._is_open = False
        self._packets.clear()
        now_s = self._time.now_s
        self._backoff = self._backoff.after_run(now_s - self._opened_s).after_failure()
        self.on_state(StateChange(self.stream.name, CameraState.RECONNECTING, now_s, now_s, code=str(error.code)))
        self._time.at(now_s + self._backoff.wait_s(error.code, 0.5), self._open)

    def _open(self) -> None:
        self._is_open = True
        self.reconnects += 1
        self._connect()
        now_s = self._time.now_s
        self.on_state(StateChange(self.stream.name, CameraState.RUNNING, now_s, now_s))


class _NoObserver:
    """Implements `Observer` for nobody."""

    def batch(self, frames: int) -> None:
        """Ignore it."""

    def inspected(self, inspection: Inspection, now_s: float) -> None:
        """Ignore it."""

    def event(self, event: DefectEvent) -> None:
        """Ignore it."""


class _Play:
    """One line while it is played."""

    def __init__(self, line: SharedLine, seed: int) -> None:
        self._time = time = VirtualTime()
        cores, chance = SharedCores(time, line.cores), random.Random(seed)
        self._cameras = [
            SharedCamera(f"cam{n:02d}", line, time, cores, chance.random() * START_S) for n in range(line.cameras)
        ]
        self.shown = {camera.stream.name: Shown() for camera in self._cameras}
        self._ledger = CoverageLedger()
        self._watch = DecodeWatch(lambda: self._cameras, lambda _: None)
        device = InferenceDevice(SharedEngine(line, time, cores), StatedReader(), clock=time.monotonic)
        self.scheduler = Scheduler(
            one_model(device),
            NoLog(),
            time,
            observer=_NoObserver(),
            on_update=self._note,
            monotonic=time.monotonic,
        )
        for camera in self._cameras:
            self._begin(camera)

    def run(self, seconds: float) -> None:
        """Play for so long."""
        self._tick()
        self._check()
        self._time.at(seconds, self._end)
        self.scheduler.start()
        if not self.scheduler.join(JOIN_LIMIT_S):
            raise TimeoutError(f"a run of {seconds:g} virtual seconds took more than {JOIN_LIMIT_S:g} s")
        self.scheduler.outcome.result()

    def _begin(self, camera: SharedCamera) -> None:
        stream = camera.stream
        need = Need(stream.inspection_gap_s, stream.needed_inspections, stream.dwell_s, stream.max_staleness_ms / 1000)
        self._ledger.add_camera(stream.name, need, 0.0, 0.0)
        self._ledger.state(StateChange(stream.name, CameraState.RUNNING, 0.0, 0.0))
        camera.on_state = self._ledger.state
        self.scheduler.add(camera.pipeline)

    def _counts(self) -> dict[str, CameraCounts]:
        return {camera.stream.name: camera.counts() for camera in self._cameras}

    def _note(self, update: SchedulerUpdate) -> None:
        for frame in update.inspected_frames:
            self.shown[frame.camera].inspected_s.append(frame.captured_s)
            self._ledger.inspected(frame.camera, frame.captured_s)

    def _report(self, intervals: Sequence[NotInspected]) -> None:
        for interval in intervals:
            self.shown[interval.camera].intervals[interval.interval_id] = interval

    def _tick(self) -> None:
        now_s = self._time.now_s
        self._report(self._ledger.tick(now_s, now_s, self._counts())[1])
        self._time.at(now_s + TICK_S, self._tick)

    def _check(self) -> None:
        self._watch.check(self._time.now_s)
        self._time.at(self._time.now_s + PERIOD_S, self._check)

    def _end(self) -> None:
        now_s, counts = self._time.now_s, self._counts()
        self._report(self._ledger.close(now_s, now_s, counts)[1])
        for name, final in self.shown.items():
            final.dropped, final.decoded = counts[name].dropped, counts[name].decoded
            final.reconnects = counts[name].reconnects
        self.scheduler.stop()


def play(line: SharedLine, seconds: float, seed: int = 1) -> dict[str, Shown]:
    """Play a line for `seconds` of virtual time and return what became of each camera."""
    played = _Play(line, seed)
    played.run(seconds)
    return played.shown


def parts_between(from_s: float, until_s: float, dwell_s: float) -> list[float]:
    """Return when parts come that stay within this time: one every `PART_EVERY_S`."""
    return [from_s + n * PART_EVERY_S for n in range(int((until_s - dwell_s - from_s) / PART_EVERY_S) + 1)]


def has_enough(shown: Shown, line: SharedLine, entry_s: float) -> bool:
    """Whether the part that came at this moment had its inspections."""
    times = shown.inspected_s
    return bisect_right(times, entry_s + line.dwell_s) - bisect_left(times, entry_s) >= line.inspections


def share_with_enough(shown: Shown, line: SharedLine, from_s: float, until_s: float) -> float:
    """Return the share of one camera's parts that had their inspections."""
    parts = parts_between(from_s, until_s, line.dwell_s)
    return sum(has_enough(shown, line, entry_s) for entry_s in parts) / len(parts)
