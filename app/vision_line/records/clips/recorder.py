# SPDX-License-Identifier: AGPL-3.0-or-later
"""Footage of events: their camera's encoded frames, from before the first sight to after the last, each clip one file.

A clip is whole and on the disk before its row is written. One that cannot be had has a row that says why. Trouble with
clips never stops inspection.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from vision_line.config.models import ClipSettings
from vision_line.errors import RunError
from vision_line.frames import DefectEvent, Verdict
from vision_line.records.background import yield_to_inspection
from vision_line.records.clips.muxer import MUX_ERRORS
from vision_line.records.clips.open_clip import Footage, OpenClip, discard
from vision_line.records.clips.plan import ClipPlan, ClipPlanner, verdicts_from
from vision_line.records.clips.ring import Ring, RingMemory
from vision_line.records.directory import PARTIAL_NAME, ensure_directory, file_sha256, free_mb, keep_partial
from vision_line.records.entries import CameraLabels, ClipEntry, Entry
from vision_line.records.file_budget import FileBudget
from vision_line.records.file_tables import CLIPS
from vision_line.records.retention import RowAge
from vision_line.records.stored_files import StorageUsage, StoredFile

logger = logging.getLogger(__name__)

#: How often frames are taken from the rings; a clip is ready that much after its end, and what it takes to write it.
POLL_S = 0.25
#: How long one clip is written before the others have their turn: frames that are encoded anew take their time.
TURN_S = 0.25
#: Calls with changes of events that may wait; more come only where the thread stands still.
QUEUE_CHANGES = 1000
#: How long a whole clip waits for room: until the rows of older ones are committed.
ROOM_S = 2.0
#: Clips leave so much more free than the records need, so that they are not what stops inspection.
SPARED_MB = 100

ENDED = "the program ended"


class _Changes(NamedTuple):
    """What came of one camera's events at once."""

    events: tuple[DefectEvent, ...]
    labels: CameraLabels


