# SPDX-License-Identifier: AGPL-3.0-or-later
"""Evidence: two JPEG pictures of every new event, on the disk before their row, within a budget of disk space.

`<run>-<event id>.jpg` is the camera's picture untouched (it can be trained on), `<run>-<event id>.overlay.jpg` shows
all boxes of the frame, the event's class, score and verdict, and a caption below the picture.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import cv2

from vision_line.errors import RunError, SourceError
from vision_line.frames import DefectEvent, Detections, Frame
from vision_line.records.annotate import caption_of, draw_marks, marks_of, with_caption
from vision_line.records.directory import ensure_directory, sync_directory, write_durably
from vision_line.records.entries import Entry, EvidenceDeletedEntry, EvidenceEntry
from vision_line.records.picture import Image, PictureReader

logger = logging.getLogger(__name__)

FOLDER = "evidence"
#: Pictures that may wait to be written. Each holds on to a decoder's picture: 32 of 1920 x 1080 are 100 MB.
QUEUE_EVENTS = 32
#: How long to leave a failing disk alone before trying the same picture again.
RETRY_S = 0.5


@dataclass(frozen=True, slots=True)
class KeptPicture:
    """An event's pictures on the disk; paths are relative to the record directory."""

    run: int
    event_id: str
    paths: tuple[str, ...]
    size: int


@dataclass(frozen=True, slots=True)
class _Job:
    frame: Frame
    detections: Detections
    event: DefectEvent


def evidence_paths(run: int, camera: str, event_id: str, first_seen_utc: float) -> tuple[str, str]:
    """Return the clean and the overlay picture's paths, relative to the record directory. Pure."""
    day = datetime.fromtimestamp(first_seen_utc, UTC).strftime("%Y-%m-%d")
    stem = f"{FOLDER}/{day}/{quote(camera, safe='')}/{run}-{quote(event_id, safe='')}"
    return f"{stem}.jpg", f"{stem}.overlay.jpg"


