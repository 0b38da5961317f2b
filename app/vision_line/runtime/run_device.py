# SPDX-License-Identifier: AGPL-3.0-or-later
"""The device of a run: opened in a thread, given up when the run is to end before it is open, and fitted to cameras."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

from vision_line.config.camera_recipes import each_setting
from vision_line.config.models import Config
from vision_line.devices.preprocessing.shapes import plan_input_shapes
from vision_line.devices.selection import open_device
from vision_line.errors import DeviceError
from vision_line.frames import Scores
from vision_line.inspection.detection_filter import score_floor
from vision_line.ports import Device, LoadedDevice, ShapeHW
from vision_line.runtime.camera_manager import CONTINUE_RATIO
from vision_line.runtime.setup import RunSetup
from vision_line.scheduler import InspectedFrame


class DeviceOpener:
    """Opens the run's device without holding up cameras, signals and the dashboard: compiling takes a second or ten."""

    def __init__(self, setup: RunSetup, wake: Callable[[], None], on_status: Callable[[str], None]) -> None:
        """`wake` is called, in the device's threads, for each result; `on_status` gets what it is busy with."""
        self._setup = setup
        self._wake = wake
        self._on_status = on_status
        self._given_up = threading.Event()  # ends the building of engines

    async def open(self, sizes_wh: Sequence[tuple[int, int]], stop: asyncio.Event) -> LoadedDevice | None:
        """Open the device for frames of these sizes; None if `stop` is set before it is open, which also ends a build.

        Raises:
            DeviceError: it cannot be opened.
        """
        opening = asyncio.create_task(asyncio.to_thread(self._open, sizes_wh), name="device")
        asked = asyncio.create_task(stop.wait(), name="stop")
        await asyncio.wait({opening, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not opening.done():
            self.give_up()
        try:
            return await opening
        except DeviceError:
            if self._given_up.is_set():
                return None
            raise

    def give_up(self) -> None:
        """End the building of engines, also of one for an input shape that was added later; any thread."""
        self._given_up.set()

    def plan(self, sizes_wh: Sequence[tuple[int, int]]) -> tuple[ShapeHW, ...]:
        """Return the input shapes for frames of these sizes."""
        return tuple(plan_input_shapes(self._setup.model, sizes_wh, self.most_shapes))

    @property
    def most_shapes(self) -> int:
        """How many input shapes the device may have."""
        return self._setup.loaded.config.model.max_input_shapes

    def score_floor(self, config: Config) -> Scores:
        """Return the scores below which no camera of `config` needs a detection, whatever recipe comes."""
        model = self._setup.model
        return score_floor(each_setting(config), model.classes, model.score_threshold, continue_ratio=CONTINUE_RATIO)

    def _open(self, sizes_wh: Sequence[tuple[int, int]]) -> LoadedDevice:
        return open_device(
            self._setup.device_name,
            self._setup.model,
            self.plan(sizes_wh),
            self._wake,
            score_floor=self.score_floor(self._setup.loaded.config),
            stop=self._given_up,
            on_status=self._on_status,
        )


class InputShapes:
    """Gives cameras whose frames have another aspect ratio than those at the start an input shape of their own."""

    def __init__(self, device: Device, opener: DeviceOpener, on_change: Callable[[Device], None]) -> None:
        """Fit `device`; `on_change` is called after each change to it."""
        self._device = device
        self._opener = opener
        self._on_change = on_change
        self._sizes_wh: dict[str, tuple[int, int]] = {}
        self._new_size = asyncio.Event()

    def note(self, frames: Sequence[InspectedFrame]) -> None:
        """Take in the sizes of frames that were inspected."""
        for frame in frames:
            if self._sizes_wh.get(frame.camera) != frame.size_wh:
                self._sizes_wh[frame.camera] = frame.size_wh
                self._new_size.set()

    async def run(self) -> None:
        """Add shapes, in a thread, until cancelled."""
        while True:
            await self._new_size.wait()
            self._new_size.clear()
            for shape in self._opener.plan(list(self._sizes_wh.values())):
                offered = self._device.description.input_shapes_hw
                if shape not in offered and len(offered) < self._opener.most_shapes:
                    await asyncio.to_thread(self._device.ensure_shape, shape)
                    self._on_change(self._device)
