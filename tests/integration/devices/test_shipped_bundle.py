# SPDX-License-Identifier: AGPL-3.0-or-later
"""The bundle in the package opens and runs on the CPU device at every shape that it names."""

from __future__ import annotations

import threading

import av

from vision_line.devices.cpu.backend import open_cpu
from vision_line.devices.model.model import open_model
from vision_line.frames import Colour, ColourMatrix, ColourRange, Frame

MAX_BYTES = 4_000_000
DEADLINE_S = 60.0


def test_the_shipped_bundle_runs() -> None:
    """Its hash is right, it stays under 4 MB, and one frame for each shape comes back."""
    model = open_model(None)
    woken = threading.Event()
    device = open_cpu(model, model.input_shapes_hw, woken.set)
    try:
        for height, width in model.input_shapes_hw:
            woken.clear()
            colour = Colour(ColourMatrix.BT601, ColourRange.LIMITED)
            data = av.VideoFrame(width * 2, height * 2, "yuv420p")
            device.submit([Frame("a", 0, (width * 2, height * 2), colour, data, 0.0, 0.0, 0.0)])
            assert woken.wait(DEADLINE_S)
            assert len(device.collect()) == 1
    finally:
        device.close()

    assert model.path.stat().st_size < MAX_BYTES
    assert model.precision == "int8"
