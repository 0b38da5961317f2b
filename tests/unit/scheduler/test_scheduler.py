# SPDX-License-Identifier: AGPL-3.0-or-later
"""The scheduler's thread: every frame is accounted for, in order, and trouble is loud."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import pytest
from benchmarks.simulated_device import SimulatedDevice
from tests.builders import make_detections
from tests.fakes.scheduler_rig import CLASSES, Rig, arrived, one_defect, rig_on
from tests.fakes.waiting import WAIT_S

from vision_line.config.models import StreamSettings
from vision_line.devices.several_models import one_model
from vision_line.errors import DeviceError, RunError
from vision_line.frames import Detections, DropCause, EventPhase, Frame, Inspection
from vision_line.ingest.mailbox import NewestFrame
from vision_line.inspection.detection_filter import DetectionFilter
from vision_line.inspection.tracking.candidates import Candidate
from vision_line.inspection.tracking.events import EventTracker
from vision_line.scheduler import CameraPipeline, Criteria, Scheduler


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
    for came, done, dropped in counts.values():
        assert came == 60 == done + sum(dropped.values())
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


class Unreadable(SimulatedDevice):
    """A device that cannot read the frames of one camera, save those of some frames."""

    readable: frozenset[int] = frozenset()

    def submit(self, frames: Sequence[Frame]) -> None:
        for bad in (frame for frame in frames if frame.camera == "bad" and frame.sequence not in self.readable):
            raise DeviceError(f"camera 'bad': frame {bad.sequence} cannot be converted")
        super().submit(frames)


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
