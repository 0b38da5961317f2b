# SPDX-License-Identifier: AGPL-3.0-or-later
"""The inspecting thread: it owns the device, fills each slot by the plan as it frees, and decides what was seen.

A frame's way: mailbox -> `plan_batch` -> device slot -> detections -> filter -> tracker -> detection log. Frames never
leave this thread for the event loop; the loop gets one grouped message a round, with what it needs for the ledger,
the metrics and the screens.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from math import inf
from typing import NamedTuple, Protocol

from vision_line.batching import Plan, Ready, plan_batch
from vision_line.errors import DeviceError
from vision_line.frames import DefectEvent, Detections, DropCause, Frame, Inspection
from vision_line.ingest.mailbox import Mailbox
from vision_line.ports import DetectionLog, Device

logger = logging.getLogger(__name__)

#: How often tracks are expired and the log's health is looked at when nothing else happens, in seconds.
HOUSEKEEPING_S = 0.1
#: How long looks are gathered before the loop is told; events go at once. Waking the loop costs a system call.
PUBLISH_EVERY_S = 0.05


class Doorbell:
    """Wakes the one waiting thread; ringing while it is busy is free, and never lost.

    Sixteen cameras ring 400 times a second. Waking a thread that has no free slot makes it fight for the GIL just to
    fall asleep again, so the owner says when a frame is of use to it.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._hungry = True

    def frame_came(self) -> None:
        """Ring for a new frame; called by camera threads."""
        if self._hungry:
            self._event.set()

    def ring(self) -> None:
        """Ring for finished work or a command; called by any thread."""
        self._event.set()

    def wait(self, timeout_s: float) -> None:
        """Wait until rung; what rang since the last `wait` returned makes this one return at once."""
        self._event.wait(timeout_s)
        self._event.clear()
        self._hungry = True

    def ignore_frames(self) -> None:
        """Let frames stop ringing until the next `wait` returns: no slot is free for them."""
        self._hungry = False


class Filter(Protocol):
    """Keeps the detections that count for one camera."""

    def __call__(self, detections: Detections, size_wh: tuple[int, int]) -> Detections:
        """Return the rows that reach the camera's thresholds inside its region of interest."""


class Tracker(Protocol):
    """Makes one event of each physical defect of one camera."""

    def update(self, inspection: Inspection) -> list[DefectEvent]:
        """Return the events that this inspection starts, changes or ends."""

    def expire(self, now_s: float, now_utc: float) -> list[DefectEvent]:
        """Return the events that have ended by now."""

    def close(self, now_s: float, now_utc: float) -> list[DefectEvent]:
        """End all events."""


@dataclass(slots=True)
class Line:
    """One camera as the inspecting thread knows it; touched by that thread only, but for `mailbox` and `inspected`.

    What `keep` lets through goes to the tracker, what `report` lets through of that to the log (None: the same): a
    score below the threshold may keep an event going, and is no detection.
    """

    camera: str
    mailbox: Mailbox
    keep: Filter
    tracker: Tracker
    live: bool = True
    max_staleness_s: float = inf
    inspect_period_s: float = 0.0
    inspected: int = 0
    last_turn: int = -1
    not_before_s: float = -inf
    report: Filter | None = None


class Observer(Protocol):
    """Counts what happens, in the inspecting thread; must be quick."""

    def batch(self, frames: int) -> None:
        """Note a submitted batch."""

    def inspected(self, inspection: Inspection, kept: int, now_s: float) -> None:
        """Note a result with `kept` detections that was handed to the log at `now_s`."""

    def event(self, event: DefectEvent) -> None:
        """Note an event's start, change or end."""


class Look(NamedTuple):
    """What the ledger needs of one inspected frame."""

    camera: str
    size_wh: tuple[int, int]
    arrived_s: float
    arrived_utc: float
    result_s: float  # result available to outputs and handed to the log


class Round(NamedTuple):
    """What the event loop learns of one round of the inspecting thread."""

    at_s: float
    at_utc: float
    looks: tuple[Look, ...]
    events: tuple[DefectEvent, ...]
    log_writable: bool