class ClipRecorder:
    """Owns the folder of clips, the rings of all cameras, and the thread that writes, from `start` to `close`."""

    def __init__(
        self,
        directory: Path,
        run: int,
        usage: StorageUsage,
        record: Callable[[Entry], None],
        settings: ClipSettings,
        *,
        age: RowAge,
        min_free_mb: int,
    ) -> None:
        """Keep clips below `directory`, where `usage` is already; `record` takes their rows."""
        self._directory = directory
        self._run = run
        self._record = record
        self._min_free_mb = min_free_mb + SPARED_MB
        self._pre_s = settings.pre_s
        self._verdicts = frozenset(verdicts_from(Verdict(settings.verdict)))
        self._budget = FileBudget(
            *(CLIPS, directory, usage, record, self._note_problem), max_bytes=settings.max_mb * 1_000_000, age=age
        )
        self._memory = RingMemory(settings.memory_mb * 1_000_000)
        self._rings: dict[str, Ring] = {}
        self._planner = ClipPlanner(settings.pre_s, settings.post_s, settings.max_s, self._verdicts)
        self._open: list[OpenClip] = []
        self._changes: deque[_Changes] = deque()
        self._partials = 0
        self._problem = ""
        self._wake = threading.Event()
        self._closing = False
        self._deadline_s = inf
        self._thread = threading.Thread(target=self._work, name="clips", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def tap_for(self, camera: str) -> Ring:
        """Return the ring of a camera, which keeps what it sent before it was stopped and started again."""
        if camera not in self._rings:
            self._rings = {**self._rings, camera: Ring(self._memory, self._pre_s)}  # others are reading it
        return self._rings[camera]

    def note(self, events: Sequence[DefectEvent], labels: CameraLabels) -> None:
        """Take changes of one camera's events that came under these labels; never waits.

        Where too many wait, their rows say that clips are missing.

        Raises:
            RunError: the log takes no rows.
        """
        if len(self._changes) < QUEUE_CHANGES:
            self._changes.append(_Changes(tuple(events), labels))
        else:
            self._pass_over(_Changes(tuple(events), labels), "too many events at once")

    def close(self, timeout_s: float) -> None:
        """End the clips that are under way, for at most `timeout_s`; what is left is recorded as missing."""
        self._deadline_s = time.monotonic() + timeout_s
        self._closing = True
        self._wake.set()
        self._thread.join(timeout_s + 1.0)
        for clip in self._open:
            self._miss(clip.clip_id, clip.plan, f"{ENDED} before it was written")
        while self._changes:
            self._pass_over(self._changes.popleft(), f"{ENDED} before it was written")
        for ring in self._rings.values():
            ring.close()

    def _pass_over(self, changes: _Changes, reason: str) -> None:
        """Record that there is no clip of events; a row that has one stays as it is."""
        for event in changes.events:
            if event.verdict in self._verdicts:
                self._enter_missing(event.event_id, event.camera, (event.event_id,), changes.labels, reason)

    def _work(self) -> None:
        yield_to_inspection()
        try:
            while not self._closing:
                self._step()
                self._wake.wait(0 if any(clip.has_more for clip in self._open) else POLL_S)
            self._step()
            self._end_all()
        except RunError as exc:
            logger.error("no more clips are saved, as the records failed: %s", exc)

    def _step(self) -> None:
        """Take note of events, write what came, and finish what is over."""
        while self._changes:
            changes = self._changes.popleft()
            for event in changes.events:
                self._plan(event, changes.labels)
        for clip in list(self._open):
            self._advance(clip)
        now_s = time.monotonic()
        for ring in self._rings.values():
            ring.expire(now_s)
        self._budget.expire()

    def _plan(self, event: DefectEvent, labels: CameraLabels) -> None:
        plan = self._planner.note(event, labels)
        if plan is None:
            return
        ring = self._rings.get(plan.camera)
        if ring is None:
            self._planner.close(plan)
            self._miss(plan.clip_id, plan, "the camera's frames are not kept")
        else:
            self._open.append(OpenClip(plan, ring, self._next_partial))

    def _advance(self, clip: OpenClip, why: str = "") -> None:
        """Write what came for a clip, and finish it if it is over, or `why` it is to end before."""
        ends_s = self._planner.ends_s(clip.plan)
        try:
            self._check_space()
            for footage in clip.feed(ends_s, self._deadline_s if why else time.monotonic() + TURN_S):
                self._keep(footage)
            if why or clip.is_over(ends_s, time.monotonic()):
                self._finish(clip, ends_s, why)
        except RunError:
            raise
        except Exception as exc:
            if not isinstance(exc, MUX_ERRORS):
                logger.exception("camera %s: a fault while its clip was written", clip.plan.camera)
            clip.abandon()
            self._close(clip)
            self._miss(clip.clip_id, clip.plan, f"it could not be written: {exc}")

    def _finish(self, clip: OpenClip, ends_s: float, why: str) -> None:
        if not why and clip.plan.unended:
            why = "the event goes on: no clip is longer"
        has_footage, footage = clip.has_footage, clip.finish(ends_s, why)
        self._close(clip)
        if footage is not None:
            self._keep(footage)
        elif not has_footage:
            self._miss(clip.clip_id, clip.plan, "the camera sent no keyframe that it could begin with")

    def _close(self, clip: OpenClip) -> None:
        self._open.remove(clip)
        self._planner.close(clip.plan)

    def _end_all(self) -> None:
        """End all clips now; what is past the deadline stays open."""
        for clip in list(self._open):
            if time.monotonic() > self._deadline_s:
                return
            self._advance(clip, ENDED)

    def _keep(self, footage: Footage) -> None:
        """Give a file its name, then write its row; or the row alone, which says why that cannot be done."""
        try:
            self._store(footage)
        except OSError as exc:
            discard(footage.path)
            self._miss(footage.clip_id, footage.plan, f"it could not be kept: {exc}")

    def _store(self, footage: Footage) -> None:
        """Give a file its name within the space for clips, then write its row.

        Raises:
            OSError: it cannot be done.
        """
        size, first, last = footage.path.stat().st_size, footage.first, footage.last
        self._make_room(size)
        path, sha256 = self._path_of(footage), file_sha256(footage.path)
        ensure_directory((self._directory / path).parent, self._directory / CLIPS.folder)
        keep_partial(footage.path, self._directory / path)
        offset_s = first.arrived_utc - first.arrived_s
        ends_utc = last.arrived_s + offset_s  # by the clock of its beginning, as events: none ends before it begins
        self._budget.add(StoredFile(self._run, (footage.clip_id,), (path,), size, first.arrived_utc, offset_s))
        self._record(
            ClipEntry(
                *(footage.clip_id, footage.plan.camera, tuple(footage.plan.events), footage.plan.labels, time.time()),
                *(first.arrived_utc, first.arrived_s, ends_utc, last.arrived_s),
                codec=footage.codec,
                frames=footage.frames,
                reencoded=footage.reencoded,
                note=footage.note,
                path=path,
                sha256=sha256,
                size=size,
            )
        )

    def _make_room(self, size: int) -> None:
        """Wait for room for so many bytes, but not for long.

        Raises:
            OSError: there is none.
        """
        if size > self._budget.max_bytes:
            raise OSError("it is larger than the disk space for clips")
        until_s = min(time.monotonic() + ROOM_S, self._deadline_s)
        while not self._budget.make_room(size):
            if time.monotonic() > until_s:
                raise OSError(self._problem or "the rows of older clips are not committed, so none could make room")
            time.sleep(POLL_S / 5)

    def _check_space(self) -> None:
        free = free_mb(self._directory)
        if free < self._min_free_mb:
            raise OSError(f"disk full: {free:.0f} MB free, {self._min_free_mb} MB must stay free")

    def _next_partial(self) -> Path:
        folder = self._directory / CLIPS.folder
        folder.mkdir(exist_ok=True)
        self._partials += 1
        return folder / f"{PARTIAL_NAME}-{self._partials}"

    def _path_of(self, footage: Footage) -> str:
        day = datetime.fromtimestamp(footage.first.arrived_utc, UTC).strftime("%Y-%m-%d")
        camera, name = (quote(text, safe="") for text in (footage.plan.camera, footage.clip_id))
        return f"{CLIPS.folder}/{day}/{camera}/{self._run}-{name}.mp4"

    def _miss(self, clip_id: str, plan: ClipPlan, reason: str) -> None:
        self._enter_missing(clip_id, plan.camera, tuple(plan.events), plan.labels, reason)

    def _enter_missing(
        self, clip_id: str, camera: str, events: tuple[str, ...], labels: CameraLabels, reason: str
    ) -> None:
        logger.warning("camera %s: no clip of event %s: %s", camera, clip_id, reason)
        self._record(ClipEntry(clip_id, camera, events, labels, time.time(), missing=reason))

    def _note_problem(self, problem: str) -> None:
        self._problem = problem
