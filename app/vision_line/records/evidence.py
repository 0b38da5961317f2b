# SPDX-License-Identifier: AGPL-3.0-or-later
"""Evidence: JPEG images of every event, on the disk before their row, within a budget of disk space.

They show one observation: the one that confirmed the event, or a markedly better one that comes while the images
wait to be written. `<run>-<event id>-<frame>.jpg` is the camera's image untouched (it can be trained on),
`.overlay.jpg` shows all boxes of the frame, the event's class, score and verdict, and a caption below the image,
`.crop.jpg` the defect enlarged.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2

from vision_line.errors import RunError, SourceError
from vision_line.frames import DefectEvent, Detections, Frame
from vision_line.records.annotate import (
    Image,
    ImageReader,
    Mark,
    caption_of,
    draw_marks,
    enlarged,
    mark_of,
    marks_of,
    with_caption,
)
from vision_line.records.directory import write_stored
from vision_line.records.entries import Entry, EvidenceEntry
from vision_line.records.evidence_files import EvidencePaths, evidence_paths
from vision_line.records.file_budget import EXPIRE_S, FileBudget
from vision_line.records.file_tables import EVIDENCE
from vision_line.records.pending_evidence import PendingEvidence, PendingEvidenceQueue
from vision_line.records.retention import RowAge
from vision_line.records.stored_files import StorageUsage, StoredFile

logger = logging.getLogger(__name__)

#: How long to leave a failing disk alone before trying the same image again.
RETRY_S = 0.5
#: How long to wait for rows that are about to be committed.
COMMIT_S = 0.1


class EvidenceWriter:
    """Owns the evidence folder and the thread that writes into it, from `start` to `close`."""

    def __init__(
        self,
        directory: Path,
        run: int,
        usage: StorageUsage,
        record: Callable[[Entry], None],
        read_image: ImageReader,
        *,
        max_bytes: int,
        quality: int,
        age: RowAge,
    ) -> None:
        """Keep images below `directory`, where `usage` is already.

        `record` takes their rows, `read_image` makes BGR of a frame, `age` says which images are old.
        """
        self._directory = directory
        self._run = run
        self._budget = FileBudget(
            *(EVIDENCE, directory, usage, record, self._cannot_write), max_bytes=max_bytes, age=age
        )
        self._record = record
        self._read_image = read_image
        self._quality = quality
        self._problem = ""
        self._pending = PendingEvidenceQueue()
        self._closing = threading.Event()
        self._deadline_s = float("inf")
        self._thread = threading.Thread(target=self._work, name="evidence", daemon=True)

    @property
    def kept_bytes(self) -> int:
        """Disk space that evidence takes now."""
        return self._budget.size

    @property
    def deleted(self) -> int:
        """How many events' images this run removed to stay within the budget."""
        return self._budget.deleted

    @property
    def problem(self) -> str:
        """Why images cannot be written now, "" while they can."""
        return self._problem

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def offer(self, frame: Frame, detections: Detections, events: Sequence[DefectEvent]) -> None:
        """Take over the images of new `events`, and better ones of those that wait; never waits itself.

        With a full queue the rows say that the images are missing.

        Raises:
            RunError: the log takes no rows.
        """
        for event in self._pending.offer(frame, detections, events):
            self._miss(event, "too many new events at once: the queue of images was full")

    def ended(self, events: Sequence[DefectEvent]) -> None:
        """Do not wait for better observations of those of `events` that have ended."""
        self._pending.ended(events)

    def close(self, timeout_s: float) -> None:
        """Write what waits, for at most `timeout_s`; what is left is recorded as missing."""
        self._deadline_s = time.monotonic() + timeout_s
        self._closing.set()
        self._pending.close()
        self._thread.join(timeout_s + 1.0)
        for pending in self._pending.left():
            self._miss(pending.event, self._problem or "the program ended before the image was written")

    def _work(self) -> None:
        try:
            while self._step():
                pass
        except RunError as exc:
            logger.error("no more evidence images are saved, as the records failed: %s", exc)

    def _step(self) -> bool:
        """Remove old images, and write one that is due; False at the end."""
        self._budget.expire()
        pending = self._pending.take(EXPIRE_S)
        if pending is None:
            return not self._closing.is_set()
        return time.monotonic() <= self._deadline_s and self._try(pending)

    def _try(self, pending: PendingEvidence) -> bool:
        """Write an event's images, or wait before they are tried again; False: a disk refuses at the end."""
        if self._keep(pending):
            self._pending.written(pending)
        elif not self._problem:
            time.sleep(COMMIT_S)
        else:
            return not self._closing.wait(RETRY_S)
        return True

    def _keep(self, pending: PendingEvidence) -> bool:
        """Write an event's images, then their row; False if that cannot be done now and is to be tried again."""
        event = pending.event
        paths = evidence_paths(self._run, event, pending.frame.sequence)
        try:
            files = self._images_of(pending, paths)
        except (SourceError, cv2.error) as exc:
            self._miss(event, str(exc))
            return True
        size = sum(map(len, files.values()))
        if size > self._budget.max_bytes:
            self._miss(event, "the image is larger than the disk space for evidence")
            return True
        try:
            if not self._budget.make_room(size):
                return False
            write_stored(self._directory, EVIDENCE.folder, files)
        except OSError as exc:
            self._cannot_write(exc.strerror)
            return False
        self._note_problem("")
        now_utc = time.time()
        offset_s = event.first_seen_utc - event.first_seen_s
        self._budget.add(StoredFile(self._run, (event.event_id,), paths, size, event.first_seen_utc, offset_s))
        clean, overlay, crop = (hashlib.sha256(files[path]).hexdigest() for path in paths)
        self._record(
            EvidenceEntry(
                event.event_id, now_utc, *paths, clean, overlay, crop, size=size, observation=event.best_observation
            )
        )
        return True

    def _images_of(self, pending: PendingEvidence, paths: EvidencePaths) -> dict[str, bytes]:
        """Return the files to be written; the untouched image is the last, so that where it is all are.

        Raises:
            SourceError, cv2.error: the image cannot be had or converted.
        """
        image = self._read_image(pending.frame)
        mark = mark_of(pending.event, pending.event.best_observation)
        return {
            paths.overlay: self._jpeg(_with_overlay(image, pending, mark)),
            paths.crop: self._jpeg(enlarged(image, mark)),
            paths.clean: self._jpeg(image),
        }

    def _jpeg(self, image: Image) -> bytes:
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self._quality])
        return data.tobytes()

    def _miss(self, event: DefectEvent, reason: str) -> None:
        logger.warning("camera %s: no evidence image of event %s: %s", event.camera, event.event_id, reason)
        self._record(EvidenceEntry(event.event_id, time.time(), missing=reason))

    def _cannot_write(self, reason: str | None) -> None:
        self._note_problem(f"evidence cannot be written: {reason}")

    def _note_problem(self, problem: str) -> None:
        if problem and not self._problem:
            logger.error("%s; retrying", problem)
        self._problem = problem


def _with_overlay(image: Image, pending: PendingEvidence, mark: Mark) -> Image:
    marked = image.copy()
    draw_marks(marked, marks_of(pending.detections, [mark]))
    words = f"{mark.label}  {pending.event.event_id}"
    return with_caption(marked, caption_of(pending.frame.camera, pending.frame.captured_utc, words))
