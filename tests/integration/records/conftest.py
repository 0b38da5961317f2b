# SPDX-License-Identifier: AGPL-3.0-or-later
"""A small line to record: images, inspections and events of one camera, and a log in a temporary directory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from tests.builders import make_frame

from vision_line.config.models import ClipSettings, RecordSettings
from vision_line.frames import (
    CameraState,
    ClockStep,
    CoverageMinute,
    DefectEvent,
    Detections,
    EventPhase,
    Inspection,
    NotInspected,
    StateChange,
    Verdict,
)
from vision_line.records.entries import CameraRecord, RunRecord
from vision_line.records.log import SqliteLog

CLASSES = ("open", "short")


class Line:
    """Makes what a pipeline would hand to the log."""

    def __init__(self) -> None:
        self.started_utc = time.time()

    def frame_data(self, size_wh: tuple[int, int] = (160, 96)) -> av.VideoFrame:
        """Return a frame's data: two grounds with an edge between them."""
        width, height = size_wh
        image = np.full((height, width, 3), (30, 120, 60), np.uint8)
        image[:, width // 2 :] = (200, 200, 190)
        return av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format="yuv420p")

    def inspection(
        self,
        sequence: int,
        found: int = 1,
        *,
        camera: str = "cam01",
        data: object = None,
        size_wh: tuple[int, int] = (160, 96),
        arrived_utc: float | None = None,
    ) -> Inspection:
        """Return an inspected frame with `found` detections of class `short`, one beside the other."""
        now_s = time.monotonic()
        arrived_utc = time.time() if arrived_utc is None else arrived_utc
        frame = make_frame(camera, sequence, size_wh=size_wh, data=data, at_s=now_s, at_utc=arrived_utc)
        x1 = 20.0 * np.arange(found, dtype=np.float32)
        xyxy = np.stack([x1, x1 * 0 + 10, x1 + 16, x1 * 0 + 30], axis=1).astype(np.float32)
        kept = Detections(xyxy, np.full(found, 0.9, np.float32), np.full(found, 1, np.int32))
        return Inspection(frame, kept, now_s, time.monotonic())

    def event(
        self,
        inspection: Inspection,
        event_id: str,
        phase: EventPhase = EventPhase.NEW,
        verdict: Verdict = Verdict.REJECT,
    ) -> DefectEvent:
        """Return an event whose box is the inspection's first detection."""
        frame, found = inspection.frame, inspection.detections
        x1, y1, x2, y2 = found.xyxy[0].tolist() if len(found) else (0.0, 0.0, 9.0, 9.0)
        seen = (frame.arrived_s, frame.arrived_utc)
        return DefectEvent(
            *(event_id, phase, frame.camera, 1, "short", verdict, 0.9, 0.95, (x1, y1, x2, y2), frame.sequence, 3),
            *(*seen, *seen),
        )


def run_record() -> RunRecord:
    cameras = (CameraRecord("cam01", "press 4", "recipe A", "rtsp://***@camera/1"),)
    return RunRecord("0.1.0", time.time(), "c" * 64, "pcb", "d" * 64, "int8", "cpu", "box", cameras)


@pytest.fixture
def line() -> Line:
    """A line with one camera."""
    return Line()


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """A record directory that is not there yet."""
    return tmp_path / "records"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have logs write all that waits when they are closed, on however busy a machine."""
    for limit in ("CLOSE_EVIDENCE_S", "CLOSE_REVIEW_S", "CLOSE_CLIPS_S", "CLOSE_COMMIT_S"):
        monkeypatch.setattr(f"vision_line.records.log.{limit}", 60.0)


@pytest.fixture
def open_log(records: Path) -> Iterator[Callable[..., SqliteLog]]:
    """Open a log on `records`, closed after the test; keywords are `[record]` keys."""
    opened: list[SqliteLog] = []

    def open_one(**settings: object) -> SqliteLog:
        chosen = RecordSettings.model_validate({"min_free_mb": 1, **settings})
        opened.append(SqliteLog(records, run_record(), chosen, CLASSES))
        return opened[-1]

    yield open_one
    for log in opened:
        log.close()


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    """Poll a condition until it holds, at most a minute."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail("the condition did not come true within a minute")
            time.sleep(0.01)

    return wait


@pytest.fixture
def written(open_log: Callable[..., SqliteLog], records: Path, line: Line, wait_until: Callable[..., None]) -> Path:
    """Records of a run that ended: of each table a few rows, and of two events the images."""
    now_utc = time.time()
    log = open_log()
    for number in range(4):
        seen = line.inspection(number, 3, data=line.frame_data())
        log.write_inspection(seen, [line.event(seen, f"e{number}")] if number < 2 else [])
    minutes = [CoverageMinute("cam01", int(now_utc // 60 + n) * 60, 9, 9, 9, provisional=n == 1) for n in range(2)]
    log.write_coverage(
        minutes, [NotInspected(f"i{n}", "cam01", "capacity", 1.0, now_utc, 2.0, now_utc + 1) for n in range(2)]
    )
    log.write_coverage([], [NotInspected("i1", "cam01", "capacity", 1.0, now_utc, 2.0, now_utc + 1, withdrawn=True)])
    log.write_states([StateChange("cam01", CameraState.RUNNING, 1.0, now_utc)])
    log.write_clock_steps([ClockStep(1, 5.0, now_utc, now_utc + 60)])
    wait_until(lambda: len(list(records.rglob("*.jpg"))) == 6)
    log.close()
    return records


OpenClips = Callable[..., SqliteLog]


@pytest.fixture
def open_clips(records: Path) -> Iterator[OpenClips]:
    """Open a log with clips, closed after the test; keywords are `[clips]` keys, `record` has those of `[record]`."""
    opened: list[SqliteLog] = []

    def open_one(record: dict[str, object] | None = None, **settings: object) -> SqliteLog:
        chosen = ClipSettings.model_validate({"pre_s": 1.0, "post_s": 0.5, **settings})
        kept = RecordSettings.model_validate({"min_free_mb": 1, "evidence": False, **(record or {})})
        opened.append(SqliteLog(records, run_record(), kept, CLASSES, clips=chosen))
        return opened[-1]

    yield open_one
    for log in opened:
        log.close()
