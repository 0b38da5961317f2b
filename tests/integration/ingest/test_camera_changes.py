# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cameras that are altered, removed and rejected while their frames are on the device: nothing is lost or mixed up."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
from benchmarks.simulated_device import SimulatedDevice
from tests.builders import make_detections

from vision_line.config.models import RecordSettings, Stream
from vision_line.devices.cpu.decoder import CpuDecoder
from vision_line.devices.several_models import one_model
from vision_line.errors import DeviceError
from vision_line.frames import CameraState, Detections, Frame, Inspection, NotInspected
from vision_line.inspection.coverage.ledger import CoverageLedger
from vision_line.inspection.coverage.minutes import CameraCounts
from vision_line.ports import DeviceDescription, LogStatus
from vision_line.records.entries import RunRecord
from vision_line.records.log import SqliteLog
from vision_line.runtime.camera_manager import CameraManager, CameraModel, SharedParts
from vision_line.scheduler import Scheduler, SchedulerUpdate, WakeUp
from vision_line.telemetry.camera_metrics import CameraTotals
from vision_line.telemetry.metrics import ModelFacts, RunFacts, RunMetrics

if TYPE_CHECKING:
    from tests.integration.ingest.conftest import Serve, Until

CLASSES = ("open",)
DESCRIPTION = DeviceDescription("simulated", "", "int8", ((192, 320),), slots=2, max_batch=1)


def one_defect(_: Frame) -> Detections:
    """A defect in every frame, so that every inspection leaves a row."""
    return make_detections((100, 100, 120, 120))


class Blind(SimulatedDevice):
    """A device that can read no frame."""

    def submit(self, frames: Sequence[Frame]) -> None:
        frame = frames[0]
        raise DeviceError(f"camera {frame.camera!r}: frame {frame.sequence} cannot be converted: 7 planes")


class Holding(SimulatedDevice):
    """A device that hands back nothing while it `holds`."""

    holds = False

    def collect(self) -> list[Inspection]:
        return [] if self.holds else super().collect()


class StuckLog(SqliteLog):
    """A log that says that it can take nothing while it is `stuck`."""

    stuck = False

    def status(self) -> LogStatus:
        return replace(super().status(), writable=not self.stuck)


def write_video(path: Path) -> None:
    """Write a second of noise."""
    random = np.random.default_rng(1)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 128, 96, "yuv420p"
        for _ in range(25):
            frame = av.VideoFrame.from_ndarray(random.integers(0, 200, (144, 128), np.uint8), format="yuv420p")
            container.mux(video.encode(frame))
        container.mux(video.encode())


