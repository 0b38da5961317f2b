# SPDX-License-Identifier: AGPL-3.0-or-later
"""One box of a plant in virtual time: cameras that are opened and closed while it runs, decoders and an engine.

Played are the cameras' frames, how long it takes to open one, and the times of decoders and engine, which are the
capacity model's. The scheduler with its batches and turns, the mailboxes and the ledger are the product's.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.control_plane import COLOUR, NoLog, NoTracker
from benchmarks.simulated_device import StatedReader
from benchmarks.stepped_time import SteppedTime
from benchmarks.virtual_time import JOIN_LIMIT_S, SIZE_WH, START_S, VirtualEngine
from vision_line.capacity.serving import ServingPipeline
from vision_line.config.models import Stream
from vision_line.devices.device import InferenceDevice
from vision_line.devices.several_models import one_model
from vision_line.frames import CameraState, DefectEvent, Detections, Frame, Inspection, NotInspected, StateChange
from vision_line.ingest.mailbox import NewestFrame
from vision_line.inspection.coverage.causes import Absence
from vision_line.inspection.coverage.ledger import CoverageLedger
from vision_line.inspection.coverage.minutes import CameraCounts
from vision_line.inspection.coverage.window import Need
from vision_line.runtime.camera_manager import OPENING_AT_ONCE
from vision_line.runtime.ledger_updater import TICK_S
from vision_line.scheduler import CameraPipeline, Scheduler, SchedulerUpdate

#: How long it takes until the first frame of a camera that is opened: drawn evenly.
CONNECT_S = (0.5, 2.0)
#: Cameras that are opened before this moment begin at drawn ones: else all of them would be inspected at once.
BEGUN_S = 1.0


@dataclass(frozen=True, slots=True)
class PlantCamera:
    """A camera of the plant; `phase_s` is when in its period it sends a frame, wherever it is inspected."""

    stream: Stream
    phase_s: float

    @property
    def need(self) -> Need:
        """What the ledger asks of it, as of a live camera."""
        stream = self.stream
        waits_s = stream.max_staleness_ms / 1000
        return Need(
            stream.inspection_gap_s, stream.needed_inspections, stream.dwell_s, waits_s, cap_fps=stream.inspect_fps
        )


class BoxCamera:
    """A camera while a box has it open."""

    def __init__(self, camera: PlantCamera, box: PlantBox, decoder: int) -> None:
        """Begin unopened."""
        stream = camera.stream
        self.camera = camera
        self.decoder = decoder
        self.opened_s = box.time.now_s
        self.first_inspected_s: float | None = None
        self.last_inspected_s: float | None = None
        self.is_closed = False
        self.sent = 0
        self.mailbox = NewestFrame(partial(box.time.notify_frame, stream.name))
        self.pipeline = CameraPipeline(
            stream.name,
            self.mailbox,
            box.keep,
            NoTracker(),
            max_staleness_s=stream.max_staleness_ms / 1000,
            inspect_period_s=1.0 / (stream.inspect_fps or 0.0),
            period_s=1.0 / stream.needed_fps,
            dwell_s=stream.dwell_s,
        )

    def counts(self) -> CameraCounts:
        """Return the ledger's view of its frames."""
        counts = self.mailbox.counts()
        return CameraCounts(counts.arrived, counts.decoded, self.pipeline.inspected, counts.dropped)


