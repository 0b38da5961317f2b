# SPDX-License-Identifier: AGPL-3.0-or-later
"""Files of earlier runs that nothing writes in this one: old ones go all the same."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from vision_line.errors import RunError
from vision_line.records.background import yield_to_inspection
from vision_line.records.entries import Entry
from vision_line.records.file_budget import EXPIRE_S, FileBudget
from vision_line.records.file_tables import FileTable
from vision_line.records.retention import RowAge
from vision_line.records.stored_files import StorageUsage

logger = logging.getLogger(__name__)


class UnattendedFiles:
    """Removes what is old, in a thread of its own, from `start` to `close`."""

    def __init__(
        self,
        tables: Iterable[FileTable],
        directory: Path,
        usages: Mapping[str, StorageUsage],
        record: Callable[[Entry], None],
        keep_days: int,
    ) -> None:
        """Take the files of `tables` below `directory`, by their `usages`; `record` takes what was removed."""
        self._budgets = [
            FileBudget(*(table, directory, usages[table.table], record, _warn), max_bytes=0, age=RowAge(keep_days))
            for table in tables
            if keep_days and usages[table.table].rows
        ]
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="old-files", daemon=True)

    def start(self) -> None:
        """Begin to remove, where there is anything that can become old."""
        if self._budgets:
            self._thread.start()

    def close(self) -> None:
        """Remove nothing any more."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        yield_to_inspection()
        try:
            while not self._closing.is_set():
                for budget in self._budgets:
                    budget.expire()
                self._closing.wait(EXPIRE_S)
        except RunError as exc:
            logger.error("old files are not removed any more, as the records failed: %s", exc)


def _warn(problem: str) -> None:
    logger.warning("old files cannot be removed now: %s", problem)
