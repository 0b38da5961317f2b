# SPDX-License-Identifier: AGPL-3.0-or-later
"""A device under test on the simulated device."""

from __future__ import annotations

import threading

import pytest
from benchmarks.simulated_device import SimulatedDevice

from vision_line.devices.cpu.decoder import CpuDecoder
from vision_line.devices.model.model import open_model
from vision_line.ports import DeviceDescription
from vision_line.selftest.device_under_test import DeviceUnderTest, Settings

SHAPE = (192, 320)


@pytest.fixture
def dut() -> DeviceUnderTest:
    """Return a simulated device under test that detects nothing, at once, and has no GPU."""
    woken = threading.Event()
    description = DeviceDescription("simulated", "", "int8", (SHAPE,), slots=2, max_batch=4)
    return DeviceUnderTest(
        name="simulated",
        settings=Settings(seconds=0.2, settle_s=0.2, repeats=4, frames=9, submitted=40, cameras=3, fps=20.0),
        model=open_model(None),
        shape_hw=SHAPE,
        opened=SimulatedDevice(description, woken.set),
        open_decoder=CpuDecoder,
        woken=woken,
        gpu=None,
        size_wh=(640, 360),
    )