class Running:
    """A camera manager with scheduler, ledger and log, as a run has them."""

    def __init__(
        self, tasks: asyncio.TaskGroup, folder: Path, device: type[SimulatedDevice], log: type[SqliteLog]
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.records = folder
        self.epoch = 0
        self.expected: list[str] = []
        bell = WakeUp()
        self.ledger = CoverageLedger()
        self.pause: tuple[float, float] | None = None  # that the ledger has not heard of yet
        facts = RunFacts("", DESCRIPTION, ModelFacts("", "", "", ()), time.monotonic(), time.time())
        self.metrics = RunMetrics(facts)
        run = RunRecord("0", time.time(), "", "", "", "", "", "")
        self.log: Any = log(folder, run, RecordSettings(min_free_mb=1, evidence=False), CLASSES)
        # Slower than the camera: at any moment both slots hold a frame of it.
        self.device: Any = device(DESCRIPTION, bell.notify, 0.06, one_defect)
        used = one_model(self.device)
        self.scheduler = Scheduler(used, self.log, bell, observer=self.metrics, on_update=self._hand_over)
        shared = SharedParts(
            wake=bell,
            ledger=self._ledger_awake,
            metrics=self.metrics,
            log=self.log,
            open_decoder=CpuDecoder,
            classes=CLASSES,
            model_at=lambda _recipe, _camera: CameraModel(),
            epoch_of=lambda _: self.epoch,
            expect_inspection=self.expected.append,
        )
        self.manager = CameraManager(tasks, shared)
        self.manager.attach(self.scheduler)
        self.scheduler.start()

    def _ledger_awake(self) -> CoverageLedger:
        if self.pause is not None:
            self.ledger.paused(*self.pause)
            self.pause = None
        return self.ledger

    def _hand_over(self, update: SchedulerUpdate) -> None:
        self.loop.call_soon_threadsafe(self._note, update)

    def _note(self, update: SchedulerUpdate) -> None:
        for frame in update.inspected_frames:
            self.ledger.inspected(frame.camera, frame.captured_s)
        self.ledger.log_writable(update.log_writable, update.at_s)

    def open_intervals(self) -> list[NotInspected]:
        self.log.write_coverage(*self.ledger.tick(time.monotonic(), time.time(), self._counts()))
        return self.ledger.open_intervals()

    def _counts(self) -> dict[str, CameraCounts]:
        return {camera.stream.name: camera.counts() for camera in self.manager.running}

    async def end(self) -> None:
        await self.manager.stop()
        self.scheduler.stop()
        await asyncio.wrap_future(self.scheduler.outcome)
        self.device.close()
        self.log.write_coverage(*self.ledger.close(time.monotonic(), time.time(), self._counts()))
        self.log.close()

    @property
    def camera(self) -> CameraTotals:
        (totals,) = self.metrics.totals(time.monotonic()).cameras
        return totals

    @property
    def state(self) -> CameraState:
        return next(camera.state for camera in self.manager.running if camera.stream.name == "cam")

    def reported(self) -> list[tuple[Any, ...]]:
        """Return cause and start of what was not inspected since the camera first ran."""
        self.open_intervals()
        causes = "SELECT cause, started_s FROM not_inspected WHERE cause != 'camera:CONNECTING' ORDER BY started_s"
        return self.rows(causes)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.records / "records.sqlite")) as connection:
            return connection.execute(sql).fetchall()


Start = Callable[..., Any]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Give `start(device)`: a context in which a camera manager runs."""

    @asynccontextmanager
    async def running(
        device: type[SimulatedDevice] = SimulatedDevice, log: type[SqliteLog] = SqliteLog
    ) -> AsyncIterator[Running]:
        async with asyncio.TaskGroup() as tasks:
            made = Running(tasks, tmp_path / "records", device, log)
            try:
                yield made
            finally:
                await made.end()

    return running


def stream(url: str, **settings: object) -> Stream:
    return Stream.model_validate({"name": "cam", "url": url, "read_timeout_s": 2.0} | settings)


async def test_no_frame_is_lost_or_mixed_up_when_a_camera_is_altered_and_removed(
    serve: Serve, wait_until: Until, start: Start
) -> None:
    """Frame numbers go on, each frame is counted once, and bears the settings under which it was inspected."""
    url = serve({"path": "cam"}).url("cam")
    run: Running
    async with start() as run:
        for station in ("A", "B", "C"):
            await run.manager.apply([stream(url, station=station)])
            before = run.camera.inspected
            await wait_until(lambda before=before: run.camera.inspected >= before + 8, 20)
        await run.manager.apply([])
        left = run.camera
    totals = run.camera

    assert totals == left  # all was known when the camera was said to be gone
    assert totals.arrived == totals.inspected + sum(totals.dropped.values())
    ((arrived, inspected, dropped),) = run.rows(
        "SELECT sum(arrived), sum(inspected), sum(dropped_superseded + dropped_stale + dropped_rate_cap"
        " + dropped_behind + dropped_shed + dropped_frozen + dropped_corrupt + dropped_log + dropped_shutdown)"
        " FROM coverage"
    )
    assert (arrived, inspected, dropped) == (totals.arrived, totals.inspected, sum(totals.dropped.values()))
    found = run.rows("SELECT sequence, station FROM detections ORDER BY detection")
    numbers = [number for number, _ in found]
    assert len(numbers) == totals.inspected == totals.detections
    assert numbers == sorted(set(numbers))
    assert [station for _, station in found] == sorted(station for _, station in found)


async def test_the_settings_behind_a_verdict_can_be_found(serve: Serve, wait_until: Until, start: Start) -> None:
    """A camera's row holds from its change on, and says what it is inspected by; one that is not altered has one."""
    server = serve({"path": "cam"})
    url = server.url("cam")
    other = Stream.model_validate({"name": "other", "url": "rtsp://u:p@127.0.0.1:1/x"})
    run: Running
    async with start() as run:
        for threshold in (0.3, 0.4):
            await run.manager.apply([stream(url, thresholds={"open": threshold}), other])
            await wait_until(lambda: run.state is CameraState.RUNNING, 20)
        await run.manager.apply([stream(url, thresholds={"open": 0.4}), other])

    rows = run.rows("SELECT name, url, settings FROM cameras ORDER BY name, since_utc")
    assert [(name, shown) for name, shown, _ in rows] == [
        ("cam", url),
        ("cam", url),
        ("other", "rtsp://***@127.0.0.1:1/x"),
    ]
    first, second = (json.loads(settings) for _, _, settings in rows[:2])
    assert (first["thresholds"], second["thresholds"]) == ({"open": 0.3}, {"open": 0.4})
    assert (first["min_hits"], {"url", "station"} & set(first)) == (3, set())


