# SPDX-License-Identifier: AGPL-3.0-or-later
"""Time in queues on the way is part of the latency, has its own figures, and is reported while it is too long."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.builders import make_frame, make_inspection

from vision_line.frames import CameraState, DropCause, Inspection
from vision_line.ingest.mailbox import MailboxCounts
from vision_line.ingest.shedding import DecodeLoad
from vision_line.ports import LogStatus
from vision_line.telemetry.alarms import plan_alarms, plan_notices
from vision_line.telemetry.camera_metrics import CameraCounters, CameraMetrics
from vision_line.telemetry.snapshot import CameraSnapshot


def late(behind_s: float) -> Inspection:
    return make_inspection(make_frame("a", at_s=1000.0, at_utc=5e8, behind_s=behind_s), after_s=0.04)


def test_latency_counts_from_the_capture() -> None:
    """50 ms after it had been read, of a frame that had waited for 200 ms."""
    camera = CameraMetrics("a", CameraCounters(MailboxCounts))
    assert camera.inspected(late(0.2), 1000.05) == pytest.approx(250.0)
    totals = camera.totals(1001.0, {})
    assert totals.latency_ms is not None
    assert totals.behind_ms is not None
    assert totals.latency_ms.p50 == pytest.approx(250.0, rel=0.025)
    assert totals.behind_ms.p50 == pytest.approx(200.0, rel=0.025)
    now = camera.snapshot(1000.1)
    assert now.last_frame_age_s == pytest.approx(0.3)


def test_the_latest_frame_is_remembered_when_a_camera_is_altered() -> None:
    """One connection's, and the next one's after a change of the configuration."""
    first, second = DecodeLoad(), DecodeLoad()
    camera = CameraMetrics("a", CameraCounters(MailboxCounts, load=first))
    first.saw(1000.0, 7.5, keyframe=True)
    first.saw(1000.1, 0.5, keyframe=False)
    assert camera.snapshot(1000.2).behind_s == 0.5
    camera.attach(CameraCounters(MailboxCounts, load=second))
    assert camera.snapshot(1000.3).behind_s == 0.0
    assert camera.totals(1001.0, {}).most_behind_ms == 7500.0


def test_cameras_that_the_command_line_leaves_out_are_reported() -> None:
    """Two of two are inspected, and three are not watched at all."""
    assert plan_notices([], None, left_out=("cam03", "cam04")) == ("left out by --cameras: cam03, cam04",)


def test_late_frames_and_shed_decoding_are_alarms() -> None:
    """A line is not green while frames come too late to be inspected, or while some are not decoded."""
    late = CameraSnapshot("a", CameraState.RUNNING, dropped_fps={DropCause.BEHIND: 2.0}, behind_s=1.25, sequence=1)
    well = CameraSnapshot("b", CameraState.RUNNING, sequence=1)
    alarms = plan_alarms([late, well], LogStatus(), (), 0.0, "capacity:decoding: room for half")
    assert alarms == ("capacity:decoding: room for half", "frames arrive 1.2 s late: a")
    assert plan_alarms([well], LogStatus(), (), 0.0) == ()
    caught_up = replace(late, behind_s=0.0)
    assert plan_alarms([caught_up], LogStatus(), (), 0.0) == ("late frames were skipped: a",)
    waiting = replace(late, not_inspected="device:STARTING")
    assert plan_alarms([waiting], LogStatus(), (), 0.0) == ()
