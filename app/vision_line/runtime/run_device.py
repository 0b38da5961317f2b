# SPDX-License-Identifier: AGPL-3.0-or-later
"""The device of a run: opened in a thread, given up when the run is to end before it is open, and fitted to cameras."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from vision_line.config.camera_recipes import each_case
from vision_line.config.load import LoadedConfig
from vision_line.config.models import Config
from vision_line.devices.model.model import Model
from vision_line.devices.preprocessing.shapes import SizeWH, plan_input_shapes
from vision_line.devices.selection import open_device
from vision_line.devices.several_models import OpenModel, SeveralModels
from vision_line.errors import DeviceError, ModelError
from vision_line.frames import OWN_MODEL, Scores
from vision_line.inspection.detection_filter import score_floor
from vision_line.ports import ShapeHW
from vision_line.runtime.camera_manager import CONTINUE_RATIO
from vision_line.runtime.run_models import ModelsInForce, RunModels, class_numbers
from vision_line.runtime.setup import RunSetup
from vision_line.scheduler import InspectedFrame

logger = logging.getLogger(__name__)


class DeviceOpener:
    """Opens the run's device without holding up cameras, signals and the dashboard: compiling takes a second or ten."""

    def __init__(self, setup: RunSetup, wake: Callable[[], None], on_status: Callable[[str], None]) -> None:
        """`wake` is called, in the device's threads, for each result; `on_status` gets what it is busy with."""
        self._setup = setup
        self._wake = wake
        self._on_status = on_status
        self._given_up = threading.Event()  # ends the building of engines
        self._cameras = 1

    @property
    def cameras(self) -> int:
        """How many frames a batch can have: at most one of each camera."""
        return self._cameras

    def expect(self, cameras: int) -> None:
        """Open what is opened from now on for so many cameras."""
        self._cameras = max(1, cameras)

    async def open(self, sizes_wh: Sequence[SizeWH], stop: asyncio.Event) -> SeveralModels | None:
        """Open all models for frames of these sizes; None if `stop` is set before they are, which also ends a build.

        Raises:
            DeviceError, ModelError: one cannot be opened; of a recipe's the recipe is named.
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

    async def open_more(
        self, device: SeveralModels, loaded: LoadedConfig, models: RunModels, sizes_wh: Sequence[SizeWH]
    ) -> None:
        """Open those of `models`, which are of `loaded`, that `device` does not have; the others go on meanwhile.

        Raises:
            DeviceError, ModelError: one cannot be opened; the recipe is named.
        """
        for key in models.by_key.keys() - device.descriptions.keys():
            await asyncio.to_thread(self._add, device, key, loaded.config, models, sizes_wh)

    def give_up(self) -> None:
        """End the building of engines, also of one for an input shape or a model that was added later; any thread."""
        self._given_up.set()

    def plan(self, model: Model, sizes_wh: Sequence[SizeWH]) -> tuple[ShapeHW, ...]:
        """Return the input shapes of a model for frames of these sizes."""
        return tuple(plan_input_shapes(model, sizes_wh, self.most_shapes))

    @property
    def most_shapes(self) -> int:
        """How many input shapes a model may have."""
        return self._setup.loaded.config.model.max_input_shapes

    def score_floors(self, config: Config, models: RunModels) -> dict[str, Scores]:
        """Return by model the scores below which no camera of `config` needs a detection, whatever recipe comes."""
        return {key: _score_floor(config, models, key) for key in models.by_key}

    def _open(self, sizes_wh: Sequence[SizeWH]) -> SeveralModels:
        loaded, models = self._setup.loaded, self._setup.models.models
        with ExitStack() as undo:
            opened: dict[str, OpenModel] = {}
            for key in models.by_key:
                opened[key] = self._opened(loaded.config, models, key, sizes_wh)
                undo.callback(opened[key].device.close)
            undo.pop_all()
        return SeveralModels(opened)

    def _add(
        self, device: SeveralModels, key: str, config: Config, models: RunModels, sizes_wh: Sequence[SizeWH]
    ) -> None:
        device.add(key, self._opened(config, models, key, sizes_wh))

    def _opened(self, config: Config, models: RunModels, key: str, sizes_wh: Sequence[SizeWH]) -> OpenModel:
        model = models.by_key[key]
        try:
            device = open_device(
                self._setup.device_name,
                model,
                self.plan(model, sizes_wh),
                self._wake,
                score_floor=_score_floor(config, models, key),
                stop=self._given_up,
                on_status=self._on_status,
                max_batch=self._cameras,
            )
        except (DeviceError, ModelError) as exc:
            if key == OWN_MODEL:
                raise
            recipes = ", ".join(models.recipes_of(key))
            raise type(exc)(f"recipe {recipes}: {exc}") from exc
        return OpenModel(device, model.name, class_numbers(model, self._setup.models.classes))


def _score_floor(config: Config, models: RunModels, key: str) -> Scores:
    model = models.by_key[key]
    streams = [one for recipe, one in each_case(config) if models.key_at(config, recipe, one.name) == key]
    return score_floor(streams, model.classes, model.score_threshold, continue_ratio=CONTINUE_RATIO)


class DeviceFitter:
    """Fits the open device to its cameras as they change.

    Frames of another aspect ratio than those at the start get an input shape of their own, and where more cameras come
    the batches get room for a frame of each.
    """

    def __init__(
        self, device: SeveralModels, opener: DeviceOpener, models: ModelsInForce, on_change: Callable[[], None]
    ) -> None:
        """Fit `device`, which has `models`; `on_change` is called after each change to it."""
        self._device = device
        self._opener = opener
        self._models = models
        self._on_change = on_change
        self._sizes_wh: dict[str, SizeWH] = {}
        self._changed = asyncio.Event()

    @property
    def sizes_wh(self) -> list[SizeWH]:
        """The sizes of the frames that were inspected, one entry a camera."""
        return list(self._sizes_wh.values())

    def note(self, frames: Sequence[InspectedFrame]) -> None:
        """Take in the sizes of frames that were inspected."""
        for frame in frames:
            if self._sizes_wh.get(frame.camera) != frame.size_wh:
                self._sizes_wh[frame.camera] = frame.size_wh
                self._changed.set()

    def fit_cameras(self) -> None:
        """Fit it to the number of cameras that the opener expects now."""
        self._changed.set()

    async def run(self) -> None:
        """Add shapes and make room, in a thread, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._fit_batches()
            for key, description in self._device.descriptions.items():
                await self._fit(key, description.input_shapes_hw)

    async def _fit_batches(self) -> None:
        """Make room for a frame of each camera; where that fails, batches are smaller, and none is left out."""
        before = self._device.description.max_batch
        try:
            await asyncio.to_thread(self._device.ensure_batch, self._opener.cameras)
        except DeviceError as exc:
            logger.warning("batches stay smaller than the number of cameras: %s", exc)
        if self._device.description.max_batch != before:
            self._on_change()

    async def _fit(self, key: str, offered: tuple[ShapeHW, ...]) -> None:
        """Add the shapes that a model lacks, as many as it may have."""
        planned = self._opener.plan(self._models.by_key[key], self.sizes_wh)
        more = [shape for shape in planned if shape not in offered][: max(0, self._opener.most_shapes - len(offered))]
        for shape in more:
            await asyncio.to_thread(self._device.ensure_shape, key, shape)
            self._on_change()