def reconcile(connection: sqlite3.Connection, directory: Path, now_utc: float) -> list[KeptPicture]:
    """Make rows and pictures agree after a run that was killed; return the pictures kept, oldest first.

    A picture that was durable when its row was not gets its row; an event without a picture gets a row that says so;
    a row whose picture is gone is marked deleted.

    Raises:
        sqlite3.Error, OSError: the record directory cannot be read or written.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        _adopt(connection, directory, now_utc)
        kept = _forget_removed(connection, directory, now_utc)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return kept


def _adopt(connection: sqlite3.Connection, directory: Path, now_utc: float) -> None:
    unknown = connection.execute(
        "SELECT run, camera, event_id, first_seen_utc FROM events JOIN runs USING (run) WHERE runs.evidence = 1"
        " AND NOT EXISTS (SELECT 1 FROM evidence e WHERE e.run = events.run AND e.event_id = events.event_id)"
    ).fetchall()
    for run, camera, event_id, first_seen_utc in unknown:
        connection.execute(
            "INSERT INTO evidence (run, event_id, path, overlay_path, sha256, bytes, created_utc, missing)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (run, event_id, *_found(directory, evidence_paths(run, camera, event_id, first_seen_utc), now_utc)),
        )


def _found(directory: Path, paths: tuple[str, str], now_utc: float) -> tuple[object, ...]:
    """Return path ... missing of the evidence row for pictures that were, or were not, written before a kill."""
    clean, overlay = (directory / path for path in paths)
    if not (clean.is_file() and overlay.is_file()):
        return (None, None, None, 0, now_utc, "the program ended before the picture was written")
    data = clean.read_bytes()
    size = len(data) + overlay.stat().st_size
    return (*paths, hashlib.sha256(data).hexdigest(), size, clean.stat().st_mtime, None)


def _forget_removed(connection: sqlite3.Connection, directory: Path, now_utc: float) -> list[KeptPicture]:
    rows = connection.execute(
        "SELECT run, event_id, path, overlay_path, bytes FROM evidence"
        " WHERE path IS NOT NULL AND deleted_utc IS NULL ORDER BY created_utc, evidence"
    ).fetchall()
    kept = []
    for run, event_id, path, overlay_path, size in rows:
        if (directory / path).is_file():
            kept.append(KeptPicture(run, event_id, (path, overlay_path), size))
        else:
            connection.execute(
                "UPDATE evidence SET deleted_utc = ? WHERE run = ? AND event_id = ?", (now_utc, run, event_id)
            )
    return kept


class EvidenceKeeper:
    """Owns the evidence folder and the thread that writes into it, from `start` to `close`."""

    def __init__(
        self,
        directory: Path,
        run: int,
        kept: Sequence[KeptPicture],
        record: Callable[[Entry], None],
        read_picture: PictureReader,
        *,
        max_bytes: int,
        quality: int,
    ) -> None:
        """Keep pictures below `directory`; `record` takes their rows, `read_picture` makes BGR of a frame."""
        self._directory = directory
        self._run = run
        self._kept = deque(kept)
        self._record = record
        self._read_picture = read_picture
        self._max_bytes = max_bytes
        self._quality = quality
        self._kept_bytes = sum(picture.size for picture in kept)
        self._deleted = 0
        self._problem = ""
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._closing = threading.Event()
        self._deadline_s = float("inf")
        self._thread = threading.Thread(target=self._work, name="evidence", daemon=True)

    @property
    def kept_bytes(self) -> int:
        """Disk space that evidence takes now."""
        return self._kept_bytes

    @property
    def deleted(self) -> int:
        """How many events' pictures this run removed to stay within the budget."""
        return self._deleted

    @property
    def problem(self) -> str:
        """Why pictures cannot be written now, "" while they can."""
        return self._problem

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def offer(self, frame: Frame, detections: Detections, events: Sequence[DefectEvent]) -> None:
        """Take over the pictures of new `events`; never waits. With a full queue the rows say that they are missing.

        Raises:
            RunError: the log takes no rows.
        """
        for event in events:
            with self._changed:
                room = len(self._jobs) < QUEUE_EVENTS and not self._closing.is_set()
                if room:
                    self._jobs.append(_Job(frame, detections, event))
                    self._changed.notify()
            if not room:
                self._miss(event, "too many new events at once: the queue of pictures was full")

    def close(self, timeout_s: float) -> None:
        """Write what waits, for at most `timeout_s`; what is left is recorded as missing."""
        self._deadline_s = time.monotonic() + timeout_s
        self._closing.set()
        with self._changed:
            self._changed.notify()
        self._thread.join(timeout_s + 1.0)
        with self._changed:
            left = list(self._jobs)
        for job in left:
            self._miss(job.event, self._problem or "the program ended before the picture was written")

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._closing.is_set())
                if not self._jobs or time.monotonic() > self._deadline_s:
                    return
                job = self._jobs[0]
            try:
                done = self._keep(job)
            except RunError as exc:
                logger.error("evidence ends with the log: %s", exc)
                return
            if done:
                with self._changed:
                    self._jobs.popleft()
            elif self._closing.wait(RETRY_S):
                return  # a disk that still refuses at the end will not be waited for

    def _keep(self, job: _Job) -> bool:
        """Write the job's pictures, then their row; False if the disk refuses and it is to be tried again."""
        event = job.event
        clean, overlay = evidence_paths(self._run, event.camera, event.event_id, event.first_seen_utc)
        try:
            image = self._read_picture(job.frame)
            pictures = {overlay: self._jpeg(_with_overlay(image, job)), clean: self._jpeg(image)}
        except (SourceError, cv2.error) as exc:
            self._miss(event, str(exc))
            return True
        size = sum(map(len, pictures.values()))
        if size > self._max_bytes:
            self._miss(event, "the picture is larger than the disk space for evidence")
            return True
        try:
            self._make_room(size)
            self._write(pictures)
        except OSError as exc:
            self._note_problem(f"evidence cannot be written: {exc.strerror}")
            return False
        self._note_problem("")
        self._kept_bytes += size
        self._kept.append(KeptPicture(self._run, event.event_id, (clean, overlay), size))
        digest = hashlib.sha256(pictures[clean]).hexdigest()
        self._record(EvidenceEntry(event.event_id, time.time(), clean, overlay, digest, size))
        return True

    def _write(self, pictures: dict[str, bytes]) -> None:
        root = self._directory / FOLDER
        folder = (self._directory / next(iter(pictures))).parent
        root.mkdir(exist_ok=True)
        ensure_directory(folder, root)
        for path, data in pictures.items():
            write_durably(self._directory / path, data, root / ".partial")
        sync_directory(folder)

    def _make_room(self, size: int) -> None:
        """Remove the oldest pictures until `size` more bytes fit, and have their rows say so."""
        while self._kept and self._kept_bytes + size > self._max_bytes:
            oldest = self._kept[0]
            for path in oldest.paths:
                (self._directory / path).unlink(missing_ok=True)
            self._kept.popleft()
            self._kept_bytes -= oldest.size
            self._deleted += 1
            self._record(EvidenceDeletedEntry(oldest.run, oldest.event_id, time.time()))

    def _jpeg(self, image: Image) -> bytes:
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self._quality])
        return data.tobytes()

    def _miss(self, event: DefectEvent, reason: str) -> None:
        logger.warning("no evidence of event %s of %s: %s", event.event_id, event.camera, reason)
        self._record(EvidenceEntry(event.event_id, time.time(), missing=reason))

    def _note_problem(self, problem: str) -> None:
        if problem and not self._problem:
            logger.error("%s; tried again until it can be", problem)
        self._problem = problem


def _with_overlay(image: Image, job: _Job) -> Image:
    marked = image.copy()
    draw_marks(marked, marks_of(job.detections, [job.event]))
    words = f"{job.event.class_name} {job.event.score:.2f} {job.event.verdict}  {job.event.event_id}"
    return with_caption(marked, caption_of(job.frame.camera, job.frame.arrived_utc, words))
