# SPDX-License-Identifier: AGPL-3.0-or-later
"""The cameras that run now: started, altered and stopped one by one, without touching the others."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, ParamSpec, Protocol

from vision_line.config.camera_recipes import differs_in_recipe_only
from vision_line.config.models import Stream
from vision_line.encoded import EncodedTap
from vision_line.frames import OWN_MODEL, CameraState, StateChange
from vision_line.ingest.camera import Camera
from vision_line.ingest.lifecycle import ReconnectCount
from vision_line.ingest.mailbox import BoundedQueue, Mailbox, NewestFrame
from vision_line.ingest.shedding import DecodeLoad
from vision_line.inspection.coverage.causes import OFF, Absence
from vision_line.inspection.coverage.ledger import CoverageLedger
from vision_line.inspection.coverage.minutes import CameraCounts
from vision_line.inspection.coverage.window import Need
from vision_line.inspection.detection_filter import DetectionFilter
from vision_line.inspection.tracking.events import EventTracker
from vision_line.ports import DetectionLog, OpenDecoder
from vision_line.records.entries import CameraRecord
from vision_line.records.lives import Inheritance
from vision_line.scheduler import CameraPipeline, Criteria, Scheduler, WakeUp
from vision_line.telemetry.camera_metrics import CameraCounters, RequiredRate
from vision_line.telemetry.metrics import RunMetrics
from vision_line.telemetry.snapshot import ModelInUse

logger = logging.getLogger(__name__)

_Given = ParamSpec("_Given")


#: Hysteresis: scores down to this share of the threshold keep a defect's event going, though they neither start nor
#: confirm one. A weak observation then bridges the gap between two good ones, and the threshold can be high.
CONTINUE_RATIO = 0.6

#: Cameras limit sessions and switches limit bursts: this many are opened at the same time, as long as they are quick.
OPENING_AT_ONCE = 4


class CameraLog(DetectionLog, Protocol):
    """A detection log that also notes by which settings each camera is inspected."""

    def write_cameras(self, cameras: Sequence[CameraRecord]) -> None:
        """Accept cameras as they are configured from now on."""

    @property
    def inherited(self) -> Inheritance:
        """What the runs before left to be accounted for."""


@dataclass(slots=True)
class ManagedCamera:
    """One camera with everything that belongs to it alone."""

    stream: Stream
    mailbox: Mailbox
    pipeline: CameraPipeline
    task: asyncio.Task[None]
    load: DecodeLoad
    state: CameraState = CameraState.CONNECTING
    reconnects: ReconnectCount = field(default_factory=ReconnectCount)
    recipe: str = ""
    epoch: int = 0  # of the fleet's plan that gave it to this box

    @property
    def is_over(self) -> bool:
        """Whether this was a file, and nothing of it waits or is under way."""
        counts = self.mailbox.counts()
        settled = counts.pending == 0 and counts.taken == self.pipeline.inspected and self.pipeline.in_flight == 0
        return self.state is CameraState.ENDED and settled

    def counts(self) -> CameraCounts:
        """Return the ledger's view of this camera's frames."""
        counts = self.mailbox.counts()
        return CameraCounts(
            arrived=counts.arrived,
            decoded=counts.decoded,
            inspected=self.pipeline.inspected,
            dropped=counts.dropped,
            reconnects=self.reconnects.n,
        )


class CameraModel(NamedTuple):
    """The model that inspects a camera."""

    key: str = OWN_MODEL  # what the device knows it by
    name: str = ""
    sha256: str = ""
    score_threshold: float = 0.25


def untapped(_: str) -> None:
    """Nobody but its decoder wants to see what a camera sends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedParts:
    """What all cameras of a run have in common."""

    wake: WakeUp
    ledger: Callable[[], CoverageLedger]  # asked each time, right before the ledger learns of a camera
    metrics: RunMetrics
    log: CameraLog
    open_decoder: OpenDecoder
    classes: Sequence[str]
    model_at: Callable[[str, str], CameraModel]  # of a recipe, "" for none, and a camera's name
    tap_for: Callable[[str], EncodedTap | None] = untapped  # of a camera's name, asked when it starts
    #: Of a camera that starts, and since when this box did not inspect it: since when nobody did.
    absence_of: Callable[[str, Absence | None], Absence | None] = lambda _, own: own
    #: The epoch of the fleet's plan under which a camera is inspected here; 0: it is shared with no other box.
    epoch_of: Callable[[str], int] = lambda _: 0
    #: Is told of a camera that has come under another epoch.
    expect_inspection: Callable[[str], None] = lambda _: None