async def test_a_camera_that_the_fleet_gives_anew_goes_on(serve: Serve, wait_until: Until, start: Start) -> None:
    """It is not opened again, and its row says under which plan it is inspected from then on."""
    url = serve({"path": "cam"}).url("cam")
    run: Running
    async with start() as run:
        for run.epoch in (3, 5, 5):
            await run.manager.apply([stream(url)])
            before = run.camera.inspected
            await wait_until(lambda before=before: run.camera.inspected > before, 20)

    assert run.rows("SELECT epoch FROM cameras ORDER BY since_utc") == [(3,), (5,)]
    assert run.expected == ["cam", "cam"]
    assert run.rows("SELECT count(*) FROM states WHERE state = 'CONNECTING'") in ([(0,)], [(1,)])


async def test_a_recipe_comes_into_force_without_opening_the_camera_again(
    serve: Serve, wait_until: Until, start: Start
) -> None:
    """Each row bears the recipe that its frame was inspected by; what the parts need follows it."""
    url = serve({"path": "cam"}).url("cam")
    run: Running
    async with start() as run:
        for recipe, dwell_s, score in (("", 4.0, 0.3), ("7", 2.0, 0.4), ("8", 1.0, 0.3)):
            wanted = stream(url, dwell_s=dwell_s, score_threshold=score, recipe=recipe)
            await run.manager.apply([wanted], {"cam": recipe} if recipe else {})
            before = run.camera.inspected
            await wait_until(lambda before=before: run.camera.inspected >= before + 6, 20)
            await wait_until(lambda recipe=recipe: run.camera.recipe == recipe, 20)
            assert run.camera.needed_fps == 3 / dwell_s
        (shown,) = run.metrics.snapshot(time.monotonic(), time.time(), run.log.status()).cameras
        assert (shown.recipe.name, shown.recipe.since_utc is None) == ("8", False)

    assert run.rows("SELECT state FROM states ORDER BY change") == [("CONNECTING",), ("RUNNING",)]
    found = [recipe for (recipe,) in run.rows("SELECT recipe FROM detections ORDER BY detection")]
    assert set(found) == {"", "7", "8"}
    assert found == sorted(found)
    assert len(found) == run.camera.inspected
    assert {recipe for (recipe,) in run.rows("SELECT recipe FROM events WHERE phase = 'end'")} == {"", "7", "8"}
    rows = run.rows("SELECT recipe, json_extract(settings, '$.dwell_s') FROM cameras ORDER BY since_utc")
    assert rows == [("", 4.0), ("7", 2.0), ("8", 1.0)]


