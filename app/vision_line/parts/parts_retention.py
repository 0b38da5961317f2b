# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who removes old parts: `vision-line lanes` between its commits, and `vision-line prune` at once."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from math import inf
from pathlib import Path

from vision_line.errors import BrokenRecordError, RunError
from vision_line.parts.parts_file import LANES_LOCK, PARTS_FILE
from vision_line.parts.parts_removal import RemovedParts, last_old, parts_until, remove_parts, removed_parts
from vision_line.records.directory import DirectoryLock
from vision_line.records.retention import DAY_S, IDLE_S, PACE_S, RowAge, Why
from vision_line.records.schema import translated

logger = logging.getLogger(__name__)

#: Entries of one step: a few milliseconds, for which a lane waits.
STEP_ENTRIES = 100
#: So many are looked through for one that is surely old where the wall clock was ahead meanwhile.
LOOKED_THROUGH = 10_000
#: Entries of one step where no lane waits; the pause between two steps where one may.
FREE_STEP_ENTRIES = 1000
PAUSE_S = 0.05
#: How long removing is left alone after it failed.
RETRY_S = 600.0

#: What an entry raises that should say what was removed and does not.
_NOT_OURS = (ValueError, LookupError, TypeError)


class PartsRetention:
    """Removes old parts beside the lanes; used by the thread that enters parts."""

    def __init__(self, directory: Path, keep_days: int) -> None:
        """Keep so many days; 0: for ever."""
        self.keep_days = keep_days
        self._directory = directory
        self._age = RowAge(keep_days)
        self._due_s = -inf

    def tidy(self, connection: sqlite3.Connection, now_s: float, now_utc: float) -> None:
        """Remove a few old parts if it is time to; where that fails it is said, and no lane is held up."""
        if now_s < self._due_s:
            return
        cutoff_utc = self._age.cutoff_utc(now_s, now_utc)
        try:
            is_done = cutoff_utc == -inf or not self._step(connection, cutoff_utc, now_utc)
        except (RunError, BrokenRecordError, *_NOT_OURS) as exc:
            logger.error("old parts are not removed: %s; vision-line verify says more", exc)
            self._due_s = now_s + RETRY_S
            return
        self._due_s = now_s + (IDLE_S if is_done else PACE_S)

    def _step(self, connection: sqlite3.Connection, cutoff_utc: float, now_utc: float) -> bool:
        """Remove a few; return whether there were any."""
        with translated(self._directory / PARTS_FILE.name, "pruning"):
            last = last_old(connection, cutoff_utc, now_utc, LOOKED_THROUGH)
        if last is None:
            return False
        _remove_step(connection, self._directory, last, STEP_ENTRIES, Why.KEEP_DAYS)
        return True


def prune_parts(directory: Path, keep_days: int, now_utc: float, *, dry_run: bool) -> RemovedParts:
    """Remove the parts that are older than `keep_days`; return them, of a `dry_run` those that would go.

    While `vision-line lanes` decides there, in small steps that let it go first; else the file is made smaller too.

    Raises:
        BrokenRecordError: what would go is not what was written.
        RunError: the file cannot be read or written.
    """
    cutoff_utc = now_utc - keep_days * DAY_S
    with _said(directory), PARTS_FILE.reading(directory) as reader:
        last = None if reader is None else last_old(reader, cutoff_utc, now_utc, 1 << 62)
        if reader is None or last is None:
            return RemovedParts()
        going = parts_until(reader, last)
    if not dry_run:
        with _said(directory), closing(PARTS_FILE.writer(directory)) as connection:
            _remove(connection, directory, last)
    return going


def _remove(connection: sqlite3.Connection, directory: Path, last: int) -> None:
    lock = _lanes_lock(directory)
    try:
        entries, pause_s = (STEP_ENTRIES, PAUSE_S) if lock is None else (FREE_STEP_ENTRIES, 0.0)
        while not _remove_step(connection, directory, last, entries, Why.PRUNE):
            time.sleep(pause_s)
        if lock is not None:
            with translated(directory / PARTS_FILE.name, "pruning"):
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        if lock is not None:
            lock.close()


def _remove_step(connection: sqlite3.Connection, directory: Path, last: int, entries: int, why: Why) -> bool:
    """Remove with at most so many entries, those up to `last`, durably; return whether all of these are gone."""
    with PARTS_FILE.transaction(connection, directory):
        begins = removed_parts(connection).through  # somebody else may remove too
        through = min(last, begins + entries)
        if through > begins:
            remove_parts(connection, through, why)
        return through >= last


def _lanes_lock(directory: Path) -> DirectoryLock | None:
    """Return the lock of who decides parts, None: somebody does."""
    try:
        return DirectoryLock(directory, name=LANES_LOCK, held_by="vision-line lanes", advice="it goes on")
    except RunError as exc:
        if isinstance(exc.__cause__, BlockingIOError):
            return None
        raise


@contextmanager
def _said(directory: Path) -> Iterator[None]:
    """Say of an entry that is not ours in which file it is.

    Raises:
        BrokenRecordError: there is one.
    """
    try:
        yield
    except (BrokenRecordError, *_NOT_OURS) as exc:
        raise BrokenRecordError(f"{directory / PARTS_FILE.name}: {exc}; vision-line verify says more") from exc
