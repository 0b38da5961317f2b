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
from math import inf
from pathlib import Path

import cv2

from vision_line.errors import RunError, SourceError
from vision_line.frames import DefectEvent, Detections, Frame
from vision_line.records.annotate import Mark, caption_of, draw_marks, enlarged, mark_of, marks_of, with_caption
from vision_line.records.bgr import Image, PictureReader
from vision_line.records.corrected_time import Timeline
from vision_line.records.directory import ensure_directory, sync_directory, write_durably
from vision_line.records.entries import Entry, EvidenceDeletedEntry, EvidenceEntry
from vision_line.records.evidence_files import EvidenceFile, EvidenceFiles, EvidencePaths, StorageUsage, evidence_paths
from vision_line.records.pending_evidence import PendingEvidence, PendingEvidenceQueue
from vision_line.records.retention import RowAge
from vision_line.records.stored import FOLDER, StrangePictureError, remove_stored

logger = logging.getLogger(__name__)

#: How long to leave a failing disk alone before trying the same picture again.
RETRY_S = 0.5
#: How long to wait for rows that are about to be committed.
COMMIT_S = 0.1
#: How often it is looked for pictures that are old, and how many are removed then.
EXPIRE_S = 10.0
EXPIRED_AT_ONCE = 100


class EvidenceWriter:
    """Owns the evidence folder and the thread that writes into it, from `start` to `close`."""

    def __init__(
        self,
        directory: Path,
        run: int,
        stock: StorageUsage,
        record: Callable[[Entry], None],
        read_picture: PictureReader,
        *,
        max_bytes: int,
        quality: int,
        age: RowAge,
    ) -> None:
        """Keep pictures below `directory`, where `stock` is already.

        `record` takes their rows, `read_picture` makes BGR of a frame, `age` says which pictures are old.
        """
        self._age = age
        self._directory = directory
        self._run = run
        self._kept = EvidenceFiles(directory, stock)
        self._record = record
        self._read_picture = read_picture
        self._max_bytes = max_bytes
        self._quality = quality
        self._deleted = 0
        self._expire_due_s = -inf
        self._undeletable = ""
        self._problem = ""
        self._looks = PendingEvidenceQueue()
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
        for event in self._looks.offer(frame, detections, events):
            self._miss(event, "too many new events at once: the queue of pictures was full")

    def ended(self, events: Sequence[DefectEvent]) -> None:
        """Do not wait for better looks at those of `events` that have ended."""
        self._looks.ended(events)

    def close(self, timeout_s: float) -> None:
        """Write what waits, for at most `timeout_s`; what is left is recorded as missing."""
        self._deadline_s = time.monotonic() + timeout_s
        self._closing.set()
        self._looks.close()
        self._thread.join(timeout_s + 1.0)
        for look in self._looks.left():
            self._miss(look.event, self._problem or "the program ended before the picture was written")

    def _work(self) -> None:
        try:
            while self._step():
                pass
        except RunError as exc:
            logger.error("no more evidence images are saved, as the records failed: %s", exc)

    def _step(self) -> bool:
        """Remove old pictures, and write one that is due; False at the end."""
        self._expire()
        look = self._looks.take(EXPIRE_S)
        if look is None:
            return not self._closing.is_set()
        return time.monotonic() <= self._deadline_s and self._try(look)

    def _try(self, look: PendingEvidence) -> bool:
        """Write the look's pictures, or wait before they are tried again; False: a disk refuses at the end."""
        if self._keep(look):
            self._looks.written(look)
        elif not self._problem:
            time.sleep(COMMIT_S)
        else:
            return not self._closing.wait(RETRY_S)
        return True

    def _keep(self, look: PendingEvidence) -> bool:
        """Write the look's pictures, then their row; False if that cannot be done now and is to be tried again."""
        event = look.event
        paths = evidence_paths(self._run, event, look.frame.sequence)
        try:
            pictures = self._pictures_of(look, paths)
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
        offset_s = event.first_seen_utc - event.first_seen_s
        self._kept.add(EvidenceFile(self._run, event.event_id, paths, size, event.first_seen_utc, offset_s))
        clean, overlay, crop = (hashlib.sha256(pictures[path]).hexdigest() for path in paths)
        self._record(
            EvidenceEntry(event.event_id, now_utc, *paths, clean, overlay, crop, size=size, look=event.best_observation)
        )
        return True

    def _pictures_of(self, look: PendingEvidence, paths: EvidencePaths) -> dict[str, bytes]:
        """Return the files to be written; the untouched picture is the last, so that where it is all are.

        Raises:
            SourceError, cv2.error: the picture cannot be had or converted.
        """
        image = self._read_picture(look.frame)
        mark = mark_of(look.event, look.event.best_observation)
        return {
            paths.overlay: self._jpeg(_with_overlay(image, look, mark)),
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

    def _remove_all(self, oldest: EvidenceFile) -> None:
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
        now_utc = time.time()
        cutoff_utc = self._age.cutoff_utc(now_s, now_utc)
        timeline = self._timeline(now_utc) if cutoff_utc > -inf else None
        if timeline is None:
            return
        try:
            for _ in range(EXPIRED_AT_ONCE):
                oldest = self._oldest()
                if oldest is None or oldest.true_utc(timeline) >= cutoff_utc:
                    return
                self._remove_all(oldest)
        except OSError as exc:
            if exc.filename != self._undeletable:
                logger.warning("old evidence image %s cannot be deleted: %s", exc.filename, exc.strerror)
            self._undeletable = exc.filename

    def _remove(self, path: str) -> None:
        try:
            remove_stored(self._directory, path)
        except StrangePictureError as exc:
            logger.error("an evidence image is not deleted: %s", exc)

    def _oldest(self) -> EvidenceFile | None:
        try:
            return self._kept.oldest()
        except RunError as exc:
            self._note_problem(f"evidence cannot be written: {exc}")
            return None

    def _timeline(self, now_utc: float) -> Timeline | None:
        try:
            return self._kept.timeline(now_utc)
        except RunError as exc:
            self._note_problem(f"evidence cannot be written: {exc}")
            return None

    def _jpeg(self, image: Image) -> bytes:
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self._quality])
        return data.tobytes()

    def _miss(self, event: DefectEvent, reason: str) -> None:
        logger.warning("camera %s: no evidence image of event %s: %s", event.camera, event.event_id, reason)
        self._record(EvidenceEntry(event.event_id, time.time(), missing=reason))

    def _note_problem(self, problem: str) -> None:
        if problem and not self._problem:
            logger.error("%s; retrying", problem)
        self._problem = problem


def _with_overlay(image: Image, look: PendingEvidence, mark: Mark) -> Image:
    marked = image.copy()
    draw_marks(marked, marks_of(look.detections, [mark]))
    words = f"{mark.label}  {look.event.event_id}"
    return with_caption(marked, caption_of(look.frame.camera, look.frame.captured_utc, words))
