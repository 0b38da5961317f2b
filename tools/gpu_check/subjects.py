# SPDX-License-Identifier: AGPL-3.0-or-later
"""The self-test's device, closed: for stages that use single checks of it."""

from __future__ import annotations

import threading
from dataclasses import replace

from tools.gpu_check.findings import is_rehearsal

from vision_line.devices.cuda.context import open_gpu
from vision_line.devices.model.model import open_model
from vision_line.devices.selection import decoder_opener
from vision_line.ports import ShapeHW
from vision_line.selftest.device_under_test import QUICK, DeviceUnderTest, Settings

FULL_HD, SMALL_SHAPE = (1920, 1080), (192, 320)
_REHEARSED = replace(
    QUICK, seconds=1.0, settle_s=0.5, repeats=2, frames=8, submitted=20, buckets=(1, 2), cameras=2, fps=5.0
)


def settings(full: Settings = QUICK, size_wh: tuple[int, int] = FULL_HD) -> Settings:
    """Return how thorough a stage is; a rehearsal takes little of everything."""
    return replace(_REHEARSED, size_wh=(320, 192)) if is_rehearsal() else replace(full, size_wh=size_wh)


def closed_device(shape_hw: ShapeHW = SMALL_SHAPE, full: Settings = QUICK) -> DeviceUnderTest:
    """Return GPU 0 without an engine."""
    chosen = settings(full)
    return DeviceUnderTest(
        name="cuda:0",
        settings=chosen,
        model=open_model(None),
        shape_hw=shape_hw,
        open_decoder=decoder_opener("cuda:0"),
        woken=threading.Event(),
        gpu=open_gpu(0),
        size_wh=chosen.size_wh or FULL_HD,
    )
