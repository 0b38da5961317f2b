# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a frame costs beside decoding and inference: 64 cameras x 25 fps through an engine that takes no time.

Each row adds a part, so that the differences say where the time goes. Run: python -m benchmarks.control_plane [SECONDS]
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.rounds import Report
from benchmarks.simulated_device import SimulatedDevice
from vision_line.config.models import RecordSettings, ReviewSettings, StreamSettings
from vision_line.devices.several_models import one_model
from vision_line.frames import (
    Colour,
    ColourMatrix,
    ColourRange,
    CoverageMinute,
    DefectEvent,
    Detections,
    Frame,
    Inspection,
    NotInspected,
    ShownEvent,
    StateChange,
    TrackedObject,
)
from vision_line.ingest.mailbox import NewestFrame
from vision_line.inspection.coverage.ledger import CoverageLedger
from vision_line.inspection.coverage.window import Need
from vision_line.inspection.detection_filter import DetectionFilter
from vision_line.inspection.tracking.candidates import Candidate
from vision_line.inspection.tracking.events import EventTracker
from vision_line.ports import DetectionLog, DeviceDescription, LogStatus
from vision_line.records.entries import RunRecord
from vision_line.records.log import SqliteLog
from vision_line.scheduler import CameraPipeline, Reviewer, Scheduler, SchedulerUpdate, WakeUp
from vision_line.telemetry.camera_metrics import CameraCounters
from vision_line.telemetry.metrics import ModelFacts, RunFacts, RunMetrics

CAMERAS = 64
FPS = 25
CLASSES = ("open", "short")
DEFECT_EVERY = 20  # frames of a camera from one frame with a defect to the next
COLOUR = Colour(ColourMatrix.BT601, ColourRange.LIMITED)
DEVICE = DeviceDescription("simulated", "", "int8", ((192, 320),), 2, 8)


class NoLog:
    """Takes everything and keeps nothing: the row without the log."""

    def write_inspection(self, inspection: Inspection, events: Sequence[DefectEvent]) -> None:
        """Forget it."""

    def write_events(self, events: Sequence[DefectEvent]) -> None:
        """Forget them."""

    def write_coverage(self, minutes: Sequence[CoverageMinute], intervals: Sequence[NotInspected]) -> None:
        """Forget them."""

    def write_states(self, changes: Sequence[StateChange]) -> None:
        """Forget them."""

    def status(self) -> LogStatus:
        """Return that all is well."""
        return LogStatus()

    def close(self) -> None:
        """Do nothing."""


class NoMetrics:
    """Counts frames and nothing else."""

    def batch(self, frames: int) -> None:
        """Ignore it."""

    def inspected(self, inspection: Inspection, now_s: float) -> None:
        """Ignore it."""

    def event(self, event: DefectEvent) -> None:
        """Ignore it."""


class NoTracker:
    """Finds no events."""

    def __init__(self) -> None:
        """Begin without candidates."""
        self.candidates: list[Candidate] = []

    def update(self, _frame: Frame, _detections: Detections) -> list[DefectEvent]:
        """Return none."""
        return []

    def shown(self) -> list[ShownEvent]:
        """Return none."""
        return []

    def tracks(self) -> list[TrackedObject]:
        """Return none."""
        return []

    def expire(self, _now_s: float) -> list[DefectEvent]:
        """Return none."""
        return []

    def close(self) -> list[DefectEvent]:
        """Return none."""
        return []


def moving_defect(frame: Frame) -> Detections:
    """Return a defect that crosses the view, in some frames."""
    if frame.sequence % DEFECT_EVERY >= DEFECT_EVERY // 4:
        return Detections.empty()
    x = (frame.sequence * 4) % 600
    return Detections(
        np.array([[x, 100, x + 20, 120]], np.float32), np.array([0.9], np.float32), np.array([1], np.int32)
    )


def metrics(names: Sequence[str]) -> RunMetrics:
    """Return metrics for `names`."""
    facts = RunFacts("0", DEVICE, ModelFacts("m", "0", "int8", DEVICE.input_shapes_hw), time.monotonic(), time.time())
    found = RunMetrics(facts)
    for name in names:
        found.add_camera(name, CameraCounters(NewestFrame(lambda: None).counts))
    return found


