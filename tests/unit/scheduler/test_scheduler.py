# SPDX-License-Identifier: AGPL-3.0-or-later
"""The scheduler's thread: every frame is accounted for, in order, and trouble is loud."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import pytest
from benchmarks.simulated_device import SimulatedDevice
from tests.builders import make_detections, make_frame
from tests.fakes.waiting import WAIT_S, wait_for

from vision_line.config.models import StreamSettings
from vision_line.devices.several_models import OpenModel, SeveralModels, one_model
from vision_line.errors import DeviceError, RunError
from vision_line.frames import (
    OWN_MODEL,
    CoverageMinute,
    DefectEvent,
    Detections,
    DropCause,
    EventPhase,
    Frame,
    Inspection,
    NotInspected,
    ShownEvent,
    StateChange,
    TrackedObject,
)
from vision_line.ingest.mailbox import BoundedQueue, NewestFrame
from vision_line.inspection.detection_filter import DetectionFilter
from vision_line.inspection.tracking.candidates import Candidate
from vision_line.inspection.tracking.events import EventTracker
from vision_line.ports import DeviceDescription, LogStatus
from vision_line.scheduler import CameraPipeline, Criteria, Reviewer, Scheduler, SchedulerUpdate, WakeUp

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


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    made.scheduler.start()
    yield made
    made.end()


def test_frames_on_the_device_are_evaluated_by_what_they_were_submitted_for() -> None:
    """What was found before ends before the first result under the other criteria, which begin in between."""
    rig = Rig(slots=2, inference_s=0.05, detections=lambda _: make_detections((10, 10, 60, 60), score=0.9))
    rig.add("file", live=False)
    begun: list[tuple[str, int]] = []

    def criteria(recipe: str, threshold: float) -> Criteria:
        settings = StreamSettings(score_threshold=threshold)
        tracker = EventTracker("file", CLASSES, settings, 0.25)
        return Criteria(recipe, DetectionFilter(CLASSES, settings, 0.25), tracker, 0.5, 3.0)

    def note(recipe: str) -> Callable[[], None]:
        return lambda: begun.append((recipe, len(rig.watcher.recipes)))

    rig.scheduler.start()
    for sequence in range(8):
        rig.put("file", sequence)
    rig.until(lambda: len(rig.log.inspected) >= 3)  # an event is open, and both slots are full
    rig.scheduler.change_criteria("file", criteria("7", 0.95), note("7"))
    rig.scheduler.change_criteria("unknown", criteria("7", 0.95), note("none"))
    rig.until(lambda: len(rig.log.inspected) == 8)
    rig.end()

    assert rig.watcher.recipes[:3] == [""] * 3
    assert rig.watcher.recipes[-1] == "7"
    assert rig.watcher.recipes == sorted(rig.watcher.recipes)
    assert begun == [("7", rig.watcher.recipes.count(""))]
    assert len(set(zip(rig.watcher.recipes, rig.watcher.criteria, strict=True))) == len(set(rig.watcher.criteria)) == 2
    (ended,) = [event for event in rig.log.events if event.phase is EventPhase.END]
    assert ended.last_observation.sequence < rig.watcher.recipes.index("7")
    assert rig.tally.kept == rig.watcher.recipes.count("")
    assert (rig.lines["file"].period_s, rig.lines["file"].dwell_s) == (0.5, 3.0)


def test_every_frame_of_a_file_is_inspected_in_order(rig: Rig) -> None:
    """A file's mailbox waits for room, so nothing is dropped."""
    rig.add("file", live=False)
    for sequence in range(100):
        rig.put("file", sequence)
    rig.until(lambda: len(rig.log.inspected) == 100)

    assert rig.log.inspected == [("file", sequence) for sequence in range(100)]
    assert rig.counts()["file"] == (100, 100, {})


def test_a_watcher_sees_all_that_the_log_is_given() -> None:
    """In the same order, after the log, with the events that end without a frame."""
    rig = Rig(detections=one_defect)
    rig.add("file", live=False)
    rig.scheduler.start()
    for sequence in range(20):
        rig.put("file", sequence)
    rig.until(lambda: len(rig.log.inspected) == 20)
    rig.end()

    assert rig.watcher.seen == [("file", sequence) for sequence in range(20)]
    assert [event.phase for event in rig.watcher.events][-1] is EventPhase.END
    assert rig.watcher.is_after_log


