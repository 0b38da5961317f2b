# SPDX-License-Identifier: AGPL-3.0-or-later
"""The scheduler's loop: collect results, fill slots, do housekeeping, until it is asked to drain."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from math import inf

from vision_line.errors import DeviceError, RunError
from vision_line.frames import OWN_MODEL, DefectEvent, DropCause, Frame, Inspection
from vision_line.pacing import next_turn
from vision_line.ports import DetectionLog, ModelsDevice
from vision_line.scheduler.batching import NO_SHAPE, BatchPlan, Ready, Turns, plan_batch
from vision_line.scheduler.camera_pipeline import CameraPipeline, CameraSet, Criteria
from vision_line.scheduler.load_share import LoadShare
from vision_line.scheduler.messages import InspectedFrame, Observer, ResultWatcher, Reviewer, SchedulerUpdate
from vision_line.scheduler.wakeup import WakeUp

#: Period in which tracks are expired and the log's state is checked, in seconds.
HOUSEKEEPING_S = 0.1
#: How long inspected frames are collected before an update, in seconds: waking the event loop costs a system call.
PUBLISH_EVERY_S = 0.05


class Scheduler:
    """Runs the scheduler's thread over a changing set of pipelines.

    `on_update` is called in that thread and must only hand the update over. `outcome` is done when the thread
    ends: with an error if the device or the log failed, which must end the program with that error.
    """

    def __init__(
        self,
        device: ModelsDevice,
        log: DetectionLog,
        wakeup: WakeUp,
        *,
        observer: Observer,
        on_update: Callable[[SchedulerUpdate], None],
        on_overlay: Callable[[Inspection, Sequence[DefectEvent]], None] | None = None,
        reviewer: Reviewer | None = None,
        watcher: ResultWatcher | None = None,
        fill_s: float = 0.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._device = device
        self._log = log
        self._wakeup = wakeup
        self._observer = observer
        self._on_update = on_update
        self._on_overlay = on_overlay
        self._reviewer = reviewer
        self._watcher = watcher
        self._fill_s = fill_s
        self._monotonic = monotonic
        self._pipelines = CameraSet()
        self._commands: deque[Callable[[], None]] = deque()
        self._stopping = threading.Event()
        self._abort = threading.Event()
        self._writable = True
        self._turns = Turns()
        self._share = LoadShare(monotonic())
        self._inspected = 0
        self._housekeeping_due_s = -inf
        self._unpublished: list[InspectedFrame] = []
        self._published_s = -inf
        self.outcome = _uncancellable_future()
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)

    def start(self) -> None:
        """Start the thread; called once."""
        self._thread.start()

    def add(self, pipeline: CameraPipeline) -> None:
        """Begin to inspect a pipeline; a pipeline of the same camera is removed first. Any thread."""
        self._command(lambda: self._add(pipeline))

    def remove(self, camera: str) -> Future[None]:
        """Stop inspecting a camera: its waiting frame is dropped, its events end. Any thread.

        Frames on the device are inspected and recorded. The future is done when nothing more will be counted
        for the pipeline that was removed, and the update with its last frames has been handed over.
        """
        removed = _uncancellable_future()
        self._command(lambda: self._remove(camera, removed))
        return removed

    def change_criteria(self, camera: str, criteria: Criteria, begun: Callable[[], None]) -> None:
        """Judge a camera's frames by other criteria, from the first that is not on the device yet. Any thread.

        Its open events end before, and `begun` is called in the scheduler's thread before the first result. A camera
        that is being removed stays as it is.
        """
        self._command(lambda: self._prepare(camera, criteria, begun))

    def stop(self) -> None:
        """Ask for a drain: no new frames, results in flight are recorded, events end. Any thread."""
        self._stopping.set()
        self._wakeup.notify()

    def abort(self) -> None:
        """Ask to end without waiting for results in flight. Any thread."""
        self._abort.set()
        self.stop()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread; return whether it has ended."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _command(self, command: Callable[[], None]) -> None:
        self._commands.append(command)
        self._wakeup.notify()

    def _run_commands(self) -> None:
        while self._commands:
            self._commands.popleft()()

    def _add(self, pipeline: CameraPipeline) -> None:
        self._remove(pipeline.camera, _uncancellable_future())
        self._pipelines.add(pipeline)

    def _remove(self, camera: str, removed: Future[None]) -> None:
        self._pipelines.remove(camera, removed)
        self._finish_removals()

    def _prepare(self, camera: str, criteria: Criteria, begun: Callable[[], None]) -> None:
        if (pipeline := self._pipelines.get(camera)) is not None:
            pipeline.prepare(criteria, begun)
            self._adopt_due(pipeline)

    def _adopt_due(self, pipeline: CameraPipeline) -> None:
        """Put in force what is due. What was found by the old criteria ends as such: nothing is judged by both."""
        while (due := pipeline.pop_due()) is not None:
            self._end(pipeline, pipeline.tracker.close())
            pipeline.adopt(due.criteria)
            due.begun()

    def _finish_removals(self) -> None:
        """End the leaving pipelines that have no frame on the device any more."""
        for pipeline, removed in self._pipelines.pop_removed():
            now_s = self._monotonic()
            self._end(pipeline, pipeline.tracker.close())
            self._publish(now_s)  # first: whoever waits for the end must have every frame
            removed.set_result(None)

    def _run(self) -> None:
        try:
            self._inspect_until_stopped()
            self._drain()
        except BaseException as exc:  # noqa: BLE001  handed whole to the program's owner, who ends the program
            self.outcome.set_exception(exc)
        else:
            self.outcome.set_result(None)

    def _inspect_until_stopped(self) -> None:
        while not self._stopping.is_set():
            self._run_commands()
            self._collect()
            again_s = self._fill_slots()
            now_s = self._monotonic()
            if now_s >= self._housekeeping_due_s:
                self._housekeeping_due_s = now_s + HOUSEKEEPING_S
                self._housekeep(now_s)
                self._publish(now_s)
            elif self._unpublished and now_s - self._published_s >= PUBLISH_EVERY_S:
                self._publish(now_s)
            self._wakeup.wait(max(0.0, min(again_s, self._housekeeping_due_s) - now_s))

    def _fill_slots(self) -> float:
        """Submit batches while a slot is free and a frame is ready; return when to plan again."""
        if not self._writable:
            self._drop_waiting(DropCause.LOG)
            return inf
        while self._device.free_slots() > 0:
            waiting = self._pipelines.waiting(self._wakeup.pop_arrived())
            if not waiting:
                return inf
            max_batch = self._device.description.max_batch
            is_alone = max_batch == 1
            plan = plan_batch(
                self._monotonic(),
                [self._ready(index, line, frame, is_alone=is_alone) for index, (line, frame) in enumerate(waiting)],
                max_batch=max_batch,
                fill_s=self._fill_s,
            )
            if plan.stale or plan.early:
                self._drop(plan, waiting)
            if plan.batch:
                self._submit([waiting[index][0] for index in plan.batch])
            if not plan.batch or len(waiting) == len(plan.batch) + len(plan.stale) + len(plan.early):
                return plan.again_s  # nothing is left; newer frames have notified
        self._wakeup.ignore_frames()
        return inf

    def _ready(self, index: int, pipeline: CameraPipeline, frame: Frame, *, is_alone: bool) -> Ready:
        if is_alone:  # a batch's only frame is compared with no other, and there may be many that wait
            model, shape_hw = OWN_MODEL, NO_SHAPE
        else:
            model = pipeline.next_model
            shape_hw = self._device.shape_for(model, frame.size_wh)
        return Ready(
            index,
            frame.captured_s,
            shape_hw,
            last_turn=inf if pipeline.rests else pipeline.last_turn,
            not_before_s=pipeline.not_before_s,
            max_staleness_s=pipeline.max_staleness_s,
            capped=pipeline.live and pipeline.inspect_period_s > 0,
            model=model,
        )

    def _drop(self, plan: BatchPlan, waiting: Sequence[tuple[CameraPipeline, Frame]]) -> None:
        # Only the planned frame: a newer one that has replaced it is neither stale nor early.
        for cause, indices in ((DropCause.STALE, plan.stale), (DropCause.RATE_CAP, plan.early)):
            for pipeline, frame in (waiting[index] for index in indices):
                pipeline.mailbox.drop(cause, frame)

    def _drop_waiting(self, cause: DropCause) -> None:
        for pipeline in self._pipelines.inspected:
            if pipeline.live:
                pipeline.mailbox.drop(cause)

    def _submit(self, pipelines: Sequence[CameraPipeline]) -> None:
        now_s = self._monotonic()
        picked: list[tuple[CameraPipeline, Frame]] = []
        for pipeline in pipelines:
            frame = pipeline.mailbox.take()  # may be newer than the planned one, which is better
            if frame is not None:
                picked.append((pipeline, frame))
                pipeline.last_turn = self._turns.take(pipeline.last_turn, pipeline.period_s)
                if pipeline.inspect_period_s:
                    pipeline.not_before_s = next_turn(pipeline.not_before_s, now_s, pipeline.inspect_period_s)
        if picked:
            self._start_batch(picked)

    def _start_batch(self, picked: Sequence[tuple[CameraPipeline, Frame]]) -> None:
        try:
            self._device.submit(picked[0][0].next_model, [frame for _, frame in picked])
        except DeviceError as exc:
            if len(picked) == 1:
                picked[0][0].reject(str(exc), self._monotonic())
            else:
                self._start_singly(picked)
            return
        for pipeline, _ in picked:
            pipeline.in_flight += 1
            pipeline.rejected = 0
        self._observer.batch(len(picked))

    def _start_singly(self, picked: Sequence[tuple[CameraPipeline, Frame]]) -> None:
        """Submit the frames of a rejected batch singly, as far as there are slots."""
        for pipeline, frame in picked:
            if self._device.free_slots() > 0:
                self._start_batch([(pipeline, frame)])
            else:
                pipeline.mailbox.take_back(DropCause.CORRUPT)

    def _collect(self) -> None:
        for inspection in self._device.collect():
            frame = inspection.frame
            pipeline = self._pipelines.of_next_result(frame.camera)
            if inspection.model != pipeline.model:  # its classes would be judged by another model's
                raise RunError(f"camera {frame.camera}: frame {frame.sequence} was inspected by another model")
            tracked, kept = pipeline.keep(inspection.detections, frame.size_wh)
            events = pipeline.tracker.update(frame, tracked)
            seen = inspection.evaluated(kept, pipeline.recipe, pipeline.criteria)
            self._log.write_inspection(seen, events)
            if self._watcher is not None:
                self._watcher.result(seen, events, pipeline.tracker.shown, pipeline.tracker.tracks)
            if self._on_overlay is not None:
                self._on_overlay(seen, events)
            candidates = pipeline.take_candidates()
            if self._reviewer is not None:
                self._reviewer.inspected(seen, candidates)
            pipeline.inspected += 1
            self._inspected += 1
            self._observer.inspected(seen, self._monotonic())
            if events:
                self._note(events)
            self._unpublished.append(InspectedFrame(frame.camera, frame.size_wh, frame.captured_s))
            pipeline.count_result()
            if pipeline.coming:
                self._adopt_due(pipeline)
            self._finish_removals()

    def _housekeep(self, now_s: float) -> None:
        self._writable = self._log.status().writable
        self._share.sample(now_s, self._pipelines.inspected, self._inspected, full=self._device.free_slots() == 0)
        for pipeline in self._pipelines.inspected:
            self._end(pipeline, pipeline.tracker.expire(now_s))

    def _end(self, pipeline: CameraPipeline, events: Sequence[DefectEvent]) -> None:
        """Hand over `events` and candidates of a pipeline that ended without a frame."""
        if events:
            self._log.write_events(events)
            if self._watcher is not None:
                self._watcher.decide(events)
            self._note(events)
        candidates = pipeline.take_candidates()
        if candidates and self._reviewer is not None:
            self._reviewer.ended(candidates)

    def _note(self, events: Sequence[DefectEvent]) -> None:
        for event in events:
            self._observer.event(event)

    def _publish(self, now_s: float) -> None:
        inspected_frames, self._unpublished = tuple(self._unpublished), []
        self._published_s = now_s
        self._on_update(SchedulerUpdate(now_s, inspected_frames, self._writable))

    def _drain(self) -> None:
        self._run_commands()
        for pipeline in self._pipelines.inspected:
            pipeline.mailbox.close()
        while self._device.in_flight() and not self._abort.is_set():
            self._collect()
            if self._device.in_flight():
                self._wakeup.wait(HOUSEKEEPING_S)
        self._collect()
        for pipeline in self._pipelines:
            pipeline.abandon_in_flight()
        self._finish_removals()
        for pipeline in self._pipelines.inspected:
            self._end(pipeline, pipeline.tracker.close())
        self._publish(self._monotonic())


def _uncancellable_future() -> Future[None]:
    """Return a future that those who wait for it cannot cancel."""
    future: Future[None] = Future()
    future.set_running_or_notify_cancel()
    return future
