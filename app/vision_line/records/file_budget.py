# SPDX-License-Identifier: AGPL-3.0-or-later
"""Bounds the files of one table: the oldest go where they take too much space, and those that are too old."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from math import inf
from pathlib import Path

from vision_line.errors import RunError
from vision_line.records.corrected_time import Timeline
from vision_line.records.directory import ForeignFileError, remove_stored
from vision_line.records.entries import Entry, FileDeletedEntry
from vision_line.records.file_tables import DeletedWhy, FileTable
from vision_line.records.retention import RowAge
from vision_line.records.stored_files import StorageUsage, StoredFile, StoredFiles

logger = logging.getLogger(__name__)

#: How often it is looked for files that are old, and how many rows' are removed then.
EXPIRE_S = 10.0
#: Of so many rows at most the files are gone and no row says so yet: a kill then leaves no more to be explained.
REMOVED_AT_ONCE = 100


class FileBudget:
    """Keeps a table's files within their disk space and age. Used by the thread that writes them, save for counts."""

    def __init__(
        self,
        table: FileTable,
        directory: Path,
        usage: StorageUsage,
        record: Callable[[Entry], None],
        on_problem: Callable[[str], None],
        *,
        max_bytes: int,
        age: RowAge,
    ) -> None:
        """Begin with the `usage` that a start found below `directory`.

        `record` takes what was removed, `on_problem` why nothing can be removed now, `age` says what is old.
        """
        self.max_bytes = max_bytes
        self._table = table
        self._directory = directory
        self._files = StoredFiles(table, directory, usage)
        self._record = record
        self._on_problem = on_problem
        self._age = age
        self._deleted = 0
        self._unsaid = 0  # of those, how many rows may not say so yet
        self._expire_due_s = -inf
        self._undeletable = ""
        self._hindered = ""

    @property
    def size(self) -> int:
        """Disk space that the files take now, bytes; from any thread."""
        return self._files.size

    @property
    def deleted(self) -> int:
        """How many rows' files this run removed; from any thread."""
        return self._deleted

    def add(self, stored: StoredFile) -> None:
        """Take account of files that were written."""
        self._files.add(stored)

    def make_room(self, size: int) -> bool:
        """Remove the oldest files until `size` more bytes fit, and have their rows say so.

        False if that must wait: the rows of the oldest are not committed yet, or do not say yet that others went, or
        the record file cannot be read.

        Raises:
            OSError: a file cannot be removed.
            RunError: the log takes no rows.
        """
        while self._files.size + size > self.max_bytes:
            oldest = self._oldest(self._on_problem)
            if oldest is None:
                return False
            self._remove(oldest, self._table.max_why)
        return True

    def expire(self) -> None:
        """Remove a few old files, now and then.

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
            for _ in range(REMOVED_AT_ONCE):
                oldest = self._oldest(self._warn)
                if oldest is None or oldest.true_utc(timeline) >= cutoff_utc:
                    return
                self._remove(oldest, DeletedWhy.KEEP_DAYS)
        except OSError as exc:
            if exc.filename != self._undeletable:
                logger.warning("%s is old and cannot be deleted: %s: %s", self._table.what, exc.filename, exc.strerror)
            self._undeletable = exc.filename

    def _remove(self, oldest: StoredFile, why: DeletedWhy) -> None:
        for path in oldest.paths:
            try:
                remove_stored(self._directory, path, self._table.folder)
            except ForeignFileError as exc:
                logger.error("%s is not deleted: %s", self._table.what, exc)
        self._files.drop_oldest()
        self._deleted += 1
        self._unsaid += 1
        self._record(FileDeletedEntry(self._table.table, oldest.run, oldest.key, time.time(), why))

    def _oldest(self, on_problem: Callable[[str], None]) -> StoredFile | None:
        """Return what is to go next; None if nothing may go now."""
        try:
            if self._unsaid >= REMOVED_AT_ONCE and self._files.is_removal_committed():
                self._unsaid = 0
            return self._files.oldest() if self._unsaid < REMOVED_AT_ONCE else None
        except RunError as exc:
            on_problem(str(exc))
            return None

    def _timeline(self, now_utc: float) -> Timeline | None:
        try:
            return self._files.timeline(now_utc)
        except RunError as exc:
            self._warn(str(exc))
            return None

    def _warn(self, problem: str) -> None:
        """Say why nothing old can be removed now; it hinders no new file, so it is no problem of the writer's."""
        if problem != self._hindered:
            logger.warning("%s: what is old cannot be removed now: %s", self._table.what, problem)
        self._hindered = problem