def test_overload_is_shared_fairly_and_accounted_for() -> None:
    """With more frames than the engine can take, cameras get the same share and the rest is counted as superseded."""
    rig = Rig(slots=2, inference_s=0.004)
    cameras = [f"cam{number}" for number in range(8)]
    for camera in cameras:
        rig.add(camera)
    rig.scheduler.start()
    for sequence in range(60):
        for camera in cameras:
            rig.put(camera, sequence)
        time.sleep(0.004)
    rig.end()

    counts = rig.counts()
    inspected = [counts[camera][1] for camera in cameras]
    assert max(inspected) - min(inspected) <= 2
    assert sum(inspected) < 8 * 60
    for arrived, done, dropped in counts.values():
        assert arrived == 60 == done + sum(dropped.values())
        assert set(dropped) <= {DropCause.SUPERSEDED, DropCause.SHUTDOWN}


def test_old_frames_are_dropped_as_stale(rig: Rig) -> None:
    """A frame beyond the staleness bound is never inspected late."""
    rig.add("cam", staleness_s=0.5)
    rig.put("cam", 0, time.monotonic() - 1.0)
    rig.until(lambda: rig.counts()["cam"][2] == {DropCause.STALE: 1})
    rig.put("cam", 1)
    rig.until(lambda: rig.log.inspected == [("cam", 1)])


def test_a_frame_that_came_before_its_camera_was_added_is_inspected(rig: Rig) -> None:
    """Whoever it notified then did not know the camera."""
    mailbox = NewestFrame(partial(rig.bell.notify_frame, "cam"))
    mailbox.count_arrived()
    mailbox.put(arrived("cam", 0))
    rig.add("other")
    rig.put("other", 0)
    rig.until(lambda: rig.log.inspected == [("other", 0)])
    tracker = EventTracker("cam", CLASSES, StreamSettings(), 0.25)
    rig.scheduler.add(CameraPipeline("cam", mailbox, lambda found, _: (found, found), tracker))

    rig.until(lambda: rig.log.inspected == [("other", 0), ("cam", 0)])


@pytest.mark.alone
def test_a_capped_camera_is_inspected_at_its_rate(rig: Rig) -> None:
    """inspect_fps holds on average, and what is beyond it has its own cause."""
    rig.add("cam", inspect_fps=50)
    started = time.monotonic()
    for sequence in range(300):
        rig.put("cam", sequence)
        time.sleep(0.002)
    rig.until(lambda: sum(rig.counts()["cam"][2].values()) + rig.counts()["cam"][1] == 300)
    took_s = time.monotonic() - started

    _, inspected, dropped = rig.counts()["cam"]
    assert inspected <= 50 * took_s + 2
    assert inspected >= 25 * took_s
    assert dropped.get(DropCause.RATE_CAP, 0) > 0


def test_nothing_is_inspected_while_it_cannot_be_recorded(rig: Rig) -> None:
    """A full log stops inspection, the frames are counted as dropped for it, and it goes on by itself."""
    rig.add("cam")
    rig.log.writable = False
    rig.until(lambda: bool(rig.rounds) and not rig.rounds[-1].log_writable)
    for sequence in range(5):
        rig.put("cam", sequence)
        rig.until(lambda: rig.lines["cam"].mailbox.oldest() is None)
    assert rig.log.inspected == []

    rig.log.writable = True
    rig.until(lambda: rig.rounds[-1].log_writable)
    rig.put("cam", 5)
    rig.until(lambda: rig.log.inspected == [("cam", 5)])
    assert rig.counts()["cam"] == (6, 1, {DropCause.LOG: 5})


def test_a_defect_becomes_one_event_in_log_and_metrics() -> None:
    """NEW once after min_hits hits, END when the camera is removed."""
    rig = Rig(detections=one_defect)
    rig.add("cam", live=False)
    rig.scheduler.start()
    for sequence in range(10):
        rig.put("cam", sequence)
    rig.until(lambda: len(rig.log.inspected) == 10)
    rig.scheduler.remove("cam")
    rig.until(lambda: any(event.phase is EventPhase.END for event in rig.log.events))
    rig.end()

    phases = [event.phase for event in rig.log.events]
    assert (phases.count(EventPhase.NEW), phases.count(EventPhase.END)) == (1, 1)
    assert rig.tally.events == rig.log.events
    assert rig.tally.kept == 10


def test_batches_are_filled_when_the_device_takes_more_than_one() -> None:
    """With room for eight, eight waiting cameras make one batch."""
    rig = Rig(max_batch=8, slots=1, inference_s=0.001, fill_s=0.2)
    for number in range(8):
        rig.add(f"cam{number}")
        rig.put(f"cam{number}", 0)
    rig.scheduler.start()
    rig.until(lambda: len(rig.log.inspected) == 8)
    rig.end()

    assert rig.tally.batches == [8]


