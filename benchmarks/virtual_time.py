# SPDX-License-Identifier: AGPL-3.0-or-later
"""The real scheduler in virtual time: cameras, decoders and engine are played, the scheduler is the product's.

The scheduler's only wait is for its wake-up event. Here that wait plays the world on: it moves the clock to the next
event (a frame arrives, a frame is decoded, a batch is done) until something rings. So the thread itself, its mailboxes
and `plan_batch` run unchanged, a minute of a line takes seconds, and the same seed gives the same run on any machine.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from itertools import count
from math import inf

from benchmarks.control_plane import COLOUR, NoLog, NoTracker
from benchmarks.simulated_device import StatedBackend, StatedReader
from vision_line.capacity.serving import ServingPipeline
from vision_line.config.models import StreamSettings
from vision_line.devices.device import InferenceDevice
from vision_line.devices.several_models import one_model
from vision_line.frames import DefectEvent, Detections, DropCause, Frame, Inspection
from vision_line.ingest.mailbox import NewestFrame
from vision_line.ports import DeviceDescription
from vision_line.scheduler import CameraPipeline, Scheduler, WakeUp

SIZE_WH = (1920, 1080)
MAX_STALENESS_S = StreamSettings().max_staleness_ms / 1000
#: Cameras are opened a few at a time; those that all began at once would all be inspected at once for ever.
START_S = 2.0
WARM_UP_S = 1.0
JOIN_LIMIT_S = 600.0


@dataclass(slots=True)
class Findings:
    """What a run showed while it was watched."""

    latency_s: list[float] = field(default_factory=list)  # of results that came meanwhile
    batches: list[int] = field(default_factory=list)
    dropped: dict[DropCause, int] = field(default_factory=dict)
    wanted: float = 0.0  # inspections
    backlog_s: float = 0.0  # of the decoder that is furthest behind, at the end
    busy: float = 0.0  # share of the time in which the engine worked

    @property
    def mean_s(self) -> float:
        """Mean time from a frame's last packet to its result."""
        return sum(self.latency_s) / len(self.latency_s) if self.latency_s else inf

    @property
    def lost(self) -> float:
        """Share of the wanted inspections that did not come about."""
        if DropCause.RATE_CAP in self.dropped:
            return max(0.0, 1.0 - len(self.latency_s) / self.wanted)
        lost = self.dropped.get(DropCause.SUPERSEDED, 0) + self.dropped.get(DropCause.STALE, 0)
        return lost / max(1, lost + len(self.latency_s))


class VirtualTime(WakeUp):
    """A clock with events, and the wake-up event whose waiting lets them happen. Used by the scheduler alone."""

    def __init__(self) -> None:
        """Start at zero with nothing to happen."""
        super().__init__()
        self.now_s = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._notified = False

    def monotonic(self) -> float:
        """Return the present."""
        return self.now_s

    def at(self, at_s: float, happen: Callable[[], None]) -> None:
        """Let something happen at a moment; of one moment, in the order of asking."""
        heappush(self._events, (at_s, next(self._numbers), happen))

    def spend(self, seconds: float) -> None:
        """Let time go by while the scheduler works."""
        self._play(self.now_s + seconds, until_notified=False)

    def notify(self) -> None:
        """Notify."""
        self._notified = True

    def wait(self, timeout_s: float) -> None:
        """Play on until notified or until the time is over."""
        if not self._notified:
            self._play(self.now_s + timeout_s, until_notified=True)
        self._notified = False
        self._accepting = True

    def _play(self, until_s: float, *, until_notified: bool) -> None:
        while self._events and self._events[0][0] <= until_s:
            at_s, _, happen = heappop(self._events)
            self.now_s = max(self.now_s, at_s)
            happen()
            if until_notified and self._notified:
                return
        self.now_s = max(self.now_s, until_s)


class VirtualEngine(StatedBackend):
    """Implements `Backend`: works through its batches one after the other, in virtual time."""

    def __init__(self, works: ServingPipeline, time: VirtualTime) -> None:
        """Start idle."""
        super().__init__(DeviceDescription("virtual", "", "int8", ((384, 640),), works.slots, works.max_batch))
        self._works = works
        self._time = time
        self._free_s = 0.0
        self.worked_s = 0.0

    def start(self, slot: int) -> None:
        """Put the slot behind those that are being worked on."""
        seconds = self._works.batch_s(self._sizes[slot])
        self._free_s = max(self._free_s, self._time.now_s) + seconds
        self.worked_s += seconds
        self._time.at(self._free_s, partial(self._finish, slot))

    def close(self, in_flight: Collection[int]) -> None:
        """Do nothing: there is no engine."""

    def _finish(self, slot: int) -> None:
        self._finished.append(slot)
        self._time.notify()


