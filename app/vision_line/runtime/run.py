# SPDX-License-Identifier: AGPL-3.0-or-later
"""The life of a run: cameras first, then the device for the frames they send, then inspection, then the drain."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial

import numpy as np

from vision_line import __version__
from vision_line.config.load import LoadedConfig
from vision_line.devices.selection import decoder_opener
from vision_line.devices.several_models import SeveralModels
from vision_line.encoded import EncodedTap, joined_taps
from vision_line.errors import ConfigError, DeviceError, ModelError, camera_trouble
from vision_line.footprint import start_left_uncollected
from vision_line.frames import OWN_MODEL, Scores
from vision_line.inspection.coverage.causes import Absence
from vision_line.ports import DeviceDescription
from vision_line.runtime.active_recipes import ActiveRecipes, streams_in_force
from vision_line.runtime.camera_manager import CameraManager, CameraModel, SharedParts
from vision_line.runtime.companion import companion_alarms
from vision_line.runtime.configuration_record import configuration_change, recipe_models
from vision_line.runtime.decode_watch import DecodeWatch
from vision_line.runtime.engine_watch import EngineWatch
from vision_line.runtime.feed_snapshots import offer_snapshots
from vision_line.runtime.first_inspections import FirstInspections
from vision_line.runtime.fleet_follower import FleetFollower
from vision_line.runtime.ledger_updater import LedgerUpdater
from vision_line.runtime.live_inspection import LiveInspection, LoadWatch, outcome_of
from vision_line.runtime.monitoring import Monitoring
from vision_line.runtime.recipe_follower import RecipeFollower
from vision_line.runtime.reload import ConfigFollower
from vision_line.runtime.run_device import DeviceFitter, DeviceOpener
from vision_line.runtime.run_models import RunModels
from vision_line.runtime.service_notifier import ServiceNotifier
from vision_line.runtime.setup import RunSetup, check_usable
from vision_line.runtime.signals import Stop, raise_callback_faults
from vision_line.scheduler import Scheduler, SchedulerUpdate, WakeUp
from vision_line.screens.status_line import plain_line
from vision_line.telemetry.metrics import ModelFacts, RunFacts, RunMetrics, RunTotals
from vision_line.telemetry.reading import Reading
from vision_line.telemetry.snapshot import Snapshot

logger = logging.getLogger(__name__)

#: How long the start waits for the cameras' first frames, whose sizes decide on the input shapes.
FIRST_FRAMES_S = 3.0
#: How often the end is checked for where nothing announces it.
CHECK_EVERY_S = 0.2

#: Shows the run until cancelled; gets a function that returns its present state.
Screen = Callable[[Callable[[], Snapshot]], Awaitable[None]]


class Run:
    """One run, in the event loop's thread; `serve` is called once."""

    def __init__(self, setup: RunSetup, screen: Screen, stop: Stop, reload_asked: asyncio.Event) -> None:
        """Keep the parts; what is opened here is closed by `serve`, what is in `setup` by its owner.

        `stop` ends the run, and `reload_asked` has the configuration read again.
        """
        self._setup = setup
        self._screen = screen
        self._stop = stop
        self._reload_asked = reload_asked
        self._wakeup = WakeUp()
        self._metrics = _new_metrics(setup)
        self._ledger = LedgerUpdater(setup.log, self._metrics)
        self._opener = DeviceOpener(setup, self._wakeup.notify, self._device_prepares)
        self._opened = frozenset(setup.models.models.by_key)  # models that are opened at the start
        self._inspection: LiveInspection | None = None
        self._left_out = setup.loaded.left_out
        self._score_floors: Mapping[str, Scores] = {}  # those that the configuration in force needs
        self._fleet: FleetFollower | None = None
        self._first_inspections = FirstInspections(setup.log.write_first_inspection)
        self._monitoring = Monitoring(setup.endpoint, self._reading, setup.log.status)
        self._notifier = ServiceNotifier(self._monitoring.beats, lambda: plain_line(self.snapshot()))
        self.last = self.snapshot()

    async def serve(self) -> None:
        """Run from the first camera to the last record.

        Raises:
            BaseExceptionGroup: what ended the run early.
        """
        self._metrics.remind(self._setup.reminders)
        async with asyncio.TaskGroup() as tasks:
            cameras = CameraManager(tasks, self._shared_parts())
            helpers = self._begin_helpers(tasks, cameras)
            try:
                await self._start(tasks, cameras)
                with start_left_uncollected():
                    await self._serve(cameras)
            finally:  # also of a run that fails: its last minute happened all the same
                try:
                    await self._drain()
                finally:
                    self._ledger.close(cameras.counts())
                    self._monitoring.close()
            for helper in helpers:
                helper.cancel()

    async def _start(self, tasks: asyncio.TaskGroup, cameras: CameraManager) -> None:
        """Start the cameras, open the device for the frames they send, and begin to inspect, unless it is to end."""
        recipes = RecipeFollower(self._setup.recipes, self._setup.loaded, partial(self._bring_in_force, cameras))
        self._metrics.watch_recipes(recipes.status)
        follower = self._follower(cameras, recipes)
        self._metrics.watch_config(follower.status)
        await recipes.begin()
        self._monitoring.serve()
        await self._first_frames(cameras)
        if not self._stop.requested.is_set():
            device = await self._opener.open(list(cameras.sizes_wh().values()), self._stop.requested)
            if device is not None:
                self._inspection = self._begin_inspection(tasks, cameras, (follower, recipes), device)

    async def _serve(self, cameras: CameraManager) -> None:
        """Inspect until the end is asked for or reached, and stop the cameras."""
        if self._inspection is not None:
            await self._until_over(cameras)
            self.last = self.snapshot()  # the run as it was, not as it looks while it is taken down
            self._ledger.stop()
        await cameras.stop()
        if self._fleet is not None:
            await self._fleet.leave()

    def _follower(self, cameras: CameraManager, recipes: RecipeFollower) -> ConfigFollower | FleetFollower:
        """Return what says which cameras there are: the file, or the plan of a fleet."""
        apply = partial(self._reload, recipes)
        if self._setup.fleet is None:
            return ConfigFollower(self._setup.loaded, partial(self._prepare, recipes), apply, self._reload_asked)
        check = partial(self._check, recipes)
        inherited = self._setup.log.inherited
        self._fleet = FleetFollower(
            self._setup.fleet, cameras, inherited, self.snapshot, check, apply, asked=self._reload_asked
        )
        self._metrics.watch_fleet(self._fleet.fleet_status)
        return self._fleet

    async def _drain(self) -> None:
        """Let what is on the device be recorded, and close it."""
        self._monitoring.beats.is_ending = True
        self._notifier.ending()
        if self._inspection is not None:
            self._opener.give_up()  # the engine for one more input shape may still be building, in a thread
            await self._inspection.drain(self._stop.forced)

    @property
    def unfinished_files(self) -> list[str]:
        """One sentence for each file that could not be inspected to its end."""
        return [
            camera_trouble(camera.name, camera.code, camera.detail)
            for camera in self.last.cameras
            if camera.is_unfinished and camera.code is not None
        ]

    def snapshot(self) -> Snapshot:
        """Return the run as it is now."""
        now_s = time.monotonic()
        return self._metrics.snapshot(now_s, time.time(), self._setup.log.status(), self._ledger.open_intervals())

    def totals(self) -> RunTotals:
        """Return what the summary is made of."""
        now_s = time.monotonic()
        self._metrics.committed(self._setup.log.take_latencies_ms(), now_s)
        return self._metrics.totals(now_s)

    def _reading(self) -> Reading:
        return Reading(
            self.totals(),
            self._setup.log.status(),
            self._ledger.open_intervals(),
            self._setup.challenges.states(),
            self._setup.outputs.outputs(),
            self._setup.silence.status(),
        )

    def _device_prepares(self, sentence: str) -> None:
        """Show what the device is busy with, "" when that is over, and let the records say so; any thread."""
        self._metrics.device_prepares(sentence)
        self._ledger.device_builds(bool(sentence))

    def _shared_parts(self) -> SharedParts:
        return SharedParts(
            wake=self._wakeup,
            ledger=self._ledger.awake,
            metrics=self._metrics,
            log=self._setup.log,
            open_decoder=decoder_opener(self._setup.device_name),
            classes=self._setup.models.classes,
            model_at=self._model_at,
            tap_for=self._tap_for,
            absence_of=self._absence_of,
            epoch_of=self._epoch_of,
            expect_inspection=self._first_inspections.expect,
        )

    def _epoch_of(self, camera: str) -> int:
        return 0 if self._fleet is None else self._fleet.epoch_of(camera)

    def _absence_of(self, camera: str, own: Absence | None) -> Absence | None:
        return own if self._fleet is None else self._fleet.absence_of(camera, own)

    def _model_at(self, recipe: str, camera: str) -> CameraModel:
        model = self._setup.models.at(recipe, camera)
        key = self._setup.models.key_at(recipe, camera)
        return CameraModel(key, model.name, model.sha256, model.score_threshold)

    def _tap_for(self, camera: str) -> EncodedTap | None:
        """Return what sees a camera's encoded frames beside its decoder: the feed, and clips where they are kept."""
        return joined_taps(self._setup.feed.offers.tap(camera), self._setup.log.tap_for(camera))

    def _begin_helpers(self, tasks: asyncio.TaskGroup, cameras: CameraManager) -> list[asyncio.Task[None]]:
        """Begin what lasts from the first camera to the last record."""
        return [
            tasks.create_task(self._show(), name="screen"),
            tasks.create_task(self._ledger.run(cameras.counts), name="ledger"),
            tasks.create_task(self._monitoring.run(), name="monitoring"),
            tasks.create_task(self._notifier.run(), name="service manager"),
            tasks.create_task(
                offer_snapshots(self._setup.feed, self.snapshot, self._setup.challenges.states), name="feed"
            ),
            tasks.create_task(raise_callback_faults(), name="callbacks"),
        ]

    async def _show(self) -> None:
        await self._screen(self.snapshot)

    async def _prepare(self, recipes: RecipeFollower, loaded: LoadedConfig) -> None:
        """Refuse a file that cannot be used in this run, and open the models that its recipes add.

        Raises:
            ConfigError: each problem named.
        """
        models = await asyncio.to_thread(self._setup.models.following, loaded)
        check_usable(loaded, models)
        recipes.check(loaded)
        if self._inspection is not None:
            await self._open_more(self._inspection, loaded, models)
        recipes.check(loaded)  # another one may have come in force meanwhile
        self._setup.models.adopt(loaded, models)

    def _check(self, recipes: RecipeFollower, loaded: LoadedConfig) -> None:
        """Refuse a plant that cannot be used in this run: a node opens the models that it had at its start.

        Raises:
            ConfigError: each problem named.
        """
        models = self._setup.models.following(loaded)
        check_usable(loaded, models)
        if new := [name for key in models.by_key.keys() - self._opened for name in models.recipes_of(key)]:
            where = f"{loaded.path}: recipe"
            raise ConfigError(*(f"{where}.{name}.model: is new to this run, which needs a restart" for name in new))
        recipes.check(loaded)
        self._setup.models.adopt(loaded, models)

    async def _open_more(self, inspection: LiveInspection, loaded: LoadedConfig, models: RunModels) -> None:
        try:
            await self._opener.open_more(inspection.device, loaded, models, inspection.fitter.sizes_wh)
        except (DeviceError, ModelError) as exc:
            raise ConfigError(f"{loaded.path}: {exc}") from exc
        self._describe_recipe_models(inspection.device, loaded, models)

    async def _reload(self, recipes: RecipeFollower, loaded: LoadedConfig) -> None:
        self._setup.log.review.apply(loaded.config.review)
        self._setup.outputs.expect(loaded.config.enabled_outputs)
        self._leave_out(loaded.left_out)
        await recipes.reload(loaded)

    def _leave_out(self, cameras: tuple[str, ...]) -> None:
        """Say which cameras `--cameras` leaves out now: as many as before are inspected, but they may be others."""
        if new := [camera for camera in cameras if camera not in self._left_out]:
            logger.warning("left out by --cameras from now on, and not inspected: %s", ", ".join(new))
        self._left_out = cameras
        self._metrics.leave_out(cameras)

    async def _bring_in_force(
        self, cameras: CameraManager, loaded: LoadedConfig, active: ActiveRecipes, why: str
    ) -> None:
        if why != "start":  # which is entered with all else that a run begins with
            for entry in configuration_change(loaded, active, why):
                self._setup.log.write_configuration(entry)
        self._lower_score_floors(self._opener.score_floors(loaded.config, self._setup.models.models))
        streams = streams_in_force(loaded.config, active)
        self._opener.expect(len(streams))
        if self._inspection is not None:
            self._inspection.fitter.fit_cameras()
        await cameras.apply(streams, active.names)

    def _lower_score_floors(self, floors: Mapping[str, Scores]) -> None:
        """Have the device hand back what the cameras need from now on, and what they needed up to now.

        Frames are still in flight that the old settings judge; so what was needed stays for as long as these settings.
        """
        before, self._score_floors = self._score_floors, floors
        if self._inspection is not None:
            self._inspection.device.set_score_floors(
                {key: np.minimum(floor, before.get(key, floor)) for key, floor in floors.items()}
            )

    async def _first_frames(self, cameras: CameraManager) -> None:
        """Wait until each camera has shown a frame or failed, but not long: missing cameras come when they come."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_FRAMES_S):
                while not cameras.is_known and not self._stop.requested.is_set():
                    with suppress(TimeoutError):
                        async with asyncio.timeout(CHECK_EVERY_S):  # a signal is noticed as soon
                            await cameras.changed.wait()
                    cameras.changed.clear()

    async def _until_over(self, cameras: CameraManager) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._setup.options.duration_s):
                while not (self._stop.requested.is_set() or cameras.is_over):
                    with suppress(TimeoutError):
                        async with asyncio.timeout(CHECK_EVERY_S):
                            await self._stop.requested.wait()

    def _begin_inspection(
        self,
        tasks: asyncio.TaskGroup,
        cameras: CameraManager,
        followers: tuple[ConfigFollower | FleetFollower, RecipeFollower],
        device: SeveralModels,
    ) -> LiveInspection:
        """Begin to inspect with the open device."""
        self._describe(device)
        self._describe_recipe_models(device, self._setup.loaded, self._setup.models.models)
        fitter = DeviceFitter(device, self._opener, self._setup.models, partial(self._describe, device))
        scheduler = self._start_scheduler(device, fitter)
        cameras.attach(scheduler)
        self._ledger.device_is_ready()
        decode_watch = DecodeWatch(lambda: cameras.running, self._metrics.decoding_is_short)
        load_watch = LoadWatch(device.sample, self._metrics.device_loads)
        engine_watch = EngineWatch(device.prove_again, self._setup.log.write_doubt, self._metrics.engines_are_unproven)
        helpers = [
            tasks.create_task(followers[0].run(), name="configuration"),
            tasks.create_task(followers[1].run(), name="recipes"),
            tasks.create_task(fitter.run(), name="device"),
            tasks.create_task(decode_watch.run(), name="decoding"),
            tasks.create_task(engine_watch.run(), name="engines"),
        ]
        tasks.create_task(outcome_of(scheduler), name="scheduler")
        return LiveInspection(device, scheduler, load_watch, fitter, engine_watch, helpers)

    def _describe_recipe_models(self, device: SeveralModels, loaded: LoadedConfig, models: RunModels) -> None:
        """Say which models are open beside the run's own, and what proved them."""
        devices = device.descriptions
        for key, model in models.by_key.items():
            if key != OWN_MODEL:
                used = devices[key]
                why = f" ({used.variant_reason})" if used.variant_reason else ""
                recipes = ", ".join(models.recipes_of(key))
                logger.info("model of recipe %s: %s, %s%s", recipes, model.name, used.variant, why)
        self._metrics.facts = replace(
            self._metrics.facts,
            recipe_models=tuple(
                ModelFacts(
                    model.name,
                    model.sha256,
                    devices[key].precision,
                    devices[key].input_shapes_hw,
                    devices[key].variant,
                    devices[key].variant_reason,
                )
                for key, model in models.by_key.items()
                if key != OWN_MODEL
            ),
        )
        self._setup.log.write_configuration(recipe_models(loaded, models, devices))

    def _describe(self, device: SeveralModels) -> None:
        facts, used = self._metrics.facts, device.description
        self._metrics.facts = replace(
            facts, device=used, model=replace(facts.model, input_shapes_hw=used.input_shapes_hw)
        )
        self._setup.log.write_device(used)
        shapes = ", ".join(f"{width}x{height}" for height, width in used.input_shapes_hw)
        batches = f", batches of up to {used.max_batch}" if used.max_batch > 1 else ""
        logger.info("device: %s, %s, input shapes %s%s", used.name, used.detail, shapes, batches)
        logger.info("model: %s%s", used.variant, f" ({used.variant_reason})" if used.variant_reason else "")

    def _start_scheduler(self, device: SeveralModels, fitter: DeviceFitter) -> Scheduler:
        loop, overlay = asyncio.get_running_loop(), self._setup.overlay

        def note(update: SchedulerUpdate) -> None:
            self._ledger.note(update)
            self._first_inspections.note(update.inspected_frames)
            fitter.note(update.inspected_frames)

        def hand_over(update: SchedulerUpdate) -> None:
            self._monitoring.beats.scheduler_s = update.at_s
            # The loop is closed only after this thread has ended, or has been given up in a forced end.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(note, update)

        scheduler = Scheduler(
            device,
            self._setup.log,
            self._wakeup,
            observer=self._metrics,
            on_update=hand_over,
            on_overlay=None if overlay is None else overlay.offer,
            reviewer=self._setup.log.review,
            watcher=self._setup.feed.offers,
        )
        self._monitoring.beats.scheduler_s = time.monotonic()
        scheduler.start()
        return scheduler


def _new_metrics(setup: RunSetup) -> RunMetrics:
    """Return the metrics of a run whose device is being opened."""
    model = setup.models.models.own
    facts = RunFacts(
        version=__version__,
        device=DeviceDescription(setup.device_name, "opening", model.precision, (), 0, 1),
        model=ModelFacts(model.name, model.sha256, model.precision, ()),
        started_s=time.monotonic(),
        started_utc=time.time(),
    )
    metrics = RunMetrics(facts)
    metrics.leave_out(setup.loaded.left_out)
    if setup.log.inherited.step is not None:
        metrics.clock_stepped(setup.log.inherited.step)
    if setup.overlay is not None:
        metrics.watch_overlay(setup.overlay.status)
    metrics.watch_feed(lambda: setup.feed.status)
    metrics.watch_challenges(setup.challenges.states)
    metrics.watch_silence(setup.silence.status)
    metrics.watch_outputs(setup.outputs.outputs)
    metrics.watch_companions(partial(companion_alarms, setup.companions))
    return metrics