def test_a_broken_engine_ends_the_thread_with_its_error() -> None:
    """It must not look like "no defects"."""

    def fail(_: Frame) -> Detections:
        raise RunError("the engine failed")

    rig = Rig(detections=fail)
    rig.add("cam")
    rig.scheduler.start()
    rig.put("cam", 0)

    with pytest.raises(RunError, match="the engine failed"):
        rig.scheduler.outcome.result(WAIT_S)
    rig.end()


def test_a_frame_that_cannot_be_converted_is_counted_and_the_next_is_inspected() -> None:
    """One bad frame costs one frame."""

    class Choosy(SimulatedDevice):
        def submit(self, frames: Sequence[Frame]) -> None:
            if frames[0].sequence == 0:
                raise DeviceError("camera 'cam': frame 0 cannot be converted")
            super().submit(frames)

    rig = Rig()
    rig.device = Choosy(rig.device.description, rig.bell.notify)
    rig.scheduler = Scheduler(one_model(rig.device), rig.log, rig.bell, observer=rig.tally, on_update=rig.rounds.append)
    rig.add("cam", live=False)
    rig.scheduler.start()
    rig.put("cam", 0)
    rig.put("cam", 1)
    rig.until(lambda: rig.log.inspected == [("cam", 1)])
    rig.end()

    assert rig.counts()["cam"] == (2, 1, {DropCause.CORRUPT: 1})


def test_a_drain_records_what_is_in_flight() -> None:
    """Frames on the device when the stop comes are inspected, those still waiting are counted as dropped."""
    rig = Rig(slots=2, inference_s=0.05)
    for camera in ("a", "b", "c"):
        rig.add(camera)
        rig.put(camera, 0)
    rig.scheduler.start()
    rig.until(lambda: rig.device.in_flight() == 2)
    rig.end()

    assert len(rig.log.inspected) == 2
    dropped = [cause for _, _, causes in rig.counts().values() for cause in causes]
    assert dropped == [DropCause.SHUTDOWN]


@pytest.fixture
def two_models() -> Iterator[tuple[Rig, dict[str, OpenModel]]]:
    """A rig with a second model, `other`, whose results take longer, and the devices of both."""
    rig = Rig()
    models = {
        key: OpenModel(SimulatedDevice(rig.device.description, rig.bell.notify, inference_s, one_defect), key)
        for key, inference_s in ((OWN_MODEL, 0.001), ("other", 0.01))
    }
    rig.scheduler = scheduler_of(rig, SeveralModels(models))
    yield rig, models
    rig.end()
    for model in models.values():
        model.device.close()


def scheduler_of(rig: Rig, device: SeveralModels) -> Scheduler:
    """Return a scheduler of a rig with another device."""
    return Scheduler(device, rig.log, rig.bell, observer=rig.tally, on_update=rig.rounds.append, watcher=rig.watcher)


def criteria_of(model: str) -> Criteria:
    """Return criteria under a recipe called as its model."""
    settings = StreamSettings()
    tracker = EventTracker("file", CLASSES, settings, 0.25)
    return Criteria(model, DetectionFilter(CLASSES, settings, 0.25), tracker, 0.5, 3.0, model=model)


def test_the_next_frame_goes_to_the_model_of_the_criteria_to_come(
    two_models: tuple[Rig, dict[str, OpenModel]],
) -> None:
    """Over changes back and forth while frames are on the device: no result is judged by another model's criteria."""
    rig, _ = two_models
    rig.add("file", live=False)
    rig.scheduler.start()
    for n in range(12):
        rig.put("file", n)
        if n % 3 == 2:
            rig.scheduler.change_criteria("file", criteria_of("other" if n % 2 == 0 else OWN_MODEL), lambda: None)
    rig.until(lambda: len(rig.log.inspected) == 12)
    assert [sequence for _, sequence in rig.log.inspected] == list(range(12))
    assert rig.watcher.models == rig.watcher.recipes
    assert "other" in rig.watcher.models


def test_a_result_of_another_model_ends_the_run(two_models: tuple[Rig, dict[str, OpenModel]]) -> None:
    """Its classes would be taken for those of the model that was asked for: worse than no inspection."""
    rig, models = two_models
    rig.scheduler = scheduler_of(rig, Swapped(models))
    rig.add("cam")
    rig.scheduler.start()
    rig.put("cam", 0)
    with pytest.raises(RunError, match="camera cam: frame 0 was inspected by another model"):
        rig.scheduler.outcome.result(WAIT_S)


class Swapped(SeveralModels):
    """A device that takes one model for the other."""

    def submit(self, model: str, frames: Sequence[Frame]) -> None:
        super().submit("other" if model == OWN_MODEL else OWN_MODEL, frames)


