# SPDX-License-Identifier: AGPL-3.0-or-later
"""Frames that were not decoded: whether decoding was short, or the camera rested for the device's sake."""

from __future__ import annotations

import pytest

from vision_line.frames import DropCause
from vision_line.inspection.coverage.minutes import CameraCounts
from vision_line.inspection.coverage.shortage import FrameFlow
from vision_line.inspection.coverage.window import Need


@pytest.mark.parametrize(("rested", "cause"), [(98, "capacity"), (0, "capacity:decoding"), (50, "capacity:decoding")])
def test_the_cause_is_the_device_only_where_the_camera_rested(rested: int, cause: str) -> None:
    """Of 100 frames two were inspected and the others shed: without the rest there would have been enough."""
    flow = FrameFlow(Need(2.0, inspections=60, dwell_s=4.0))
    flow.note(0.0, CameraCounts())
    flow.note(4.0, CameraCounts(100, 2, 2, {DropCause.SHED: 98}, rested=rested))
    assert flow.cause() == cause
