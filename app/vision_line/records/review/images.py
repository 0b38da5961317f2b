# SPDX-License-Identifier: AGPL-3.0-or-later
"""Writes the images for review in a thread of low priority: nobody waits for it, and what it cannot do a row says."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import cv2

from vision_line.config.models import ReviewSettings
from vision_line.errors import DeviceError, RunError, SourceError
from vision_line.records.annotate import ImageReader
from vision_line.records.background import yield_to_inspection
from vision_line.records.directory import write_stored
from vision_line.records.entries import Entry, StoredImage
from vision_line.records.file_budget import EXPIRE_S, FileBudget
from vision_line.records.file_tables import AUDITS, NEAR_MISSES, FileTable, RowKey
from vision_line.records.retention import RowAge
from vision_line.records.review.held_frames import HeldFrame
from vision_line.records.stored_files import StorageUsage, StoredFile

logger = logging.getLogger(__name__)

#: Images that may wait to be written; their frames are bounded by themselves.
MOST_WAITING = 64
#: Frames in a device's memory that may wait to be copied: a decoder has few of them.
MOST_ON_DEVICE = 4
#: How long to wait for rows that are about to be committed, so that their images may go, and how often.
COMMIT_S = 0.1
COMMIT_TRIES = 50

QUEUE_FULL = "too many images waited to be written"
ENDED = "the program ended before the image was written"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewImage:
    """An image to be written for the row `key` of `table`; `entry` makes the row once it is known what became of it.

    `stem` is its name behind the run's number. `seen_utc` is when the frame was seen, `offset_s` that minus the
    same by the monotonic clock.
    """

    table: FileTable
    key: RowKey
    stem: str
    camera: str
    seen_utc: float
    offset_s: float
    entry: Callable[[StoredImage], Entry]


class ReviewImages:
    """Owns the `review` folder and the thread that writes into it, from `start` to `close`."""

    def __init__(
        self,
        directory: Path,
        run: int,
        usages: Mapping[str, StorageUsage],
        record: Callable[[Entry], None],
        read_image: ImageReader,
        *,
        age: RowAge,
    ) -> None:
        """Keep images below `directory`, where `usages` are already, by table.

        `record` takes their rows, `read_image` makes BGR of a frame, `age` says which images are old.
        """
        self._directory = directory
        self._run = run
        self._record = record
        self._read_image = read_image
        self._quality = 0
        self._budgets = {
            table.table: FileBudget(
                *(table, directory, usages[table.table], record, self._cannot_write), max_bytes=0, age=age
            )
            for table in (NEAR_MISSES, AUDITS)
        }
        self._problem = ""
        self._changed = threading.Condition(threading.Lock())
        self._waiting: deque[tuple[ReviewImage, HeldFrame]] = deque()
        self._on_device: deque[HeldFrame] = deque()
        self._closing = threading.Event()
        self._deadline_s = float("inf")
        self._thread: threading.Thread | None = None

    def apply(self, settings: ReviewSettings) -> None:
        """Write by these settings from now on."""
        self._quality = settings.quality
        for budget in self._budgets.values():
            budget.max_bytes = settings.max_mb * 1_000_000 // len(self._budgets)
        self.start()

    def start(self) -> None:
        """Begin the thread, which also removes what is old of earlier runs; may be called again."""
        if self._thread is None and not self._closing.is_set():
            self._thread = threading.Thread(target=self._work, name="review", daemon=True)
            self._thread.start()

    def bring_in(self, held: HeldFrame) -> bool:
        """Have a frame copied out of the device's memory soon; False: too many wait for that."""
        with self._changed:
            if len(self._on_device) >= MOST_ON_DEVICE:
                return False
            self._on_device.append(held)
            self._changed.notify()
            return True

    def offer(self, image: ReviewImage, held: HeldFrame) -> None:
        """Take over an image; never waits. What cannot be written becomes a row without one.

        Raises:
            RunError: the log takes no rows.
        """
        with self._changed:
            takes = len(self._waiting) < MOST_WAITING and not self._closing.is_set()
            if takes:
                self._waiting.append((image, held))
                self._changed.notify()
        if not takes:
            self.miss(image, ENDED if self._closing.is_set() else QUEUE_FULL)

    def miss(self, image: ReviewImage, why: str) -> None:
        """Record that there is no image.

        Raises:
            RunError: the log takes no rows.
        """
        self._record(image.entry(StoredImage(time.time(), missing=why)))

    def close(self, timeout_s: float) -> None:
        """Write what waits, for at most `timeout_s`; what is left is recorded as missing."""
        self._deadline_s = time.monotonic() + timeout_s
        with self._changed:
            self._closing.set()
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout_s + 1.0)
        while self._waiting:
            self.miss(self._waiting.popleft()[0], ENDED)

    def _work(self) -> None:
        yield_to_inspection()
        try:
            while self._step():
                pass
        except RunError as exc:
            logger.error("no more images for review are saved, as the records failed: %s", exc)

    def _step(self) -> bool:
        """Remove old images, copy frames, and write one image; False at the end."""
        for budget in self._budgets.values():
            budget.expire()
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._on_device or self._closing.is_set(), EXPIRE_S)
        while self._on_device:  # first: the decoder wants them back
            _copy_to_host(self._on_device.popleft())
        if time.monotonic() > self._deadline_s or not self._waiting:
            return not self._closing.is_set()
        self._write(*self._waiting.popleft())
        return True

    def _write(self, image: ReviewImage, held: HeldFrame) -> None:
        try:
            data = self._jpeg(held)
            path = f"{image.table.folder}/{_day(image.seen_utc)}/{quote(image.camera, safe='')}/"
            path += f"{self._run}-{quote(image.stem, safe='')}.jpg"
            if why := self._store(image, path, data):
                self.miss(image, why)
                return
        except (SourceError, cv2.error, OSError) as exc:
            self.miss(image, str(exc) if isinstance(exc, SourceError) else f"the image cannot be written: {exc}")
            return
        self._problem = ""
        stored = StoredImage(time.time(), path, hashlib.sha256(data).hexdigest(), len(data))
        self._record(image.entry(stored))

    def _store(self, image: ReviewImage, path: str, data: bytes) -> str:
        """Write the file; return why it could not be, "" where it was.

        Raises:
            OSError: the disk refuses.
        """
        budget = self._budgets[image.table.table]
        if len(data) > budget.max_bytes:
            return "the image is larger than the disk space for review"
        if not self._make_room(budget, len(data)):
            return self._problem or "there was no room for it"
        write_stored(self._directory, image.table.folder, {path: data})
        budget.add(StoredFile(self._run, image.key, (path,), len(data), image.seen_utc, image.offset_s))
        return ""

    def _make_room(self, budget: FileBudget, size: int) -> bool:
        """Remove the oldest images; False where that took too long.

        Raises:
            OSError: the disk refuses.
        """
        for _ in range(COMMIT_TRIES):
            if budget.make_room(size):
                return True
            time.sleep(COMMIT_S)
            if time.monotonic() > self._deadline_s:
                break
        return False

    def _jpeg(self, held: HeldFrame) -> bytes:
        _, data = cv2.imencode(".jpg", self._read_image(held.frame), [cv2.IMWRITE_JPEG_QUALITY, self._quality])
        return data.tobytes()

    def _cannot_write(self, reason: str) -> None:
        if not self._problem:
            logger.error("images for review cannot be written: %s", reason)
        self._problem = reason


def _copy_to_host(held: HeldFrame) -> None:
    """Replace a frame on a device by its copy; one that cannot be copied stays, and writing it says why."""
    try:
        held.frame = replace(held.frame, data=held.frame.data.to_host())
    except DeviceError as exc:
        logger.warning("camera %s: a frame for review cannot be copied: %s", held.frame.camera, exc)


def _day(utc: float) -> str:
    return datetime.fromtimestamp(utc, UTC).strftime("%Y-%m-%d")