class Held(SimulatedDevice):
    """A device that keeps its results until they are released."""

    released = False

    def collect(self) -> list[Inspection]:
        return super().collect() if self.released else []


class Unreadable(SimulatedDevice):
    """A device that cannot read the frames of one camera, save those of some frames."""

    readable: frozenset[int] = frozenset()

    def submit(self, frames: Sequence[Frame]) -> None:
        for bad in (frame for frame in frames if frame.camera == "bad" and frame.sequence not in self.readable):
            raise DeviceError(f"camera 'bad': frame {bad.sequence} cannot be converted")
        super().submit(frames)


def rig_on(device: type[SimulatedDevice], *, slots: int = 2, max_batch: int = 1) -> Rig:
    """Return a rig whose device is of another kind."""
    rig = Rig(slots=slots, max_batch=max_batch)
    rig.device = device(rig.device.description, rig.bell.notify, 0.0, one_defect)
    rig.scheduler = Scheduler(one_model(rig.device), rig.log, rig.bell, observer=rig.tally, on_update=rig.rounds.append)
    return rig


@pytest.fixture
def held() -> Iterator[tuple[Rig, Held]]:
    """A line of which two frames are on the device and a third waits."""
    rig = rig_on(Held)
    device = rig.device
    assert isinstance(device, Held)
    rig.add("cam", live=False)
    rig.scheduler.start()
    rig.put("cam", 0)
    rig.put("cam", 1)
    rig.until(lambda: device.in_flight() == 2)
    rig.put("cam", 2)
    yield rig, device
    rig.end()


def test_what_is_on_the_device_when_a_camera_is_removed_is_recorded(held: tuple[Rig, Held]) -> None:
    """The removal is over when its last frames are in the log, and in a round, and every frame is accounted for."""
    rig, device = held
    gone = rig.scheduler.remove("cam")
    rig.until(lambda: rig.lines["cam"].mailbox.oldest() is None)
    assert not gone.done()

    device.released = True
    rig.bell.notify()
    gone.result(WAIT_S)
    assert rig.log.inspected == [("cam", 0), ("cam", 1)]
    assert rig.counts()["cam"] == (3, 2, {DropCause.SHUTDOWN: 1})
    assert len([inspected for update in rig.rounds for inspected in update.inspected_frames]) == 2


def test_a_result_belongs_to_the_line_that_took_its_frame(held: tuple[Rig, Held]) -> None:
    """A camera that is altered meanwhile is counted anew from its own first frame, and keeps its own detections."""
    rig, device = held
    old = rig.lines["cam"]
    gone = rig.scheduler.remove("cam")
    new = rig.add("cam")
    new.keep = lambda found, _: (found[:0], found[:0])
    rig.until(lambda: old.mailbox.oldest() is None)
    rig.put("cam", 3)
    device.released = True
    rig.bell.notify()
    gone.result(WAIT_S)
    rig.until(lambda: new.inspected == 1)

    assert rig.log.inspected == [("cam", 0), ("cam", 1), ("cam", 3)]
    assert rig.tally.kept == 2
    assert (old.inspected, old.mailbox.counts().dropped) == (2, {DropCause.SHUTDOWN: 1})
    assert (new.mailbox.counts().arrived, new.mailbox.counts().dropped) == (1, {})


def test_a_removal_before_the_drain_is_answered_by_it(held: tuple[Rig, Held]) -> None:
    """Nobody waits in vain because the run ends."""
    rig, device = held
    gone = rig.scheduler.remove("cam")
    rig.scheduler.stop()
    device.released = True
    rig.bell.notify()

    gone.result(WAIT_S)
    assert rig.counts()["cam"] == (3, 2, {DropCause.SHUTDOWN: 1})


def test_an_aborted_drain_accounts_for_what_it_leaves(held: tuple[Rig, Held]) -> None:
    """Frames that a forced end leaves on the device were not inspected."""
    rig, _ = held
    rig.scheduler.abort()
    assert rig.scheduler.join(WAIT_S)

    assert rig.counts()["cam"] == (3, 0, {DropCause.SHUTDOWN: 3})


def test_nobody_who_waits_can_break_the_thread(held: tuple[Rig, Held]) -> None:
    """Who gives up waiting for a removal or for the end cannot cancel it."""
    rig, device = held
    gone = rig.scheduler.remove("cam")
    assert not gone.cancel()
    assert not rig.scheduler.outcome.cancel()
    device.released = True
    rig.bell.notify()

    gone.result(WAIT_S)
    rig.scheduler.stop()
    rig.scheduler.outcome.result(WAIT_S)


