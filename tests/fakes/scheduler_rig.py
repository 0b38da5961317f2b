# SPDX-License-Identifier: AGPL-3.0-or-later
"""A scheduler on a simulated device, and what it tells its log, its observer and its watcher."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from benchmarks.simulated_device import SimulatedDevice
from tests.builders import make_detections, make_frame
from tests.fakes.waiting import WAIT_S, wait_for

from vision_line.config.models import StreamSettings
from vision_line.devices.several_models import one_model
from vision_line.frames import (
    CoverageMinute,
    DefectEvent,
    Detections,
    DropCause,
    Frame,
    Inspection,
    NotInspected,
    ShownEvent,
    StateChange,
    TrackedObject,
)
from vision_line.ingest.mailbox import BoundedQueue, NewestFrame
from vision_line.inspection.detection_filter import DetectionFilter
from vision_line.inspection.tracking.events import EventTracker
from vision_line.ports import DeviceDescription, LogStatus
from vision_line.scheduler import CameraPipeline, Reviewer, Scheduler, SchedulerUpdate, WakeUp

CLASSES = ("open", "short")


@dataclass
class MemoryLog:
    """A detection log that keeps what it is given, and can be told to be full."""

    inspected: list[tuple[str, int]] = field(default_factory=list)
    events: list[DefectEvent] = field(default_factory=list)
    writable: bool = True

    def write_inspection(self, inspection: Inspection, events: Sequence[DefectEvent]) -> None:
        self.inspected.append((inspection.frame.camera, inspection.frame.sequence))
        self.events.extend(events)

    def write_events(self, events: Sequence[DefectEvent]) -> None:
        self.events.extend(events)

    def write_coverage(self, minutes: Sequence[CoverageMinute], intervals: Sequence[NotInspected]) -> None:
        raise AssertionError("the ledger is the loop's affair")

    def write_states(self, changes: Sequence[StateChange]) -> None:
        raise AssertionError("states are the loop's affair")

    def status(self) -> LogStatus:
        return LogStatus(self.writable, "" if self.writable else "disk full", 0, 0.0, 0, 0, 0)

    def close(self) -> None:
        pass


@dataclass
class Tally:
    """Counts what the scheduler's thread reports."""

    batches: list[int] = field(default_factory=list)
    kept: int = 0
    events: list[DefectEvent] = field(default_factory=list)

    def batch(self, frames: int) -> None:
        self.batches.append(frames)

    def inspected(self, inspection: Inspection, now_s: float) -> None:
        assert now_s >= inspection.frame.arrived_s
        self.kept += len(inspection.detections)

    def event(self, event: DefectEvent) -> None:
        self.events.append(event)


def arrived(camera: str, sequence: int, arrived_s: float | None = None) -> Frame:
    """Return a frame that arrived just now if nothing else is said."""
    at_s = time.monotonic() if arrived_s is None else arrived_s
    return make_frame(camera, sequence, at_s=at_s, at_utc=time.time())


def one_defect(inspected: Frame) -> Detections:
    """A defect that stands still in the middle."""
    return make_detections((300, 170, 320, 190), class_id=1)


@dataclass
class Watcher:
    """Remembers what it saw, and how far the log was by then."""

    log: MemoryLog
    seen: list[tuple[str, int]] = field(default_factory=list)
    recipes: list[str] = field(default_factory=list)
    criteria: list[int] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    events: list[DefectEvent] = field(default_factory=list)
    is_after_log: bool = True

    def result(
        self,
        inspection: Inspection,
        events: Sequence[DefectEvent],
        shown: Callable[[], Sequence[ShownEvent]],
        tracks: Callable[[], Sequence[TrackedObject]],
    ) -> None:
        self.seen.append((inspection.frame.camera, inspection.frame.sequence))
        self.recipes.append(inspection.recipe)
        self.criteria.append(inspection.criteria)
        self.models.append(inspection.model)
        self.decide(events)
        self.is_after_log &= self.seen == self.log.inspected

    def decide(self, events: Sequence[DefectEvent]) -> None:
        self.events.extend(events)
        self.is_after_log &= self.events == self.log.events


class Rig:
    """A scheduler on a simulated device, with what it reported."""

    def __init__(
        self,
        *,
        slots: int = 2,
        max_batch: int = 1,
        inference_s: float = 0.0,
        detections: Callable[[Frame], Detections] | None = None,
        fill_s: float = 0.0,
        reviewer: Reviewer | None = None,
    ) -> None:
        self.bell = WakeUp()
        self.log = MemoryLog()
        self.tally = Tally()
        self.watcher = Watcher(self.log)
        self.rounds: list[SchedulerUpdate] = []
        description = DeviceDescription("simulated", "", "int8", ((192, 320),), slots, max_batch)
        find = detections or (lambda _: Detections.empty())
        self.device = SimulatedDevice(description, self.bell.notify, inference_s, find)
        self.scheduler = Scheduler(
            one_model(self.device),
            self.log,
            self.bell,
            observer=self.tally,
            on_update=self.rounds.append,
            watcher=self.watcher,
            fill_s=fill_s,
            reviewer=reviewer,
        )
        self.lines: dict[str, CameraPipeline] = {}

    def add(
        self, camera: str, *, live: bool = True, inspect_fps: float = 0.0, staleness_s: float = 60.0
    ) -> CameraPipeline:
        settings = StreamSettings()
        line = CameraPipeline(
            camera,
            (NewestFrame if live else BoundedQueue)(partial(self.bell.notify_frame, camera)),
            DetectionFilter(CLASSES, settings, 0.25),
            EventTracker(camera, CLASSES, settings, 0.25),
            live,
            staleness_s,
            1 / inspect_fps if inspect_fps else 0.0,
        )
        self.lines[camera] = line
        self.scheduler.add(line)
        return line

    def put(self, camera: str, sequence: int, arrived_s: float | None = None, behind_s: float = 0.0) -> None:
        made = arrived(camera, sequence, arrived_s)
        made.behind_s = behind_s
        self.lines[camera].mailbox.count_arrived()
        self.lines[camera].mailbox.put(made)

    def until(self, condition: Callable[[], bool]) -> None:
        wait_for(condition, lambda: (self.log.inspected[-5:], self.counts()))

    def counts(self) -> dict[str, tuple[int, int, dict[DropCause, int]]]:
        found = {}
        for name, line in self.lines.items():
            counts = line.mailbox.counts()
            found[name] = (counts.arrived, line.inspected, counts.dropped)
        return found

    def end(self) -> None:
        self.scheduler.stop()
        assert self.scheduler.join(WAIT_S)
        self.device.close()


def rig_on(device: type[SimulatedDevice], *, slots: int = 2, max_batch: int = 1) -> Rig:
    """Return a rig whose device is of another kind."""
    rig = Rig(slots=slots, max_batch=max_batch)
    rig.device = device(rig.device.description, rig.bell.notify, 0.0, one_defect)
    rig.scheduler = Scheduler(one_model(rig.device), rig.log, rig.bell, observer=rig.tally, on_update=rig.rounds.append)
    return rig
