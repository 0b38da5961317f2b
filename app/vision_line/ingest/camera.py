# SPDX-License-Identifier: AGPL-3.0-or-later
"""Supervises one camera: opens it, watches it, opens it again; the only place of ingest that knows the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager

from vision_line.config.models import Stream
from vision_line.encoded import EncodedTap
from vision_line.errors import SourceError, SourceErrorCode
from vision_line.frames import CameraState, DropCause, StateChange
from vision_line.ingest.camera_clock import Clocks
from vision_line.ingest.error_mapping import describe_fault
from vision_line.ingest.fingerprint import fingerprint_frame
from vision_line.ingest.frame_sink import FrameSink
from vision_line.ingest.lifecycle import Backoff, evaluate_health
from vision_line.ingest.mailbox import Mailbox
from vision_line.ingest.session import FILE_OPEN_S, Session, TakeFingerprint, open_health
from vision_line.ingest.shedding import DecodeLoad
from vision_line.ports import OpenDecoder

logger = logging.getLogger(__name__)

OPEN_MARGIN_S = 0.5  # the session's own deadline gets the chance to name the error first
#: The limit on openings is there for bursts, so a camera that does not answer takes no more of it than this: many dead
#: ones must not keep a healthy one waiting.
OPENING_HELD_S = 0.25
STOP_BOUND_S = 1.0
#: A supervisor that wakes this much later than planned had been stopped; its camera may be well.
PAUSE_S = 0.5
MAX_ABANDONED = 3
FAULT_LOGGED_EVERY_S = 600.0


class Camera:
    """One camera from its first opening to its removal.

    Everything here runs on the event loop; sessions read and decode in threads of their own and talk back only by
    `call_soon_threadsafe`. A session that hangs where nothing can interrupt it (a resolver, a connect) is abandoned:
    nothing it does later is seen, and it closes itself when it wakes. At most `MAX_ABANDONED` may live at a time.
    """

    def __init__(
        self,
        stream: Stream,
        open_decoder: OpenDecoder,
        mailbox: Mailbox,
        on_state: Callable[[StateChange], None],
        opening: AbstractAsyncContextManager[object],
        *,
        numbers: Iterator[int] | None = None,
        clocks: Clocks = Clocks(),  # noqa: B008  frozen
        chance: Callable[[], float] = random.random,
        take_fingerprint: TakeFingerprint = fingerprint_frame,
        tap: EncodedTap | None = None,
    ) -> None:
        """Make the camera; `run` opens it.

        Args:
            stream: its settings.
            open_decoder: called in a session's thread; see `OpenDecoder`.
            mailbox: where its frames go.
            on_state: called on the event loop at every change of state or error code.
            opening: held while a connection is being opened, at most for `OPENING_HELD_S`; e.g. an
                `asyncio.Semaphore(4)` shared by all cameras.
            numbers: gives the frames' sequence numbers; None: from 0. A camera that takes the place of another of its
                name continues with that one's.
            clocks: injected time.
            chance: uniform in 0..1, for the jitter of the back-off.
            take_fingerprint: fingerprints a frame for freeze and blur watching; by default of `av.VideoFrame`s.
            tap: sees each of its encoded frames, in a session's thread.
        """
        self.stream = stream
        self.load = DecodeLoad()
        self._open_decoder = open_decoder
        self._mailbox = mailbox
        self._on_state = on_state
        self._opening = opening
        self._clocks = clocks
        self._chance = chance
        self._take_fingerprint = take_fingerprint
        self._tap = tap
        self._numbers = itertools.count() if numbers is None else numbers
        self._health = open_health(stream)
        self._abandoned: list[Session] = []
        self._abandoned_total = 0
        self._faults = 0
        self._faults_logged_s: dict[str, float] = {}  # by description; bounded by the number of places that can fail
        self._backoff = Backoff()
        self._shown: tuple[CameraState, str | None] | None = None
        self._changed = asyncio.Event()
        self._rejection: SourceError | None = None

    @property
    def abandoned(self) -> tuple[int, int]:
        """How many sessions were abandoned, and how many of them still hang."""
        return self._abandoned_total, sum(session.is_running for session in self._abandoned)

    async def run(self) -> None:
        """Keep the camera running until cancelled, or until a file's end; no fault of one camera ends the program."""
        self._show(CameraState.CONNECTING)
        while True:
            await self._wait_for_abandoned()
            error = await self._run_session()
            if error is None:
                self._show(CameraState.ENDED)
                return
            if not self.stream.is_live:
                # Opened again, a file would be inspected again from its beginning; one that cannot be read stays so.
                self._show(CameraState.ENDED, error)
                return
            self._show(CameraState.RECONNECTING, error)
            self._backoff = self._backoff.after_failure()
            await asyncio.sleep(self._backoff.wait_s(error.code, self._chance()))

    def reject(self, reason: str) -> None:
        """Give up the current connection because the device cannot read its frames; on the event loop."""
        detail = reason.removeprefix(f"camera {self.stream.name!r}: ")
        self._rejection = SourceError(self.stream.name, SourceErrorCode.CODEC_UNSUPPORTED, detail)
        self._changed.set()

    async def _run_session(self) -> SourceError | None:
        """Run one connection to its end and return the error that ended it."""
        session = self._new_session()
        try:
            error = await self._open(session)
            if error is None and session.end is None:
                error = await self._watch(session)
            if error is None and session.end is not None:
                error = session.end.error
                self._log_fault(session.end.fault)
        except asyncio.CancelledError:
            await self._stop(session, DropCause.SHUTDOWN)
            raise
        self._backoff = self._backoff.after_run(session.stats.ran_for_s)
        await self._stop(session, DropCause.CORRUPT)
        return error

    def _new_session(self) -> Session:
        loop = asyncio.get_running_loop()
        self._rejection = None

        def call_loop() -> None:
            # An abandoned session may wake when the loop is long closed.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._changed.set)

        sink = FrameSink(self._mailbox, self._numbers)
        return Session(
            stream=self.stream,
            open_decoder=self._open_decoder,
            sink=sink,
            changed=call_loop,
            clocks=self._clocks,
            health=self._health,
            take_fingerprint=self._take_fingerprint,
            load=self.load,
            tap=self._tap,
        )

    async def _open(self, session: Session) -> SourceError | None:
        """Start the session and wait until it has opened the camera or failed; return an error if it did neither."""
        limit_s = open_limit_s(self.stream)
        async with self._opening:
            session.start()
            if await self._is_decided(session, OPENING_HELD_S):
                return None
        if await self._is_decided(session, limit_s - OPENING_HELD_S):
            return None
        detail = f"opening took longer than {limit_s:g} s"
        return SourceError(self.stream.name, SourceErrorCode.TIMEOUT, detail)

    async def _is_decided(self, session: Session, within_s: float) -> bool:
        """Return whether the session has opened the camera, or ended, within this time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while session.stats.opened_s is None and session.end is None:
                    await self._changed.wait()
                    self._changed.clear()
                return True
        return False

    async def _watch(self, session: Session) -> SourceError | None:
        """Show the open camera's states until the session ends; return an error if it was given up instead."""
        while session.end is None:
            if self._rejection is not None:
                return self._rejection
            now_s = self._clocks.monotonic()
            health = evaluate_health(session.stats, self.stream, now_s)
            if health.lost:
                return SourceError(self.stream.name, SourceErrorCode.TIMEOUT, "connected, but no frame comes")
            if health.state is not None:
                self._show(health.state, since_s=session.stats.still_since_s)
            session.call_on_frame = health.state is CameraState.STALE
            due_s = max(health.recheck_at_s, now_s + 0.01)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(due_s - now_s):
                    await self._changed.wait()
            self._changed.clear()
            if (woke_s := self._clocks.monotonic()) > due_s + PAUSE_S:
                session.stats.resumed_s = woke_s
        return None

    def _log_fault(self, fault: Exception | None) -> None:
        """Log a fault of ours with its traceback, the same one of a camera at most every `FAULT_TOLD_EVERY_S`."""
        if fault is None:
            return
        self._faults += 1
        now_s, what = self._clocks.monotonic(), describe_fault(fault)
        if now_s - self._faults_logged_s.get(what, -math.inf) < FAULT_LOGGED_EVERY_S:
            return
        self._faults_logged_s[what] = now_s
        message = "camera %s: a fault of vision-line, please report it (%d of this camera so far)"
        logger.error(message, self.stream.name, self._faults, exc_info=fault)

    async def _stop(self, session: Session, cause: DropCause) -> None:
        """Stop the session's thread within `STOP_BOUND_S`, or abandon it."""
        session.sink.detach(cause)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_BOUND_S):
                while session.is_running:
                    await self._changed.wait()
                    self._changed.clear()
        if session.is_running:
            self._abandoned.append(session)
            self._abandoned_total += 1
            logger.warning(
                "camera %s: a connection hangs and was given up (%d so far)", self.stream.name, self._abandoned_total
            )

    async def _wait_for_abandoned(self) -> None:
        """Open nothing more while `MAX_ABANDONED` sessions hang."""
        while True:
            self._abandoned = [session for session in self._abandoned if session.is_running]
            if len(self._abandoned) < MAX_ABANDONED:
                return
            detail = f"{len(self._abandoned)} earlier attempts still hang"
            self._show(CameraState.RECONNECTING, SourceError(self.stream.name, SourceErrorCode.ABANDONED_LIMIT, detail))
            await self._changed.wait()
            self._changed.clear()

    def _show(self, state: CameraState, error: SourceError | None = None, since_s: float | None = None) -> None:
        """Report a state, unless it was the last one reported."""
        code = None if error is None else str(error.code)
        if self._shown == (state, code):
            return
        outage_begins = error is not None and (self._shown is None or self._shown[1] != code)
        self._shown = (state, code)
        detail = "" if error is None else error.detail
        reason = "" if error is None else f": {error.code}: {detail}"
        logger.log(
            logging.WARNING if outage_begins else logging.INFO, "camera %s: %s%s", self.stream.name, state, reason
        )
        now_s, now_utc = self._clocks.monotonic(), self._clocks.utc()
        change = StateChange(self.stream.name, state, now_s, now_utc, code=code, detail=detail, since_s=since_s)
        self._on_state(change)


def open_limit_s(stream: Stream) -> float:
    """Return how long an attempt to open `stream` may take."""
    limit_s = stream.connect_timeout_s + OPEN_MARGIN_S
    return limit_s if stream.is_live else max(limit_s, FILE_OPEN_S)