def test_a_frame_that_came_while_another_was_inspected_is_not_dropped_for_it() -> None:
    """A stale frame that is replaced between plan and drop takes no fresh one with it."""

    class Late(SimulatedDevice):
        def shape_for(self, size_wh: tuple[int, int]) -> tuple[int, int]:
            if made.lines["cam"].mailbox.counts().arrived == 1:  # the moment after the look at the waiting frame
                made.put("cam", 1)
            return super().shape_for(size_wh)

    made = rig_on(Late, max_batch=2)  # shapes matter, and are asked for
    made.add("cam", staleness_s=0.5)
    made.put("cam", 0, time.monotonic() - 1.0)
    made.scheduler.start()
    made.until(lambda: made.log.inspected == [("cam", 1)])
    made.end()

    assert made.counts()["cam"] == (2, 1, {DropCause.SUPERSEDED: 1})


def test_a_camera_whose_frames_cannot_be_read_is_reported_and_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """Three in a row are no accident; one now and then is. The log is not flooded by either."""
    rig = rig_on(Unreadable)
    assert isinstance(rig.device, Unreadable)
    rig.device.readable = frozenset({2, 5})
    reasons: list[str] = []
    rig.add("bad", live=False).on_rejected = reasons.append
    rig.scheduler.start()
    with caplog.at_level(logging.WARNING):
        for sequence in range(12):
            rig.put("bad", sequence)
        rig.until(lambda: sum(rig.counts()["bad"][2].values()) == 10)
    rig.end()

    assert reasons == [f"camera 'bad': frame {sequence} cannot be converted" for sequence in (8, 11)]
    assert caplog.messages == ["frame not inspected: camera 'bad': frame 0 cannot be converted"]
    assert rig.counts()["bad"] == (12, 2, {DropCause.CORRUPT: 10})


def test_a_bad_frame_spoils_no_batch() -> None:
    """The other cameras' frames of the batch are inspected all the same, and nobody else is blamed."""
    rig = rig_on(Unreadable, max_batch=4, slots=4)
    reasons: list[str] = []
    for camera in ("a", "bad", "b"):
        rig.add(camera).on_rejected = reasons.append
        rig.put(camera, 0)
    rig.scheduler.start()
    rig.until(lambda: len(rig.log.inspected) == 2)
    rig.end()

    assert sorted(rig.log.inspected) == [("a", 0), ("b", 0)]
    assert rig.counts()["bad"] == (1, 0, {DropCause.CORRUPT: 1})
    assert reasons == []


def test_a_frame_ages_from_its_capture_and_not_from_its_arrival() -> None:
    """One that has just come in, and waited on the way for longer than allowed, is stale."""
    rig = Rig()
    rig.add("late", staleness_s=0.5)
    rig.add("cam", staleness_s=0.5)
    for camera, behind_s in (("late", 0.6), ("cam", 0.2)):
        rig.put(camera, 0, behind_s=behind_s)
    rig.scheduler.start()
    rig.until(lambda: rig.log.inspected == [("cam", 0)])
    rig.end()

    assert rig.counts()["late"] == (1, 0, {DropCause.STALE: 1})
    assert [inspected.camera for update in rig.rounds for inspected in update.inspected_frames] == ["cam"]


class ReviewTally:
    """What a reviewer is handed."""

    def __init__(self) -> None:
        self.frames: list[int] = []
        self.phases: list[tuple[str, str]] = []

    def inspected(self, inspection: Inspection, candidates: Sequence[Candidate]) -> None:
        self.frames.append(inspection.frame.sequence)
        self.phases += [(one.camera, str(one.phase)) for one in candidates]

    def ended(self, candidates: Sequence[Candidate]) -> None:
        self.phases += [(one.camera, f"{one.phase} without a frame") for one in candidates]


def test_every_inspected_frame_and_candidate_is_reviewed() -> None:
    """Also what ends with its camera, and with the run: nothing of it is lost."""
    reviewer = ReviewTally()
    rig = Rig(detections=one_defect, reviewer=reviewer)
    rig.scheduler.start()
    for camera, frames in (("gone", 2), ("event", 4), ("last", 1)):
        rig.add(camera, live=False)
        for sequence in range(frames):
            rig.put(camera, sequence)
    rig.until(lambda: len(reviewer.frames) == 7)
    rig.scheduler.remove("gone").result(WAIT_S)
    rig.end()

    ended = "missed without a frame"
    assert {camera: [phase for of, phase in reviewer.phases if of == camera] for camera in rig.lines} == {
        "gone": ["seen", ended],
        "event": ["seen", "confirmed"],
        "last": ["seen", ended],
    }