class Inspector:
    """Runs the inspecting thread over a changing set of lines.

    `on_round` is called in the inspecting thread and must only hand the round over. `outcome` is done when the thread
    ends: with an error if the device or the log failed, which must end the program loudly.
    """

    def __init__(
        self,
        device: Device,
        log: DetectionLog,
        doorbell: Doorbell,
        observer: Observer,
        on_round: Callable[[Round], None],
        on_overlay: Callable[[Inspection, Sequence[DefectEvent]], None] | None = None,
        *,
        fill_s: float = 0.0,
        monotonic: Callable[[], float] = time.monotonic,
        utc: Callable[[], float] = time.time,
    ) -> None:
        self._device = device
        self._log = log
        self._bell = doorbell
        self._observer = observer
        self._on_round = on_round
        self._on_overlay = on_overlay
        self._fill_s = fill_s
        self._monotonic = monotonic
        self._utc = utc
        self._lines: dict[str, Line] = {}
        self._order: list[Line] = []
        self._commands: deque[Callable[[], None]] = deque()
        self._stopping = threading.Event()
        self._abort = threading.Event()
        self._writable = True
        self._turn = 0
        self._housekeeping_due_s = -inf
        self._looks: list[Look] = []
        self._events: list[DefectEvent] = []
        self._published_s = -inf
        self.outcome: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="inspector", daemon=True)

    def start(self) -> None:
        """Start the thread; called once."""
        self._thread.start()

    def add(self, line: Line) -> None:
        """Begin to inspect a line; a line of the same camera is replaced. Any thread."""
        self._command(lambda: self._add(line))

    def remove(self, camera: str) -> None:
        """Stop inspecting a camera: its events end, its waiting frame is dropped. Any thread."""
        self._command(lambda: self._remove(camera))

    def stop(self) -> None:
        """Ask for a drain: no new frames, results in flight are recorded, events end. Any thread."""
        self._stopping.set()
        self._bell.ring()

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
        self._bell.ring()

    def _add(self, line: Line) -> None:
        self._remove(line.camera)
        self._lines[line.camera] = line
        self._order = list(self._lines.values())

    def _remove(self, camera: str) -> None:
        if line := self._lines.pop(camera, None):
            line.mailbox.close()
            self._end(line.tracker.close(self._monotonic(), self._utc()))
            self._order = list(self._lines.values())

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
            while self._commands:
                self._commands.popleft()()
            self._collect()
            again_s = self._fill_slots()
            now_s = self._monotonic()
            if now_s >= self._housekeeping_due_s:
                self._housekeeping_due_s = now_s + HOUSEKEEPING_S
                self._keep_house(now_s)
                self._publish(now_s)
            elif self._events or (self._looks and now_s - self._published_s >= PUBLISH_EVERY_S):
                self._publish(now_s)
            self._bell.wait(max(0.0, min(again_s, self._housekeeping_due_s) - now_s))

    def _fill_slots(self) -> float:
        """Submit batches while a slot is free and a frame is ready; return when to look again."""
        if not self._writable:
            self._drop_waiting(DropCause.LOG)
            return inf
        while self._device.free_slots() > 0:
            ready = self._ready()
            plan = plan_batch(
                self._monotonic(),
                ready,
                max_batch=self._device.description.max_batch,
                fill_s=self._fill_s,
            )
            self._drop(plan)
            if plan.batch:
                self._submit(plan)
            if not plan.batch or len(ready) == len(plan.batch) + len(plan.stale) + len(plan.early):
                return plan.again_s  # nothing is left; what has come since has rung
        self._bell.ignore_frames()
        return inf

    def _ready(self) -> list[Ready]:
        ready = []
        for index, line in enumerate(self._order):
            # Asking the queue before the mailbox: most are empty, and with many cameras the calls would add up.
            if line.mailbox.frames and (frame := line.mailbox.oldest()) is not None:
                ready.append(
                    Ready(
                        index,
                        frame.arrived_s,
                        self._device.shape_for(frame.size_wh),
                        line.last_turn,
                        line.not_before_s,
                        line.max_staleness_s,
                        line.live and line.inspect_period_s > 0,
                    )
                )
        return ready

    def _drop(self, plan: Plan) -> None:
        for index in plan.stale:
            self._order[index].mailbox.drop(DropCause.STALE)
        for index in plan.early:
            self._order[index].mailbox.drop(DropCause.RATE_CAP)

    def _drop_waiting(self, cause: DropCause) -> None:
        for line in self._order:
            if line.live:
                line.mailbox.drop(cause)

    def _submit(self, plan: Plan) -> None:
        now_s = self._monotonic()
        picked: list[tuple[Line, Frame]] = []
        for index in plan.batch:
            line = self._order[index]
            frame = line.mailbox.take()  # may be newer than the planned one: so much the better
            if frame is not None:
                picked.append((line, frame))
                self._turn += 1
                line.last_turn = self._turn
                if line.inspect_period_s:
                    # From the planned moment, not from now: otherwise each round's delay lowers the rate for good.
                    line.not_before_s = max(line.not_before_s, now_s - line.inspect_period_s) + line.inspect_period_s
        try:
            self._device.submit([frame for _, frame in picked])
        except DeviceError as exc:
            logger.warning("frame not inspected: %s", exc)
            for line, _ in picked:
                line.mailbox.take_back(DropCause.CORRUPT)
            return
        self._observer.batch(len(picked))

    def _collect(self) -> None:
        for inspection in self._device.collect():
            frame = inspection.frame
            line = self._lines.get(frame.camera)
            if line is None:
                continue  # the camera was removed while its frame was on the device; its mailbox is gone with it
            kept = line.keep(inspection.detections, frame.size_wh)
            seen = Inspection(frame, kept, inspection.submitted_s, inspection.finished_s)
            events = line.tracker.update(seen)
            if line.report is not None:
                kept = line.report(kept, frame.size_wh)
                seen = Inspection(frame, kept, inspection.submitted_s, inspection.finished_s)
            self._log.write_inspection(seen, kept, events)
            if self._on_overlay is not None:
                self._on_overlay(seen, events)
            line.inspected += 1
            result_s = self._monotonic()
            self._observer.inspected(seen, len(kept), result_s)
            self._note(events)
            self._looks.append(Look(frame.camera, frame.size_wh, frame.arrived_s, frame.arrived_utc, result_s))

    def _keep_house(self, now_s: float) -> None:
        self._writable = self._log.status().writable
        now_utc = self._utc()
        for line in self._order:
            self._end(line.tracker.expire(now_s, now_utc))

    def _end(self, events: Sequence[DefectEvent]) -> None:
        if events:
            self._log.write_events(events)
            self._note(events)

    def _note(self, events: Sequence[DefectEvent]) -> None:
        for event in events:
            self._observer.event(event)
        self._events.extend(events)

    def _publish(self, now_s: float) -> None:
        looks, self._looks = tuple(self._looks), []
        events, self._events = tuple(self._events), []
        self._published_s = now_s
        self._on_round(Round(now_s, self._utc(), looks, events, self._writable))

    def _drain(self) -> None:
        for line in self._order:
            line.mailbox.close()
        while self._device.in_flight() and not self._abort.is_set():
            self._collect()
            if self._device.in_flight():
                self._bell.wait(HOUSEKEEPING_S)
        self._collect()
        for line in self._order:
            self._end(line.tracker.close(self._monotonic(), self._utc()))
        self._publish(self._monotonic())