class PlantBox:
    """A box; everything is called while its scheduler's thread stands between two steps."""

    def __init__(self, name: str, works: ServingPipeline, chance: random.Random) -> None:
        """Start its scheduler, without a camera."""
        self.name = name
        self.time = SteppedTime()
        self.cameras: dict[str, BoxCamera] = {}
        self.results: list[tuple[float, float]] = []  # when a result was there, and its frame's age
        self.intervals: dict[str, NotInspected] = {}
        self._works = works
        self._chance = chance
        self._decoder_free_s = [0.0] * works.decoders
        self._queue: deque[BoxCamera] = deque()  # to be opened
        self._opening = 0
        self._closed: Counter[str] = Counter()  # drops of cameras that it has no more
        self._ledger = CoverageLedger()
        device = one_model(InferenceDevice(VirtualEngine(works, self.time), StatedReader(), clock=self.time.monotonic))
        self._scheduler = Scheduler(
            device, NoLog(), self.time, observer=self, on_update=self._note, monotonic=self.time.monotonic
        )
        self.time.at(0.0, self._tick)
        self._scheduler.start()
        self.time.await_arrival()

    def open(self, camera: PlantCamera, absence: Absence | None) -> None:
        """Begin to inspect a camera, which was not inspected before as `absence` says."""
        sessions = Counter(dict.fromkeys(range(self._works.decoders), 0))
        sessions.update(one.decoder for one in self.cameras.values())
        opened = BoxCamera(camera, self, min(sessions, key=lambda index: (sessions[index], index)))
        now_s, name = self.time.now_s, camera.stream.name
        self.cameras[name] = opened
        self._ledger.add_camera(name, camera.need, now_s, now_s, absence)
        self._scheduler.add(opened.pipeline)
        if now_s < BEGUN_S:
            self._opening += 1
            self.time.at(self._chance.uniform(now_s, START_S), partial(self._run, opened))
        else:
            self._queue.append(opened)
            self._open_next()

    def close(self, name: str) -> None:
        """Give a camera up."""
        camera, now_s = self.cameras.pop(name), self.time.now_s
        camera.is_closed = True
        self._scheduler.remove(name)
        self._ledger.state(StateChange(name, CameraState.REMOVED, now_s, now_s))
        self._keep(self._ledger.remove_camera(name, camera.counts(), now_s, now_s)[1])
        self._closed.update(camera.counts().dropped)

    def inspected(self, inspection: Inspection, now_s: float) -> None:
        """Note a result: it is the scheduler's observer."""
        frame = inspection.frame
        self.results.append((now_s, now_s - frame.arrived_s))
        if (camera := self.cameras.get(frame.camera)) is not None:
            camera.last_inspected_s = frame.captured_s
            if camera.first_inspected_s is None:
                camera.first_inspected_s = frame.captured_s

    def batch(self, frames: int) -> None:
        """Ignore a batch's size."""

    def event(self, event: DefectEvent) -> None:
        """Ignore it."""

    def inspected_cameras(self) -> set[str]:
        """Return the cameras that are inspected now as often as they need."""
        lacking = {interval.camera for interval in self._ledger.open_intervals()}
        return {name for name, one in self.cameras.items() if one.first_inspected_s is not None} - lacking

    def drops(self) -> Counter[str]:
        """Return how many frames were dropped, by their cause."""
        found = Counter(self._closed)
        for camera in self.cameras.values():
            found.update(camera.counts().dropped)
        return found

    def end(self, *, died: bool = False) -> None:
        """End the thread; one that died leaves its ledger as it is."""
        if not died:
            now_s = self.time.now_s
            counts = {name: camera.counts() for name, camera in self.cameras.items()}
            self._keep(self._ledger.close(now_s, now_s, counts)[1])
        self._scheduler.abort()
        self.time.release()
        if not self._scheduler.join(JOIN_LIMIT_S):
            raise TimeoutError(f"the scheduler of {self.name} does not end")
        self._scheduler.outcome.result()

    def keep(self, detections: Detections, _: tuple[int, int]) -> tuple[Detections, Detections]:
        """Keep all of them, which takes the scheduler's thread its time."""
        self.time.spend(self._works.host_s)
        return detections, detections

    def _open_next(self) -> None:
        while self._queue and self._opening < OPENING_AT_ONCE:
            self._opening += 1
            self.time.at(self.time.now_s + self._chance.uniform(*CONNECT_S), partial(self._run, self._queue.popleft()))

    def _run(self, camera: BoxCamera) -> None:
        """A camera has been opened: its first frame comes when its next one is due."""
        self._opening -= 1
        self._open_next()
        if camera.is_closed:
            return
        now_s, period_s = self.time.now_s, 1 / self._works.fps
        self._ledger.state(StateChange(camera.camera.stream.name, CameraState.RUNNING, now_s, now_s))
        wait_s = (camera.camera.phase_s - now_s) % period_s
        self.time.at(now_s + wait_s, partial(self._arrive, camera))

    def _arrive(self, camera: BoxCamera) -> None:
        if camera.is_closed:
            return
        now_s = self.time.now_s
        done_s = max(now_s, self._decoder_free_s[camera.decoder]) + self._works.decode_s
        self._decoder_free_s[camera.decoder] = done_s
        camera.mailbox.count_arrived()
        name = camera.camera.stream.name
        frame = Frame(name, camera.sent, SIZE_WH, COLOUR, None, now_s, now_s, done_s)
        camera.sent += 1
        self.time.at(done_s, partial(camera.mailbox.put, frame))
        self.time.at(now_s + 1 / self._works.fps, partial(self._arrive, camera))

    def _note(self, update: SchedulerUpdate) -> None:
        for frame in update.inspected_frames:
            self._ledger.inspected(frame.camera, frame.captured_s)

    def _tick(self) -> None:
        now_s = self.time.now_s
        counts = {name: camera.counts() for name, camera in self.cameras.items()}
        self._keep(self._ledger.tick(now_s, now_s, counts)[1])
        self.time.at(now_s + TICK_S, self._tick)

    def _keep(self, intervals: Sequence[NotInspected]) -> None:
        for interval in intervals:
            self.intervals[interval.interval_id] = interval
