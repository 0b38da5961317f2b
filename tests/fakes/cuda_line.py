# SPDX-License-Identifier: AGPL-3.0-or-later
"""An NVIDIA device on fakes, and frames that show one tile in the colour of a class: each result says whose it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tests.builders import FULL
from tests.fakes.machine import CudaMachine

from vision_line.devices.cuda.backend import open_cuda
from vision_line.devices.model.model import Model
from vision_line.frames import Frame, Inspection

SHAPE = (64, 128)
SIZE_WH = (128, 64)
TILES = 8  # 32 x 32, four in a row
DEADLINE_S = 60.0

#: (class, tile): what a frame shows and what is found.
Shown = tuple[int, int]


class Line:
    """A device and the frames that it is given."""

    def __init__(self, machine: CudaMachine, model: Model, **options: Any) -> None:
        self.machine = machine
        self.woken = threading.Event()
        self.device = open_cuda(model, [SHAPE], self.woken.set, cache=machine.cache, **options)
        self.sequence = 0

    def frame(self, shown: Shown, stream: Any = None) -> Frame:
        """Return the next frame; its data are uploaded on `stream`."""
        class_id, tile = shown
        rgb = np.zeros((64, 128, 3), np.uint8)
        row, column = divmod(tile, 4)
        rgb[row * 32 : row * 32 + 32, column * 32 : column * 32 + 32, class_id] = 255
        self.sequence += 1
        surface = self.machine.show(rgb, stream)
        return Frame("a", self.sequence, SIZE_WH, FULL, surface, 0.0, 0.0, 0.0)

    def submit(self, batch: Sequence[Shown]) -> None:
        """Submit a batch, of which nobody else keeps anything."""
        self.device.submit([self.frame(shown) for shown in batch])

    def collect(self, frames: int) -> list[Shown]:
        """Return what was found in the next `frames` frames."""
        found: list[Inspection] = []
        deadline = time.monotonic() + DEADLINE_S
        while len(found) < frames:
            assert self.woken.wait(max(0.0, deadline - time.monotonic())), "wake was not called"
            self.woken.clear()
            found += self.device.collect()
        return [_seen(inspection) for inspection in found]


def _seen(inspection: Inspection) -> Shown:
    found = inspection.detections
    if len(found) != 1:
        return -1, len(found)
    left, top = found.xyxy[0, :2]
    return int(found.class_id[0]), int(top // 32 * 4 + left // 32)


OpenLine = Callable[..., Line]


def shown_frames(count: int, first: int = 0) -> list[Shown]:
    """Return what the next `count` frames are to show, other things for each `first`."""
    return [((first + number) % 3, (first + number) * 5 % TILES) for number in range(count)]