class CameraManager:
    """Owns the cameras' tasks, mailboxes and pipelines; lives in the event loop's thread."""

    def __init__(self, tasks: asyncio.TaskGroup, shared: SharedParts) -> None:
        self._tasks = tasks
        self._shared = shared
        self._opening = asyncio.Semaphore(OPENING_AT_ONCE)
        self._scheduler: Scheduler | None = None
        self._running: dict[str, ManagedCamera] = {}
        self._numbers: dict[str, Iterator[int]] = {}  # a camera's frame numbers go on when it is altered or comes back
        self._stopped = False
        # Of cameras that do not run: since when nobody watches them.
        self._absences = dict(shared.log.inherited.absences)
        self.changed = asyncio.Event()  # set at every change of a camera's state

    @property
    def running(self) -> Sequence[ManagedCamera]:
        """The cameras that run now."""
        return tuple(self._running.values())

    @property
    def is_over(self) -> bool:
        """Whether every camera was a file, and every frame of them has its result."""
        return bool(self._running) and all(managed.is_over for managed in self._running.values())

    @property
    def is_known(self) -> bool:
        """Whether each camera has either shown its first frame or failed to."""
        return all(s.state is not CameraState.CONNECTING for s in self._running.values())

    def counts(self) -> dict[str, CameraCounts]:
        """Return the ledger's view of each camera's frames."""
        return {name: managed.counts() for name, managed in self._running.items()}

    def sizes_wh(self) -> dict[str, tuple[int, int]]:
        """Return the sizes of the frames that wait now, by camera."""
        frames = {name: managed.mailbox.oldest() for name, managed in self._running.items()}
        return {name: frame.size_wh for name, frame in frames.items() if frame is not None}

    def attach(self, scheduler: Scheduler) -> None:
        """Let `scheduler` inspect the cameras that run now and those that come."""
        self._scheduler = scheduler
        for managed in self._running.values():
            scheduler.add(managed.pipeline)

    async def apply(self, streams: Sequence[Stream], recipes: Mapping[str, str] | None = None) -> None:
        """Run exactly `streams`: new ones are started, missing ones stopped, others left.

        Of the altered ones those are opened again that differ in more than a recipe can set; the others go on, judged
        by their new settings. `recipes` has, by camera, under which recipe a stream stands.
        """
        recipes = recipes or {}
        wanted = {stream.name: stream for stream in streams}
        for managed in self._running.values():
            self._alter(managed, wanted.get(managed.stream.name), recipes.get(managed.stream.name, ""))
        leaving = [s for name, s in self._running.items() if wanted.get(name) != s.stream]
        await asyncio.gather(*(self._stop(managed) for managed in leaving))
        if self._stopped:
            return  # the run's end overtook the change
        self._follow_epochs()
        coming = [stream for stream in streams if stream.name not in self._running]
        if coming:
            # After the last record of what they replace: a record bears the labels that are in force when it is made.
            self._shared.log.write_cameras([self._record(one, recipes.get(one.name, "")) for one in coming])
        for stream in coming:
            self._start(stream, recipes.get(stream.name, ""))

    async def stop(self) -> None:
        """Stop every camera's thread; the pipelines stay, so that what waits and what is in flight is accounted for.

        No camera is started from now on.
        """
        self._stopped = True
        for managed in self._running.values():
            managed.task.cancel()
        await asyncio.gather(*(s.task for s in self._running.values()), return_exceptions=True)

    def _alter(self, managed: ManagedCamera, stream: Stream | None, recipe: str) -> None:
        """Judge a camera's frames by `stream` from now on, if it need not be opened again for that."""
        if stream is None or (stream, recipe) == (managed.stream, managed.recipe):
            return
        if not differs_in_recipe_only(managed.stream, stream):
            return
        managed.stream, managed.recipe = stream, recipe
        criteria = self._criteria_of(stream, recipe)
        record = self._record(stream, recipe)
        note_begun = _on_loop(lambda: self._note_criteria(stream, recipe))

        def begun() -> None:
            # Behind the last row under the old settings, before the first under the new ones.
            self._shared.log.write_cameras([record])
            note_begun()

        if self._scheduler is None:
            managed.pipeline.adopt(criteria)
            begun()
        else:
            self._scheduler.change_criteria(stream.name, criteria, begun)

    def _follow_epochs(self) -> None:
        """Enter under which epoch cameras go on that were given to this box anew."""
        for managed in self._running.values():
            epoch = self._shared.epoch_of(managed.stream.name)
            if epoch != managed.epoch:
                managed.epoch = epoch
                self._shared.log.write_cameras([self._record(managed.stream, managed.recipe)])
                self._shared.expect_inspection(managed.stream.name)

    def _note_criteria(self, stream: Stream, recipe: str) -> None:
        if stream.name not in self._running:
            return  # removed meanwhile
        now_s, now_utc = time.monotonic(), time.time()
        self._shared.ledger().add_camera(stream.name, _need(stream), now_s, now_utc)
        self._shared.metrics.evaluate_by(
            stream.name, _pace(stream), recipe, self._model_in_use(recipe, stream.name), now_utc
        )
        logger.info("camera %s: inspected %s", stream.name, f"under recipe {recipe}" if recipe else "without a recipe")

    def _start(self, stream: Stream, recipe: str) -> None:
        shared = self._shared
        mailbox = (NewestFrame if stream.is_live else BoundedQueue)(partial(shared.wake.notify_frame, stream.name))
        numbers = self._numbers.setdefault(stream.name, itertools.count())
        tap = shared.tap_for(stream.name)
        camera = Camera(stream, shared.open_decoder, mailbox, self._on_state, self._opening, numbers=numbers, tap=tap)
        pipeline = self._pipeline_of(stream, recipe, mailbox, _on_loop(camera.reject))
        if stream.is_unverified:
            logger.warning("camera %s: identity not verified (tls_verify = false); set tls_fingerprint", stream.name)
        counters = CameraCounters(
            mailbox.counts, lambda: camera.abandoned, camera.load, is_unverified=stream.is_unverified
        )
        shared.metrics.add_camera(stream.name, counters)
        shared.metrics.evaluate_by(
            stream.name, _pace(stream), recipe, self._model_in_use(recipe, stream.name), time.time()
        )
        absence = shared.absence_of(stream.name, self._absences.pop(stream.name, None))
        if not stream.is_live:
            absence = None  # a file waits to be inspected
        shared.ledger().add_camera(stream.name, _need(stream), time.monotonic(), time.time(), absence)
        task = self._tasks.create_task(camera.run(), name=f"camera {stream.name}")
        epoch = shared.epoch_of(stream.name)
        self._running[stream.name] = ManagedCamera(
            stream, mailbox, pipeline, task, camera.load, recipe=recipe, epoch=epoch
        )
        if epoch:
            shared.expect_inspection(stream.name)
        if self._scheduler is not None:
            self._scheduler.add(pipeline)
        logger.info("camera %s: added, %s", stream.name, stream.display_url)

    def _criteria_of(self, stream: Stream, recipe: str) -> Criteria:
        classes, model = self._shared.classes, self._shared.model_at(recipe, stream.name)
        score_threshold = model.score_threshold
        return Criteria(
            recipe=recipe,
            keep=DetectionFilter(classes, stream, score_threshold, continue_ratio=CONTINUE_RATIO),
            tracker=EventTracker(stream.name, classes, stream, score_threshold),
            period_s=1.0 / stream.needed_fps,
            dwell_s=stream.dwell_s,
            # A file's frames beyond the cap never come here: they are chosen by the file's own time.
            inspect_period_s=1.0 / stream.inspect_fps if stream.inspect_fps and stream.is_live else 0.0,
            model=model.key,
        )

    def _pipeline_of(
        self, stream: Stream, recipe: str, mailbox: Mailbox, on_rejected: Callable[[str], None]
    ) -> CameraPipeline:
        criteria = self._criteria_of(stream, recipe)
        return CameraPipeline(
            camera=stream.name,
            mailbox=mailbox,
            keep=criteria.keep,
            tracker=criteria.tracker,
            recipe=recipe,
            live=stream.is_live,
            max_staleness_s=stream.max_staleness_ms / 1000 if stream.is_live else math.inf,
            inspect_period_s=criteria.inspect_period_s,
            on_rejected=on_rejected,
            period_s=criteria.period_s,
            dwell_s=criteria.dwell_s,
            model=criteria.model,
        )

    def _model_in_use(self, recipe: str, camera: str) -> ModelInUse:
        model = self._shared.model_at(recipe, camera)
        return ModelInUse(model.name, model.sha256)

    def _record(self, stream: Stream, recipe: str) -> CameraRecord:
        model = self._shared.model_at(recipe, stream.name)
        return CameraRecord(
            stream.name,
            stream.station,
            stream.recipe,
            stream.display_url,
            stream.settings_json,
            model_name=model.name,
            model_sha256=model.sha256,
            epoch=self._shared.epoch_of(stream.name),
        )

    async def _stop(self, managed: ManagedCamera) -> None:
        name = managed.stream.name
        managed.task.cancel()
        await asyncio.gather(managed.task, return_exceptions=True)
        if self._scheduler is None:
            managed.mailbox.close()
        else:
            # What is on the device is this camera's still: only when it has been recorded are the counts the last ones.
            await asyncio.wrap_future(self._scheduler.remove(name))
        self._on_state(StateChange(name, CameraState.REMOVED, time.monotonic(), time.time()))
        ledger, now_s = self._shared.ledger(), time.monotonic()
        minutes, intervals = ledger.remove_camera(name, managed.counts(), now_s, time.time())
        self._absences[name] = Absence(now_s, OFF)
        self._shared.metrics.not_inspected(intervals, now_s)
        self._shared.log.write_coverage(minutes, intervals)
        del self._running[name]
        logger.info("camera %s: removed", name)

    def _on_state(self, change: StateChange) -> None:
        managed = self._running.get(change.camera)
        if managed is None:
            return  # a late word of a camera that has been removed
        managed.reconnects.saw(change.state)
        managed.state = change.state
        self._shared.ledger().state(change)
        self._shared.metrics.state(change)
        self._shared.log.write_states([change])
        self.changed.set()


def _need(stream: Stream) -> Need:
    """Return what the ledger asks of a camera; of an unpaced file only that nothing stands in its way."""
    waits_s = stream.max_staleness_ms / 1000
    if _waits(stream):
        return Need(stream.inspection_gap_s, waits_s=waits_s, every_frame=True)
    return Need(
        stream.inspection_gap_s,
        stream.needed_inspections,
        stream.dwell_s,
        waits_s,
        stream.inspect_fps,
        repeats_s=0.0 if stream.may_stand_still else 2 * stream.frozen_after_s,
    )


def _pace(stream: Stream) -> RequiredRate:
    return RequiredRate() if _waits(stream) else RequiredRate(stream.needed_fps, stream.spare_fps)


def _waits(stream: Stream) -> bool:
    return not stream.is_live and not stream.paced


def _on_loop(call: Callable[_Given, None]) -> Callable[_Given, None]:
    """Return a function for other threads that has the event loop call `call`."""
    loop = asyncio.get_running_loop()

    def hand_over(*given: _Given.args, **named: _Given.kwargs) -> None:
        # The loop may be closed when a forced end has left the scheduler's thread behind.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(partial(call, *given, **named))

    return hand_over
