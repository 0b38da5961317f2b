# SPDX-License-Identifier: AGPL-3.0-or-later
"""The life of a run: cameras first, then the device for the pictures they send, then inspection, then the drain."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from vision_line import __version__
from vision_line.config.load import LoadedConfig
from vision_line.config.models import Config
from vision_line.devices.model.model import Model
from vision_line.devices.preprocessing.shapes import plan_input_shapes
from vision_line.devices.selection import decoder_opener, open_device
from vision_line.errors import ConfigError, DeviceError, camera_trouble
from vision_line.frames import CoverageMinute, NotInspected, Scores
from vision_line.ingest.recorded import slow_files
from vision_line.inspection.coverage.ledger import CoverageLedger
from vision_line.inspection.detection.filter import score_floor, unknown_classes
from vision_line.ports import Device, DeviceDescription
from vision_line.records.log import SqliteLog
from vision_line.records.overlay_video import OverlayWriter
from vision_line.runtime.callbacks import raise_callback_faults
from vision_line.runtime.camera_manager import CONTINUE_RATIO, CameraManager
from vision_line.runtime.decode_watch import DecodeWatch
from vision_line.runtime.load_watch import LoadWatch
from vision_line.runtime.pulse import Beat, Pulse
from vision_line.runtime.reload import ConfigFollower
from vision_line.runtime.signals import Stop
from vision_line.scheduler import Scheduler, SchedulerUpdate, WakeUp
from vision_line.telemetry.metrics import ModelFacts, RunFacts, RunMetrics, RunTotals
from vision_line.telemetry.snapshot import Snapshot

logger = logging.getLogger(__name__)

#: How long the start waits for the cameras' first pictures, whose sizes decide on the input shapes.
FIRST_PICTURES_S = 3.0
#: How often the ledger is brought up to date.
TICK_S = 0.2
#: How long a drain may take before it is forced.
DRAIN_S = 15.0
#: How long an inspector that was told to end at once is waited for; one that hangs in a device does not answer.
ABORT_S = 1.0

#: Shows the line until cancelled; gets a function that returns its present state.
Screen = Callable[[Callable[[], Snapshot]], Awaitable[None]]


def check_classes(loaded: LoadedConfig, model: Model) -> None:
    """Refuse thresholds for classes that the model does not have.

    Raises:
        ConfigError: each one named.
    """
    if problems := unknown_classes(loaded.config.enabled_streams, model.classes):
        raise ConfigError(*(f"{loaded.path}: {problem}" for problem in problems))


def check_files(loaded: LoadedConfig) -> None:
    """Refuse files that hold too few frames for a part ever to get its looks.

    Raises:
        ConfigError: each one named.
    """
    if problems := slow_files(loaded.config.enabled_streams):
        raise ConfigError(*(f"{loaded.path}: {problem}" for problem in problems))


class Run:
    """One run, in the event loop's thread; `serve` is called once."""

    def __init__(
        self,
        loaded: LoadedConfig,
        model: Model,
        device_name: str,
        log: SqliteLog,
        overlay: OverlayWriter | None,
        screen: Screen,
        duration_s: float | None,
        stop: Stop,
        reload_asked: asyncio.Event,
    ) -> None:
        """Keep the parts; what is opened here is closed by `serve`, what is given by its owner.

        `duration_s` counts from the moment that the device is ready; None: without end. `stop` ends the run, and
        `reload_asked` has the configuration read again.
        """
        self._loaded = loaded
        self._model = model
        self._device_name = device_name
        self._log = log
        self._overlay = overlay
        self._screen = screen
        self._duration_s = duration_s
        self._stop = stop
        self._reload_asked = reload_asked
        self._bell = WakeUp()
        self._ledger = CoverageLedger(device_ready=False)
        self._facts = RunFacts(
            version=__version__,
            device=DeviceDescription(device_name, "opening", model.precision, (), 0, 1),
            model=ModelFacts(model.name, model.sha256, model.precision, ()),
            started_s=time.monotonic(),
            started_utc=time.time(),
        )
        self._metrics = RunMetrics(self._facts)
        self._metrics.leave_out(loaded.left_out)
        self._pulse = Pulse(TICK_S)
        if log.inherited.step is not None:
            self._metrics.clock_stepped(log.inherited.step)
        if overlay is not None:
            self._metrics.watch_overlay(overlay.status)
        self._device: Device | None = None
        self._given_up = threading.Event()  # ends the building of engines
        self._sizes_wh: dict[str, tuple[int, int]] = {}
        self._new_size = asyncio.Event()
        self.last = self.snapshot()

    def remind(self, sentences: Sequence[str]) -> None:
        """Show these while the line runs: what was accepted at its start and an operator may not want."""
        self._metrics.remind(sentences)

    @property
    def unfinished_files(self) -> list[str]:
        """One sentence for each file that could not be inspected to its end."""
        return [
            camera_trouble(camera.name, camera.code, camera.detail)
            for camera in self.last.cameras
            if camera.is_unfinished and camera.code is not None
        ]

    def snapshot(self) -> Snapshot:
        """Return the line as it is now."""
        now_s = time.monotonic()
        return self._metrics.snapshot(now_s, time.time(), self._log.status(), self._ledger.open_intervals())

    def totals(self) -> RunTotals:
        """Return what the summary is made of."""
        now_s = time.monotonic()
        self._metrics.committed(self._log.take_latencies_ms(), now_s)
        return self._metrics.totals(now_s)

    async def serve(self) -> None:
        """Run from the first camera to the last record.

        Raises:
            BaseExceptionGroup: what ended the run early.
        """
        async with asyncio.TaskGroup() as tasks:
            lineup = CameraManager(
                tasks,
                self._bell,
                self._ledger_awake,
                self._metrics,
                self._log,
                decoder_opener(self._device_name),
                self._model.classes,
                self._model.score_threshold,
            )
            follower = ConfigFollower(
                self._loaded,
                self._check,
                lambda new: self._apply(lineup, new.config),
                self._reload_asked,
            )
            helpers = [
                tasks.create_task(self._show(), name="screen"),
                tasks.create_task(self._tick(lineup), name="ledger"),
                tasks.create_task(raise_callback_faults(), name="callbacks"),
            ]
            try:
                await self._apply(lineup, self._loaded.config)
                await self._first_pictures(lineup)
                if not self._stop.requested.is_set():
                    await self._inspect(tasks, lineup, follower)
                await lineup.stop()
            finally:
                self._close_ledger(lineup)  # also of a run that fails: its last minute happened all the same
            for helper in helpers:
                helper.cancel()

    def _check(self, loaded: LoadedConfig) -> None:
        check_classes(loaded, self._model)
        check_files(loaded)

    async def _show(self) -> None:
        await self._screen(self.snapshot)

    async def _apply(self, lineup: CameraManager, config: Config) -> None:
        if self._device is not None:
            self._device.set_score_floor(self._score_floor(config))
        await lineup.apply(config.enabled_streams)

    async def _first_pictures(self, lineup: CameraManager) -> None:
        """Wait until each camera has shown a picture or failed, but not long: missing cameras come when they come."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_PICTURES_S):
                while not lineup.is_known and not self._stop.requested.is_set():
                    with suppress(TimeoutError):
                        async with asyncio.timeout(TICK_S):  # a signal is noticed as soon
                            await lineup.changed.wait()
                    lineup.changed.clear()

    async def _inspect(self, tasks: asyncio.TaskGroup, lineup: CameraManager, follower: ConfigFollower) -> None:
        # In a thread: compiling takes a second or ten, and cameras, signals and the dashboard go on meanwhile.
        device = self._device = await self._opened_device(lineup.sizes_wh())
        if device is None:
            return
        self._describe(device)
        inspector = self._start_inspector(device)
        lineup.attach(inspector)
        self._ledger_awake().device_is_ready(time.monotonic())
        decode_watch = DecodeWatch(lambda: lineup.stations, self._metrics.decoding_is_short)
        watch = LoadWatch(device.loads, self._metrics.device_loads)
        helpers = [
            tasks.create_task(follower.run(), name="configuration"),
            tasks.create_task(self._fit_shapes(device), name="input shapes"),
            tasks.create_task(decode_watch.run(), name="decoding"),
        ]
        try:
            tasks.create_task(_outcome(inspector), name="inspector")
            await self._until_over(lineup)
            self.last = self.snapshot()  # the line as it was, not as it looks while it is taken down
            self._ledger_awake().stop(time.monotonic())
            await lineup.stop()
        finally:
            for helper in helpers:
                helper.cancel()
            self._given_up.set()  # the engine for one more input shape may be in the building, in a thread
            watch.close()
            await self._drain(inspector, device)

    async def _opened_device(self, sizes_wh: Sequence[tuple[int, int]]) -> Device | None:
        """Open the device in a thread; None if the run is to end before it is open, which also ends a build."""
        opening = asyncio.create_task(asyncio.to_thread(self._open_device, sizes_wh), name="device")
        asked = asyncio.create_task(self._stop.requested.wait(), name="stop")
        await asyncio.wait({opening, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not opening.done():
            self._given_up.set()
        try:
            return await opening
        except DeviceError:
            if self._given_up.is_set():
                return None
            raise

    def _open_device(self, sizes_wh: Sequence[tuple[int, int]]) -> Device:
        config = self._loaded.config
        shapes = plan_input_shapes(self._model, sizes_wh, config.model.max_input_shapes)
        floor = self._score_floor(config)
        return open_device(
            self._device_name,
            self._model,
            shapes,
            self._bell.ring,
            score_floor=floor,
            stop=self._given_up,
            tell=self._metrics.device_prepares,
        )

    def _score_floor(self, config: Config) -> Scores:
        return score_floor(
            config.enabled_streams,
            self._model.classes,
            self._model.score_threshold,
            continue_ratio=CONTINUE_RATIO,
        )

    def _describe(self, device: Device) -> None:
        used = device.description
        self._metrics.facts = replace(
            self._facts, device=used, model=replace(self._facts.model, input_shapes_hw=used.input_shapes_hw)
        )
        self._log.write_device(used)
        logger.info("device: %s, %s, input shapes %s", used.name, used.detail, used.input_shapes_hw)
        logger.info("model: %s%s", used.form, f" ({used.form_reason})" if used.form_reason else "")

    async def _fit_shapes(self, device: Device) -> None:
        """Give cameras whose pictures have another aspect ratio than those at the start an input shape of their own."""
        most = self._loaded.config.model.max_input_shapes
        while True:
            await self._new_size.wait()
            self._new_size.clear()
            for shape in plan_input_shapes(self._model, self._sizes_wh.values(), most):
                offered = device.description.input_shapes_hw
                if shape not in offered and len(offered) < most:
                    await asyncio.to_thread(device.ensure_shape, shape)
                    self._describe(device)

    def _start_inspector(self, device: Device) -> Scheduler:
        loop = asyncio.get_running_loop()

        def hand_over(round_: SchedulerUpdate) -> None:
            # The loop is closed only after this thread has ended, or has been given up in a forced end.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._on_round, round_)

        overlay = None if self._overlay is None else self._overlay.offer
        inspector = Scheduler(device, self._log, self._bell, self._metrics, hand_over, overlay)
        inspector.start()
        return inspector

    def _on_round(self, round_: SchedulerUpdate) -> None:
        ledger = self._ledger_awake()
        for look in round_.looks:
            ledger.inspected(look.camera, look.captured_s)
            if self._sizes_wh.get(look.camera) != look.size_wh:
                self._sizes_wh[look.camera] = look.size_wh
                self._new_size.set()
        ledger.log_writable(round_.log_writable, round_.at_s)

    async def _until_over(self, lineup: CameraManager) -> None:
        deadline = asyncio.timeout(self._duration_s)
        with suppress(TimeoutError):
            async with deadline:
                while not (self._stop.requested.is_set() or lineup.is_over):
                    with suppress(TimeoutError):
                        async with asyncio.timeout(TICK_S):
                            await self._stop.requested.wait()

    async def _drain(self, inspector: Scheduler, device: Device) -> None:
        """Let what is in flight be recorded; a second signal or a device that hangs ends the waiting."""
        inspector.stop()
        ended: asyncio.Future[Any] = asyncio.wrap_future(inspector.outcome)
        waited: asyncio.Future[Any] = asyncio.ensure_future(self._stop.forced.wait())
        await asyncio.wait({ended, waited}, timeout=DRAIN_S, return_when=asyncio.FIRST_COMPLETED)
        waited.cancel()
        inspector.abort()
        if not ended.done():  # unless it is stuck inside the device, it books what it leaves undone and is gone
            await asyncio.wait({ended}, timeout=ABORT_S)
        if ended.done():
            # Its error ends the run through `_outcome`; looked at here, it is not reported as forgotten as well.
            ended.exception()
            device.close()
        else:
            # Its thread is still inside the device: closing that under its feet would crash, the exit frees it.
            logger.warning("stopped at once: frames under way have no result")

    async def _tick(self, lineup: CameraManager) -> None:
        while True:
            ledger, beat = self._ledger_awake(), self._pulse.beat()
            self._record(beat, ledger.tick(beat.s, beat.utc, lineup.counts(), beat.asleep_s))
            self._metrics.committed(self._log.take_latencies_ms(), beat.s)
            await asyncio.sleep(TICK_S)

    def _ledger_awake(self) -> CoverageLedger:
        """Return the ledger for a change to it; first it is told of a time in which the program did not run.

        What comes then shows what that time has done, and must not be judged without knowing of it.
        """
        if pause := self._pulse.pause():
            logger.warning(
                "the program did not run for %.1f s (stopped, suspended or no CPU time): nothing was inspected",
                pause[1] - pause[0],
            )
            self._ledger.paused(*pause)
        return self._ledger

    def _close_ledger(self, lineup: CameraManager) -> None:
        ledger, beat = self._ledger_awake(), self._pulse.beat()
        self._record(beat, ledger.close(beat.s, beat.utc, lineup.counts(), beat.asleep_s))

    def _record(self, beat: Beat, rows: tuple[list[CoverageMinute], list[NotInspected]]) -> None:
        """Hand the ledger's rows to the log, and only then say that they tell of all up to now."""
        steps = self._ledger.take_clock_steps()
        for step in steps:
            self._metrics.clock_stepped(step)
            logger.warning("%s", step)
        self._log.write_clock_steps(steps)
        self._metrics.not_inspected(rows[1], beat.s)
        self._log.write_coverage(*rows)
        self._log.alive(beat.utc)


async def _outcome(inspector: Scheduler) -> None:
    """End with the inspecting thread; its error ends the run."""
    await asyncio.wrap_future(inspector.outcome)
