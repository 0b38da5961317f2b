# SPDX-License-Identifier: AGPL-3.0-or-later
"""Evidence: two JPEG pictures of every new event, on the disk before their row, within a budget of disk space.

`<run>-<event id>.jpg` is the camera's picture untouched (it can be trained on), `<run>-<event id>.overlay.jpg` shows
all boxes of the frame, the event's class, score and verdict, and a caption below the picture.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from vision_line.errors import RunError, SourceError
from vision_line.frames import DefectEvent, Detections, Frame
from vision_line.records.annotate import caption_of, draw_marks, marks_of, with_caption
from vision_line.records.directory import ensure_directory, sync_directory, write_durably
from vision_line.records.entries import Entry, EvidenceDeletedEntry, EvidenceEntry
from vision_line.records.kept import FOLDER, KeptPicture, KeptPictures, Stock, evidence_paths
from vision_line.records.picture import Image, PictureReader

logger = logging.getLogger(__name__)

#: Pictures that may wait to be written. Each holds on to a decoder's picture: 32 of 1920 x 1080 are 100 MB.
QUEUE_EVENTS = 32
#: How long to leave a failing disk alone before trying the same picture again.
RETRY_S = 0.5
#: How long to wait for rows that are about to be committed.
COMMIT_S = 0.1


@dataclass(frozen=True, slots=True)
class _Job:
    frame: Frame
    detections: Detections
    event: DefectEvent


class EvidenceKeeper:
    """Owns the evidence folder and the thread that writes into it, from `start` to `close`."""

    def __init__(
        self,
        directory: Path,
        run: int,
        stock: Stock,
        record: Callable[[Entry], None],
        read_picture: PictureReader,
        *,
        max_bytes: int,
        quality: int,
    ) -> None:
        """Keep pictures below `directory`, where `stock` is already.

        `record` takes their rows, `read_picture` makes BGR of a frame.
        """
        self._directory = directory
        self._run = run
        self._kept = KeptPictures(directory, stock)
        self._record = record
        self._read_picture = read_picture
        self._max_bytes = max_bytes
        self._quality = quality
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
        return self._kept.size

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
            elif not self._problem:
                time.sleep(COMMIT_S)
            elif self._closing.wait(RETRY_S):
                return  # a disk that still refuses at the end will not be waited for

    def _keep(self, job: _Job) -> bool:
        """Write the job's pictures, then their row; False if that cannot be done now and is to be tried again."""
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
            if not self._make_room(size):
                return False
            self._write(pictures)
        except OSError as exc:
            self._note_problem(f"evidence cannot be written: {exc.strerror}")
            return False
        self._note_problem("")
        self._kept.add(KeptPicture(self._run, event.event_id, (clean, overlay), size))
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

    def _make_room(self, size: int) -> bool:
        """Remove the oldest pictures until `size` more bytes fit, and have their rows say so.

        False if that must wait: the rows of the oldest are not committed yet, or the record file cannot be read.
        """
        while self._kept.size + size > self._max_bytes:
            oldest = self._oldest()
            if oldest is None:
                return False
            for path in oldest.paths:
                (self._directory / path).unlink(missing_ok=True)
            self._kept.forget_oldest()
            self._deleted += 1
            self._record(EvidenceDeletedEntry(oldest.run, oldest.event_id, time.time()))
        return True

    def _oldest(self) -> KeptPicture | None:
        try:
            return self._kept.oldest()
        except RunError as exc:
            self._note_problem(f"evidence cannot be written: {exc}")
            return None

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
    return with_caption(marked, caption_of(job.frame.camera, job.frame.captured_utc, words))
