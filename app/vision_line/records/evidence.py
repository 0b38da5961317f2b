# SPDX-License-Identifier: AGPL-3.0-or-later
"""Evidence: JPEG pictures of every event, on the disk before their row, within a budget of disk space.

They show one look: the one that confirmed the event, or a markedly better one that comes while the pictures wait to be
written. `<run>-<event id>-<frame>.jpg` is the camera's picture untouched (it can be trained on), `.overlay.jpg` shows
all boxes of the frame, the event's class, score and verdict, and a caption below the picture, `.crop.jpg` the defect
enlarged.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

import cv2

from vision_line.errors import RunError, SourceError
from vision_line.frames import DefectEvent, Detections, EventPhase, Frame
from vision_line.ports import HostCopyable
from vision_line.records.annotate import Mark, caption_of, draw_marks, enlarged, mark_of, marks_of, with_caption
from vision_line.records.directory import ensure_directory, sync_directory, write_durably
from vision_line.records.entries import Entry, EvidenceDeletedEntry, EvidenceEntry
from vision_line.records.kept import EvidencePaths, KeptPicture, KeptPictures, Stock, evidence_paths
from vision_line.records.picture import Image, PictureReader
from vision_line.records.retention import Age
from vision_line.records.stored import FOLDER, StrangePictureError, remove_stored

logger = logging.getLogger(__name__)

#: Pictures that may wait to be written. Each holds on to a decoder's picture: 32 of 1920 x 1080 are 100 MB.
QUEUE_EVENTS = 32
#: How long a new event's picture waits for a better look, while no more than this many do. A picture that is not in the
#: host's memory does not wait: the decoder has few of them.
BETTER_LOOK_S = 1.0
MOST_WAITING = QUEUE_EVENTS // 2
#: How long to leave a failing disk alone before trying the same picture again.
RETRY_S = 0.5
#: How long to wait for rows that are about to be committed.
COMMIT_S = 0.1
#: How often it is looked for pictures that are old, and how many are removed then.
EXPIRE_S = 10.0
EXPIRED_AT_ONCE = 100


@dataclass(slots=True)
class _Job:
    """An event's pictures to be written: of its best look so far, which is in `frame`. Changed under the keeper's lock.

    At `due_s` of the monotonic clock it is taken by the thread, and not changed any more.
    """

    frame: Frame
    detections: Detections
    event: DefectEvent
    due_s: float
    taken: bool = False

    def take_account(self, frame: Frame, detections: Detections, event: DefectEvent) -> None:
        """Follow the event: to a better look in `frame`, to its risen verdict."""
        if event.sequence == frame.sequence:
            self.frame, self.detections, self.event = frame, detections, event
        elif event.sequence == self.frame.sequence:
            self.event = event


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
        age: Age,
    ) -> None:
        """Keep pictures below `directory`, where `stock` is already.

        `record` takes their rows, `read_picture` makes BGR of a frame, `age` says which pictures are old.
        """
        self._age = age
        self._directory = directory
        self._run = run
        self._kept = KeptPictures(directory, stock)
        self._record = record
        self._read_picture = read_picture
        self._max_bytes = max_bytes
        self._quality = quality
        self._deleted = 0
        self._expire_due_s = -inf
        self._undeletable = ""
        self._problem = ""
        self._jobs: dict[str, _Job] = {}  # by event id, the oldest first
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
        """Take over the pictures of new `events`, and better ones of those that wait; never waits itself.

        With a full queue the rows say that the pictures are missing.

        Raises:
            RunError: the log takes no rows.
        """
        for event in events:
            if event.phase is EventPhase.NEW:
                self._take_over(frame, detections, event)
                continue
            with self._changed:
                if (job := self._waiting(event)) is not None:
                    job.take_account(frame, detections, event)
        self.ended(events)

    def ended(self, events: Sequence[DefectEvent]) -> None:
        """Do not wait for better looks at those of `events` that have ended."""
        with self._changed:
            for event in events:
                if event.phase is EventPhase.END and (job := self._waiting(event)) is not None:
                    job.due_s = 0.0
                    self._changed.notify()

    def _take_over(self, frame: Frame, detections: Detections, event: DefectEvent) -> None:
        waits_s = 0.0 if isinstance(frame.picture, HostCopyable) else BETTER_LOOK_S
        with self._changed:
            room = len(self._jobs) < QUEUE_EVENTS and not self._closing.is_set()
            if room:
                self._jobs[event.event_id] = _Job(frame, detections, event, time.monotonic() + waits_s)
                self._changed.notify()
        if not room:
            self._miss(event, "too many new events at once: the queue of pictures was full")

    def _waiting(self, event: DefectEvent) -> _Job | None:
        job = self._jobs.get(event.event_id)
        return None if job is None or job.taken else job

    def close(self, timeout_s: float) -> None:
        """Write what waits, for at most `timeout_s`; what is left is recorded as missing."""
        self._deadline_s = time.monotonic() + timeout_s
        self._closing.set()
        with self._changed:
            self._changed.notify()
        self._thread.join(timeout_s + 1.0)
        with self._changed:
            left = list(self._jobs.values())
        for job in left:
            self._miss(job.event, self._problem or "the program ended before the picture was written")

    def _work(self) -> None:
        try:
            while (job := self._next()) is not None and self._try(job):
                pass
        except RunError as exc:
            logger.error("evidence ends with the log: %s", exc)

    def _try(self, job: _Job) -> bool:
        """Write the job's pictures, or wait before they are tried again; False: a disk refuses at the end."""
        if self._keep(job):
            with self._changed:
                del self._jobs[job.event.event_id]
        elif not self._problem:
            time.sleep(COMMIT_S)
        else:
            return not self._closing.wait(RETRY_S)
        return True

    def _next(self) -> _Job | None:
        """Wait for a picture that is due, and remove old ones meanwhile; None at the end."""
        while True:
            self._expire()
            with self._changed:
                if (job := self._due()) is None:
                    if self._closing.is_set():
                        return None
                    self._changed.wait(min(self._until_due_s(), EXPIRE_S))
                    continue
                job.taken = True
            return None if time.monotonic() > self._deadline_s else job

    def _due(self) -> _Job | None:
        """Return what is to be written now; the one that could not be written before comes first."""
        at_once = self._closing.is_set() or len(self._jobs) > MOST_WAITING
        now_s = time.monotonic()
        due = (job for job in self._jobs.values() if at_once or job.taken or job.due_s <= now_s)
        return min(due, key=lambda job: not job.taken, default=None)

    def _until_due_s(self) -> float:
        return max(0.0, min((job.due_s for job in self._jobs.values()), default=inf) - time.monotonic())

    def _keep(self, job: _Job) -> bool:
        """Write the job's pictures, then their row; False if that cannot be done now and is to be tried again."""
        event = job.event
        paths = evidence_paths(self._run, event, job.frame.sequence)
        try:
            pictures = self._pictures_of(job, paths)
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
        now_utc = time.time()
        self._kept.add(KeptPicture(self._run, event.event_id, paths, size, now_utc))
        digest = hashlib.sha256(pictures[paths.clean]).hexdigest()
        self._record(EvidenceEntry(event.event_id, now_utc, *paths, sha256=digest, size=size, look=event.best_look))
        return True

    def _pictures_of(self, job: _Job, paths: EvidencePaths) -> dict[str, bytes]:
        """Return the files to be written; the untouched picture is the last, so that where it is all are.

        Raises:
            SourceError, cv2.error: the picture cannot be had or converted.
        """
        image = self._read_picture(job.frame)
        mark = mark_of(job.event, job.event.best_look)
        return {
            paths.overlay: self._jpeg(_with_overlay(image, job, mark)),
            paths.crop: self._jpeg(enlarged(image, mark)),
            paths.clean: self._jpeg(image),
        }

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
            self._remove_all(oldest)
        return True

    def _remove_all(self, oldest: KeptPicture) -> None:
        for path in oldest.paths:
            self._remove(path)
        self._kept.forget_oldest()
        self._deleted += 1
        self._record(EvidenceDeletedEntry(oldest.run, oldest.event_id, time.time()))

    def _expire(self) -> None:
        """Remove a few old pictures, now and then.

        Raises:
            RunError: the log takes no rows.
        """
        now_s = time.monotonic()
        if now_s < self._expire_due_s:
            return
        self._expire_due_s = now_s + EXPIRE_S
        cutoff_utc = self._age.cutoff_utc(now_s, time.time())
        try:
            for _ in range(EXPIRED_AT_ONCE if cutoff_utc > -inf else 0):
                oldest = self._oldest()
                if oldest is None or oldest.created_utc >= cutoff_utc:
                    return
                self._remove_all(oldest)
        except OSError as exc:
            if exc.filename != self._undeletable:
                logger.warning("%s: old evidence cannot be removed: %s", exc.filename, exc.strerror)
            self._undeletable = exc.filename

    def _remove(self, path: str) -> None:
        try:
            remove_stored(self._directory, path)
        except StrangePictureError as exc:
            logger.error("a picture is not removed: %s", exc)

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


def _with_overlay(image: Image, job: _Job, mark: Mark) -> Image:
    marked = image.copy()
    draw_marks(marked, marks_of(job.detections, [mark]))
    words = f"{mark.label}  {job.event.event_id}"
    return with_caption(marked, caption_of(job.frame.camera, job.frame.captured_utc, words))