async def measure(
    seconds: float,
    *,
    tracking: bool,
    log: DetectionLog | None,
    telemetry: bool,
    ledger: bool,
    reviewer: Reviewer | None = None,
) -> float:
    """Return the process's CPU time per inspected frame in microseconds, the feeding thread's left out."""
    bell = WakeUp()
    names = [f"cam{number:02d}" for number in range(CAMERAS)]
    book = CoverageLedger()
    loop = asyncio.get_running_loop()
    for name in names:
        book.add_camera(name, Need(1.0, 3, 2.0), time.monotonic(), time.time())

    def on_update(update: SchedulerUpdate) -> None:
        for frame in update.inspected_frames:
            book.inspected(frame.camera, frame.captured_s)

    def publish(update: SchedulerUpdate) -> None:
        if ledger:
            loop.call_soon_threadsafe(on_update, update)

    device = SimulatedDevice(DEVICE, bell.notify, 0.0, moving_defect)
    observer = metrics(names) if telemetry else NoMetrics()
    scheduler = Scheduler(
        one_model(device), log or NoLog(), bell, observer=observer, on_update=publish, reviewer=reviewer
    )
    lines = []
    for name in names:
        settings = StreamSettings()
        tracker = EventTracker(name, CLASSES, settings, 0.25) if tracking else NoTracker()
        line = CameraPipeline(
            name, NewestFrame(partial(bell.notify_frame, name)), DetectionFilter(CLASSES, settings, 0.25), tracker
        )
        lines.append(line)
        scheduler.add(line)
    scheduler.start()
    fed_cpu_s: list[float] = []
    feeder = threading.Thread(target=lambda: fed_cpu_s.append(feed(lines, seconds)))
    before = time.process_time()
    feeder.start()
    await asyncio.to_thread(feeder.join)
    used = time.process_time() - before - fed_cpu_s[0]
    scheduler.stop()
    scheduler.join(10)
    device.close()
    return 1e6 * used / sum(line.inspected for line in lines)


def feed(lines: Sequence[CameraPipeline], seconds: float) -> float:
    """Put frames at the cameras' pace, the cameras evenly spread; return the thread's own CPU time."""
    started = time.monotonic()
    period_s = 1 / (FPS * CAMERAS)
    for number in range(int(seconds * FPS * CAMERAS)):
        line = lines[number % CAMERAS]
        due_s = started + number * period_s
        if (wait_s := due_s - time.monotonic()) > 0:
            time.sleep(wait_s)
        now_s = time.monotonic()
        line.mailbox.count_arrived()
        line.mailbox.put(Frame(line.camera, number // CAMERAS, (640, 360), COLOUR, None, now_s, time.time(), now_s))
    return time.thread_time()


def main() -> None:
    """Measure and publish."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    report = Report("control_plane")
    sys.setswitchinterval(0.0005)
    with tempfile.TemporaryDirectory() as name:
        run = RunRecord("0", time.time(), "", "m", "0", "int8", "simulated", "here")
        log = SqliteLog(Path(name), run, RecordSettings(evidence=False), CLASSES)
        rows: list[tuple[str, bool, DetectionLog | None, bool, bool]] = [
            ("mailbox, plan, device", False, None, False, False),
            ("+ filter and events", True, None, False, False),
            ("+ detection log", True, log, False, False),
            ("+ metrics", True, log, True, False),
            ("+ event loop and ledger: the whole", True, log, True, True),
        ]
        for label, tracking, used, telemetry, ledger in rows:
            cost = asyncio.run(measure(seconds, tracking=tracking, log=used, telemetry=telemetry, ledger=ledger))
            report.add(parts=label, microseconds_per_frame=f"{cost:.1f}")
        log.review.apply(ReviewSettings())
        cost = asyncio.run(measure(seconds, tracking=True, log=log, telemetry=True, ledger=True, reviewer=log.review))
        report.add(parts="+ review", microseconds_per_frame=f"{cost:.1f}")
        log.close()
    report.publish()


if __name__ == "__main__":
    main()
