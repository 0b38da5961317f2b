# SPDX-License-Identifier: AGPL-3.0-or-later
"""The life of a capture: cameras are opened as for an inspection, and sampled frames are stored as images."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from vision_line.capture.folder import CaptureFolder
from vision_line.capture.image_encoding import ImageEncoding, fingerprint_of
from vision_line.capture.sampling import Quota, Sampler, Skip, plan_quotas
from vision_line.config.load import LoadedConfig
from vision_line.config.models import Stream
from vision_line.devices.selection import decoder_opener
from vision_line.errors import ConfigError, SourceError
from vision_line.frames import CameraState, Frame, StateChange
from vision_line.ingest.camera import Camera
from vision_line.ingest.mailbox import NewestFrame
from vision_line.ports import ProgressCallback
from vision_line.records.annotate import bgr_of
from vision_line.runtime.camera_manager import OPENING_AT_ONCE
from vision_line.runtime.signals import Stop, caught_signals
from vision_line.simulator.clips import Clip
from vision_line.simulator.live import Simulator

logger = logging.getLogger(__name__)

#: Period in which the cameras are checked for one that is due, in seconds.
TICK_S = 0.05


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """What to collect and where; images are lossless unless `jpeg_quality` (1 to 100) is given."""

    output: Path
    images: int
    duration_s: float
    jpeg_quality: int | None = None
    max_mb: int = 2000


@dataclass(frozen=True, slots=True)
class CameraCaptureResult:
    """Outcome of one camera; `state` and `detail` are those at the end."""

    camera: str
    stored: int
    skipped: Mapping[Skip, int]
    state: CameraState
    detail: str


@dataclass(frozen=True, slots=True)
class CaptureResult:
    """Outcome of a capture; `at_disk_limit`: it ended at the limit on disk space."""

    cameras: tuple[CameraCaptureResult, ...]
    stored_bytes: int
    interrupted: bool
    at_disk_limit: bool

    @property
    def stored(self) -> int:
        """Number of stored images."""
        return sum(camera.stored for camera in self.cameras)


@contextmanager
def open_capture(options: CaptureOptions, loaded: LoadedConfig, clips: Sequence[Clip]) -> Iterator[Capture]:
    """Make the folder, start the configured simulator with `clips`, and yield a capture that is ready to run.

    Raises:
        ConfigError: no camera, fewer images than cameras, or a folder that is not empty.
        RunError: the folder cannot be written, or the simulator cannot start.
    """
    config = loaded.config
    streams = config.enabled_streams
    if not streams:
        raise ConfigError(f"{loaded.path}: expected an enabled camera, found none")
    try:
        quotas = plan_quotas(len(streams), options.images, options.duration_s)
    except ValueError as exc:
        raise ConfigError(f"--images: {exc}") from exc
    folder = CaptureFolder(
        options.output,
        ImageEncoding(options.jpeg_quality),
        max_bytes=options.max_mb * 1_000_000,
        min_free_mb=config.record.min_free_mb,
    )
    with ExitStack() as stack:
        stack.callback(folder.close)
        if config.simulator is not None:
            stack.enter_context(Simulator(clips, config.simulator.port))
        yield Capture(streams, quotas, folder, options.duration_s)


class CameraSlot:
    """One camera of a capture, with its sampler and mailbox."""

    def __init__(self, stream: Stream, quota: Quota, opening: asyncio.Semaphore) -> None:
        # A file is played in real time, so that it behaves as a camera.
        played = stream.model_copy(update={"paced": True})
        self.sampler = Sampler(quota)
        self.mailbox = NewestFrame(_nobody_waits)
        self.camera = Camera(played, decoder_opener("cpu"), self.mailbox, self._on_state, opening)
        self.state = CameraState.CONNECTING
        self.detail = ""

    def _on_state(self, change: StateChange) -> None:
        self.state, self.detail = change.state, change.detail


class Capture:
    """One capture, in the event loop's thread; `serve` is called once. The owner closes the folder."""

    def __init__(
        self,
        streams: Sequence[Stream],
        quotas: Sequence[Quota],
        folder: CaptureFolder,
        duration_s: float,
    ) -> None:
        opening = asyncio.Semaphore(OPENING_AT_ONCE)
        self._slots = [CameraSlot(stream, quota, opening) for stream, quota in zip(streams, quotas, strict=True)]
        self._wanted = sum(quota.images for quota in quotas)
        self._folder = folder
        self._duration_s = duration_s
        self._stop = Stop()
        self._at_disk_limit = False

    async def serve(self, on_progress: ProgressCallback) -> None:
        """Run the cameras until all images are stored, the time is over, or a signal asks for the end.

        Raises:
            RunError: the folder cannot be written.
        """
        with caught_signals(self._stop, _nothing_to_reload):
            tasks = [asyncio.create_task(slot.camera.run()) for slot in self._slots]
            try:
                await self._collect(tasks, on_progress)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def result(self) -> CaptureResult:
        """Return the outcome so far."""
        cameras = tuple(
            CameraCaptureResult(
                (name := slot.camera.stream.name),
                self._folder.counts[name],
                dict(slot.sampler.skipped),
                slot.state,
                slot.detail,
            )
            for slot in self._slots
        )
        return CaptureResult(cameras, self._folder.stored_bytes, self._stop.interrupted, self._at_disk_limit)

    async def _collect(self, tasks: Sequence[asyncio.Task[None]], on_progress: ProgressCallback) -> None:
        on_progress(0, self._wanted)
        started_s = time.monotonic()
        while (at_s := time.monotonic() - started_s) < self._duration_s and not self._is_over():
            for slot in self._slots:
                if slot.sampler.is_due(at_s) and not self._is_over():
                    await self._sample(slot, at_s)
                    on_progress(self._folder.stored, self._wanted)
            for task in tasks:
                if task.done():
                    task.result()
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._stop.requested.wait()

    def _is_over(self) -> bool:
        return (
            self._stop.requested.is_set()
            or self._at_disk_limit
            or all(slot.sampler.is_full or slot.state is CameraState.ENDED for slot in self._slots)
        )

    async def _sample(self, slot: CameraSlot, at_s: float) -> None:
        """Take the newest frame of a camera that is RUNNING; frames of other cameras are discarded."""
        frame = slot.mailbox.take()
        if frame is None or slot.state is not CameraState.RUNNING:
            return
        # In a thread, one at a time: encoding would block the event loop for too long.
        self._at_disk_limit = not await asyncio.to_thread(self._store_if_accepted, slot.sampler, frame, at_s)

    def _store_if_accepted(self, sampler: Sampler, frame: Frame, at_s: float) -> bool:
        """Store the frame if the sampler accepts it; False when the disk limit is reached."""
        try:
            image = bgr_of(frame)
        except SourceError as exc:
            logger.warning("%s", exc)
            sampler.reject(at_s, Skip.UNREADABLE)
            return True
        return sampler.accept(at_s, fingerprint_of(image)) is not None or self._folder.store(
            frame.camera, frame.arrived_utc, image
        )


def _nobody_waits() -> None:
    """Frames are taken at a tick."""


def _nothing_to_reload() -> None:
    """A capture does not reload its configuration."""