async def test_frames_that_cannot_be_read_are_the_cameras_fault_in_the_ledger(
    serve: Serve, wait_until: Until, start: Start
) -> None:
    """Not "capacity": the camera shows a code, and what it did not have inspected bears it."""
    url = serve({"path": "cam"}).url("cam")
    run: Running
    async with start(Blind) as run:
        await run.manager.apply([stream(url, dwell_s=1.0)])
        await wait_until(lambda: run.state is CameraState.RECONNECTING, 20)
        await wait_until(lambda: bool(run.open_intervals()), 20)

    causes = run.rows("SELECT DISTINCT cause FROM not_inspected")
    assert causes == [("camera:CODEC_UNSUPPORTED",)]
    assert {code for (code,) in run.rows("SELECT code FROM states") if code} == {"CODEC_UNSUPPORTED"}
    assert run.camera.arrived == sum(run.camera.dropped.values())


async def test_no_camera_is_started_once_the_run_ends(start: Start) -> None:
    """A change of the configuration that the end overtakes is not carried out."""
    run: Running
    async with start() as run:
        await run.manager.stop()
        await run.manager.apply([stream("rtsp://127.0.0.1:1/cam")])
        assert run.manager.running == ()


async def test_a_camera_that_sends_too_few_frames_is_reported_as_such(
    serve: Serve, wait_until: Until, start: Start
) -> None:
    """Every frame of it is inspected, none is late, and no part gets its inspections: not inspected, all the time."""
    url = serve({"path": "cam", "fps": 2, "gop": 2}).url("cam")
    run: Running
    async with start() as run:
        await run.manager.apply([stream(url, dwell_s=3.0, min_hits=8)])
        await wait_until(lambda: [row.cause for row in run.open_intervals()] == ["camera:SLOW"], 30.0)

    assert run.rows("SELECT count(*) FROM not_inspected WHERE cause NOT LIKE 'camera:%'") == [(0,)]


@pytest.mark.alone  # beside other tests the file itself may come too slowly for its dwell time of a second
async def test_a_file_that_waits_for_the_log_blames_the_log(tmp_path: Path, wait_until: Until, start: Start) -> None:
    """Its frames wait in front of a device that may not inspect; neither camera nor device is to blame for that."""
    write_video(tmp_path / "clip.mp4")
    run: Running
    async with start(log=StuckLog) as run:
        await run.manager.apply([stream(f"file:{tmp_path}/clip.mp4", loop=True, dwell_s=1.0)])
        await wait_until(lambda: run.open_intervals() == [] and run.camera.inspected > 30, 20.0)
        run.log.stuck = True
        await wait_until(lambda: [row.cause for row in run.open_intervals()] == ["log"], 20.0)
        seen = run.camera.inspected
        run.log.stuck = False
        await wait_until(lambda: run.open_intervals() == [] and run.camera.inspected > seen + 10, 20.0)

    causes = [cause for (cause,) in run.rows("SELECT cause FROM not_inspected ORDER BY started_s")]
    assert [cause for cause in causes if not cause.startswith("camera:CONN")] == ["log"]


async def test_what_a_camera_shows_after_a_pause_does_not_hide_it(
    serve: Serve, wait_until: Until, start: Start
) -> None:
    """Its connection was lost in the pause: the ledger hears of the pause first, though the camera is heard first."""
    server = serve({"path": "cam"})
    run: Running
    async with start(Holding) as run:
        await run.manager.apply([stream(server.url("cam"), dwell_s=1.0)])
        await wait_until(lambda: run.camera.inspected > 5, 20.0)
        run.device.holds = True
        await wait_until(lambda: [row.cause for row in run.open_intervals()] == ["capacity"], 20.0)
        paused_s = time.monotonic()
        server.kill()
        run.pause = (paused_s, paused_s + 0.05)
        await wait_until(lambda: run.state is CameraState.RECONNECTING, 20.0)
        await wait_until(lambda: len(run.reported()) >= 3, 20.0)
        reported = run.reported()
        run.device.holds = False  # for the drain

    causes = [cause for cause, _ in reported]
    assert causes[:2] == ["capacity", "paused"]
    assert reported[1][1] == pytest.approx(paused_s)
    # the camera is opened again within milliseconds, and refused
    assert {"camera:ENDED", "camera:REFUSED"} & set(causes[2:])
    assert set(causes[2:]) <= {"camera:ENDED", "camera:REFUSED"}  # the second is of the next attempt