class Gauge:
    """Implements the scheduler's `Observer`: notes latencies and batches while it is `open`."""

    def __init__(self, time: VirtualTime) -> None:
        """Begin closed."""
        self.findings = Findings()
        self.open = False
        self._time = time

    def batch(self, frames: int) -> None:
        """Note a batch's size."""
        if self.open:
            self.findings.batches.append(frames)

    def inspected(self, inspection: Inspection, now_s: float) -> None:
        """Note a result's latency."""
        if self.open:
            self.findings.latency_s.append(now_s - inspection.frame.arrived_s)

    def event(self, event: DefectEvent) -> None:
        """Ignore it."""


class Cameras:
    """Sends every camera's frames through the decoder that it shares into its mailbox."""

    def __init__(
        self, works: ServingPipeline, time: VirtualTime, lines: Sequence[CameraPipeline], starts_s: Sequence[float]
    ) -> None:
        """Schedule each camera's first frame."""
        self._works = works
        self._time = time
        self._lines = lines
        self._sent = [0] * len(lines)
        self._decoder_free_s = [0.0] * works.decoders
        for index, start_s in enumerate(starts_s):
            time.at(start_s, partial(self._arrive, index))

    def backlog_s(self) -> float:
        """Return how far the decoder with the most to do is behind."""
        return max(0.0, max(self._decoder_free_s) - self._time.now_s)

    def _arrive(self, index: int) -> None:
        now_s = self._time.now_s
        decoder = index % self._works.decoders
        done_s = max(now_s, self._decoder_free_s[decoder]) + self._works.decode_s
        self._decoder_free_s[decoder] = done_s
        line = self._lines[index]
        line.mailbox.count_arrived()
        frame = Frame(line.camera, self._sent[index], SIZE_WH, COLOUR, None, now_s, now_s, done_s)
        self._sent[index] += 1
        self._time.at(done_s, lambda: line.mailbox.put(frame))
        self._time.at(now_s + 1 / self._works.fps, partial(self._arrive, index))


def draw_starts(cameras: int, seed: int) -> list[float]:
    """Return when each camera sends its first frame, in seconds."""
    chance = random.Random(seed)
    return [chance.random() * START_S for _ in range(cameras)]


def run(works: ServingPipeline, seconds: float, starts_s: Sequence[float]) -> Findings:
    """Play a line until all cameras have begun and settled, then watch it for `seconds` of virtual time."""
    time = VirtualTime()
    engine = VirtualEngine(works, time)
    device = one_model(InferenceDevice(engine, StatedReader(), clock=time.monotonic))
    gauge = Gauge(time)
    scheduler = Scheduler(device, NoLog(), time, observer=gauge, on_update=lambda _: None, monotonic=time.monotonic)
    lines = [_line(works, time, f"cam{number:04d}") for number in range(works.cameras)]
    for line in lines:
        scheduler.add(line)
    cameras = Cameras(works, time, lines, starts_s)
    findings = gauge.findings
    before: Counter[DropCause] = Counter()

    def begin() -> None:
        before.update(_dropped(lines))
        gauge.open = True
        engine.worked_s = 0.0

    def end() -> None:
        gauge.open = False
        findings.dropped = dict(_dropped(lines) - before)
        findings.backlog_s = cameras.backlog_s()
        findings.busy = engine.worked_s / seconds
        scheduler.stop()

    time.at(START_S + WARM_UP_S, begin)
    time.at(START_S + WARM_UP_S + seconds, end)
    scheduler.start()
    if not scheduler.join(JOIN_LIMIT_S):
        raise TimeoutError(f"a run of {seconds:g} virtual seconds took more than {JOIN_LIMIT_S:g} s")
    scheduler.outcome.result()
    findings.wanted = works.cameras * works.inspect_fps * seconds
    return findings


def _line(works: ServingPipeline, time: VirtualTime, name: str) -> CameraPipeline:
    def keep(detections: Detections, _: tuple[int, int]) -> tuple[Detections, Detections]:
        time.spend(works.host_s)
        return detections, detections

    period_s = 1 / works.inspect_fps if works.inspect_fps < works.fps else 0.0
    mailbox = NewestFrame(partial(time.notify_frame, name))
    return CameraPipeline(name, mailbox, keep, NoTracker(), max_staleness_s=MAX_STALENESS_S, inspect_period_s=period_s)


def _dropped(lines: Sequence[CameraPipeline]) -> Counter[DropCause]:
    dropped: Counter[DropCause] = Counter()
    for line in lines:
        dropped.update(line.mailbox.counts().dropped)
    return dropped
