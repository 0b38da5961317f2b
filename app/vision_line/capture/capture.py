# SPDX-License-Identifier: AGPL-3.0-or-later
"""The life of a capture: cameras are opened as an inspection opens them, and now and then a picture is kept."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from vision_line.capture.folder import CaptureFolder
from vision_line.capture.image_encoding import ImageEncoding, sign_image
from vision_line.capture.sampling import Quota, Sampler, Skip, plan_shares
from vision_line.config.load import LoadedConfig
from vision_line.config.models import Stream
from vision_line.devices.selection import decoder_opener
from vision_line.errors import ConfigError, SourceError
from vision_line.frames import CameraState, Frame, StateChange
from vision_line.ingest.camera import Camera
from vision_line.ingest.mailbox import NewestFrame
from vision_line.ports import ProgressCallback
from vision_line.records.bgr import bgr_of
from vision_line.runtime.camera_manager import OPENING_AT_ONCE
from vision_line.runtime.signals import Stop, caught_signals
from vision_line.simulator.clips import Clip
from vision_line.simulator.live import Simulator

logger = logging.getLogger(__name__)

#: How often the cameras are looked through for one whose turn it is.
TICK_S = 0.05

#: Called on the event loop with (stored, wanted).


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """What to collect, and where to; pictures are lossless unless `jpeg_quality` (1 to 100) is given."""

    output: Path
    images: int
    duration_s: float
    jpeg_quality: int | None = None
    max_mb: int = 2000


@dataclass(frozen=True, slots=True)
class CameraCaptureResult:
    """What one camera gave; `state` and `detail` say how it was at the end."""

    camera: str
    stored: int
    skipped: Mapping[Skip, int]
    state: CameraState
    detail: str


@dataclass(frozen=True, slots=True)
class CaptureResult:
    """What a capture brought; `no_room`: it ended at the bound on disk space."""

    cameras: tuple[CameraCaptureResult, ...]
    stored_bytes: int
    interrupted: bool
    no_room: bool

    @property
    def stored(self) -> int:
        """How many pictures were stored."""
        return sum(camera.stored for camera in self.cameras)


@contextmanager
def open_capture(options: CaptureOptions, loaded: LoadedConfig, clips: Sequence[Clip]) -> Iterator[Capture]:
    """Make the folder, start the configured simulator, which serves `clips`, and give the capture to be served.

    Raises:
        ConfigError: no camera, fewer pictures than cameras, or a folder that is not empty.
        RunError: the folder cannot be written, or the simulator cannot start.
    """
    config = loaded.config
    streams = config.enabled_streams
    if not streams:
        raise ConfigError(f"{loaded.path}: expected an enabled camera, found none")
    try:
        shares = plan_shares(len(streams), options.images, options.duration_s)
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
        yield Capture(streams, shares, folder, options.duration_s)


class _Seat:
    """One camera with its place in the capture."""

    def __init__(self, stream: Stream, share: Quota, opening: asyncio.Semaphore) -> None:
        # A file plays at its own pace, and no frame of it must be waited for: it is a camera here.
        played = stream.model_copy(update={"paced": True})
        self.chooser = Sampler(share)
        self.mailbox = NewestFrame(_nobody_waits)
        self.camera = Camera(played, decoder_opener("cpu"), self.mailbox, self._on_state, opening)
        self.state = CameraState.CONNECTING
        self.detail = ""

    def _on_state(self, change: StateChange) -> None:
        self.state, self.detail = change.state, change.detail


class Capture:
    """One capture, in the event loop's thread; `serve` is called once. The folder is its owner's to close."""

    def __init__(
        self,
        streams: Sequence[Stream],
        shares: Sequence[Quota],
        folder: CaptureFolder,
        duration_s: float,
    ) -> None:
        opening = asyncio.Semaphore(OPENING_AT_ONCE)
        self._seats = [_Seat(stream, share, opening) for stream, share in zip(streams, shares, strict=True)]
        self._wanted = sum(share.quota for share in shares)
        self._folder = folder
        self._duration_s = duration_s
        self._stop = Stop()
        self._no_room = False

    async def serve(self, report: ProgressCallback) -> None:
        """Run the cameras until all pictures are there, the time is over, or a signal asks for the end.

        Raises:
            RunError: the folder cannot be written.
        """
        with caught_signals(self._stop, _nothing_to_reload):
            tasks = [asyncio.create_task(seat.camera.run()) for seat in self._seats]
            try:
                await self._collect(tasks, report)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def harvest(self) -> CaptureResult:
        """Return what was collected so far."""
        cameras = tuple(
            CameraCaptureResult(
                (name := seat.camera.stream.name),
                self._folder.counts[name],
                dict(seat.chooser.skipped),
                seat.state,
                seat.detail,
            )
            for seat in self._seats
        )
        return CaptureResult(cameras, self._folder.stored_bytes, self._stop.interrupted, self._no_room)

    async def _collect(self, tasks: Sequence[asyncio.Task[None]], report: ProgressCallback) -> None:
        report(0, self._wanted)
        started_s = time.monotonic()
        while (at_s := time.monotonic() - started_s) < self._duration_s and not self._is_over():
            for seat in self._seats:
                if seat.chooser.is_due(at_s) and not self._is_over():
                    await self._look(seat, at_s)
                    report(self._folder.stored, self._wanted)
            for task in tasks:
                if task.done():
                    task.result()
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._stop.requested.wait()

    def _is_over(self) -> bool:
        return (
            self._stop.requested.is_set()
            or self._no_room
            or all(seat.chooser.is_full or seat.state is CameraState.ENDED for seat in self._seats)
        )

    async def _look(self, seat: _Seat, at_s: float) -> None:
        """Take the newest picture of a camera that runs well; of all others pictures are thrown away."""
        frame = seat.mailbox.take()
        if frame is None or seat.state is not CameraState.RUNNING:
            return
        # In a thread, and one at a time: encoding takes longer than the loop may be away from the cameras.
        self._no_room = not await asyncio.to_thread(self._examine, seat.chooser, frame, at_s)

    def _examine(self, chooser: Sampler, frame: Frame, at_s: float) -> bool:
        """Store the frame if it is worth it; False where there is no room for it."""
        try:
            image = bgr_of(frame)
        except SourceError as exc:
            logger.warning("%s", exc)
            chooser.refuse(at_s, Skip.UNREADABLE)
            return True
        return chooser.choose(at_s, sign_image(image)) is not None or self._folder.store(
            frame.camera, frame.arrived_utc, image
        )


def _nobody_waits() -> None:
    """Frames are picked up at a tick."""


def _nothing_to_reload() -> None:
    """A capture keeps the cameras that it began with."""
