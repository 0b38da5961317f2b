# SPDX-License-Identifier: AGPL-3.0-or-later
"""Made-up lines: snapshots of any number of cameras, well or in trouble, for the tests of screens."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from vision_line.frames import CameraState, DefectEvent, DropCause, EventPhase, NotInspected, Verdict
from vision_line.ports import DeviceLoad, LogStatus
from vision_line.telemetry.alarms import plan_alarms
from vision_line.telemetry.latency_histogram import Quantiles
from vision_line.telemetry.snapshot import CameraSnapshot, Snapshot, Totals

NOON_UTC = 1_780_000_000.0
KINDS = ("open", "short", "mousebite", "spur", "spurious_copper", "pin_hole")


def well(number: int) -> CameraSnapshot:
    """Return a camera that runs and is inspected."""
    return CameraSnapshot(
        name=f"cam{number:02}",
        state=CameraState.RUNNING,
        fps_in=25.0,
        fps_inspected=8.0 + number % 5 / 10,
        dropped_fps={DropCause.SUPERSEDED: 16.8 - number % 5 / 10},
        dropped={DropCause.SUPERSEDED: 1200},
        latency_ms=Quantiles(58.0 + number % 7, 140.0, 176.0 + number % 9, 900),
        last_frame_age_s=0.05 + number % 4 / 20,
        detections=37,
        events=number * 7 % 5,
        sequence=31_000,
    )


def troubled(
    number: int, state: CameraState, code: str | None = None, detail: str = "", age_s: float | None = 17.0
) -> CameraSnapshot:
    """Return a camera that brings no frames."""
    return CameraSnapshot(
        name=f"cam{number:02}", state=state, code=code, detail=detail, last_frame_age_s=age_s, reconnects=3
    )


def defect(number: int, camera: str = "cam03", phase: EventPhase = EventPhase.END) -> DefectEvent:
    """Return a defect seen `number` seconds before now."""
    seen_utc = NOON_UTC - number
    return DefectEvent(
        event_id=f"e{number}",
        phase=phase,
        camera=camera,
        class_id=number % 6,
        class_name=KINDS[number % 6],
        verdict=(Verdict.REJECT, Verdict.WARN, Verdict.REJECT)[number % 3],
        score=0.8,
        top_score=0.55 + number % 4 / 10,
        xyxy=(1.0, 2.0, 3.0, 4.0),
        sequence=1,
        hits=3 + number,
        first_seen_s=100.0 - number,
        first_seen_utc=seen_utc,
        last_seen_s=100.0,
        last_seen_utc=NOON_UTC,
    )


def line_of(
    cameras: tuple[CameraSnapshot, ...],
    log: LogStatus = LogStatus(True, "", 12, 84.0),  # noqa: B008  immutable
    not_inspected: tuple[NotInspected, ...] = (),
) -> Snapshot:
    """Return a snapshot of a whole line."""
    return Snapshot(
        version="0.1.0",
        device="cpu int8",
        model="pcb-yolov8n",
        started_utc=NOON_UTC - 727,
        now_utc=NOON_UTC,
        uptime_s=727.0,
        totals=Totals(
            fps_in=sum(camera.fps_in for camera in cameras),
            fps_inspected=sum(camera.fps_inspected for camera in cameras),
            fps_dropped=sum(sum(camera.dropped_fps.values()) for camera in cameras),
            latency_ms=Quantiles(61.0, 142.0, 181.0, 9000),
            batch_occupancy=0.94,
            cpu_percent=87.3,
            cores=2,
            rss_mb=612.0,
            events=sum(camera.events for camera in cameras),
        ),
        log=log,
        cameras=cameras,
        latest_events=tuple(
            defect(n, f"cam{n * 7 % 16 + 1:02}", EventPhase.UPDATE if n < 2 else EventPhase.END) for n in range(32)
        ),
        alarms=plan_alarms(cameras, log, not_inspected, 100.0),
        not_inspected=not_inspected,
    )


def make_well_line(count: int) -> Snapshot:
    """Return a line on which every camera is inspected."""
    return line_of(tuple(well(number) for number in range(1, count + 1)))


def make_troubled_line(count: int) -> Snapshot:
    """Return a line with the last camera unreachable, the one before frozen, and another degraded."""
    cameras = [well(number) for number in range(1, count + 1)]
    cameras[-1] = troubled(count, CameraState.RECONNECTING, "TIMEOUT", "no answer from 10.0.3.7:554 within 5.0 s")
    cameras[-2] = troubled(count - 1, CameraState.FROZEN)
    cameras[0] = CameraSnapshot(
        name="cam01",
        state=CameraState.DEGRADED,
        detail="blurred",
        fps_in=25.0,
        fps_inspected=8.1,
        dropped_fps={DropCause.SUPERSEDED: 16.4, DropCause.CORRUPT: 0.5},
        latency_ms=Quantiles(60.0, 140.0, 180.0, 900),
        last_frame_age_s=0.1,
        events=2,
        sequence=9,
    )
    return line_of(tuple(cameras))


def gpu(number: int) -> DeviceLoad:
    """Return a GPU that is busy; every third one is too hot, every fourth one's memory is nearly full."""
    return DeviceLoad(
        name=f"cuda:{number}",
        memory_used_mb=23_900 if number % 4 == 3 else 1100 + number,
        memory_total_mb=24_576,
        sm_percent=32 + number,
        decoder_percent=100 if number % 2 else 53,
        power_w=35.2,
        energy_j=7000.0,
        temperature_c=93 if number % 3 == 2 else 61,
        throttled=number % 3 == 2,
    )


@pytest.fixture
def well_line() -> Callable[[int], Snapshot]:
    """Return the maker of a line of so many cameras, all well."""
    return make_well_line


@pytest.fixture
def troubled_line() -> Callable[[int], Snapshot]:
    """Return the maker of a line of so many cameras, three of them in trouble."""
    return make_troubled_line
