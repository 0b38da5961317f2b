# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether the whole record holds, checked in a thread of its own: of a large one that takes a minute.

One check runs at a time, whoever asks for it, and what it found is known until the next one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vision_line.desk.report.shift_report import check_journal_of
from vision_line.errors import BrokenRecordError, VisionLineError
from vision_line.ports import ProgressCallback
from vision_line.reviews.reviews_check import check_reviews

#: A result is of the record as it is now for so long, in seconds: what came since is behind the head that it names.
FRESH_S = 900.0


@dataclass(frozen=True, slots=True)
class CheckedRecord:
    """What a check found, as one sentence, and when it had ended. `holds` is None: it could not be made."""

    holds: bool | None
    said: str
    at_utc: float


@dataclass(frozen=True, slots=True)
class CheckState:
    """`done` of `total` entries of the check that runs; `last` is what the newest one found."""

    is_running: bool
    done: int
    total: int
    last: CheckedRecord | None

    def fresh(self, now_utc: float) -> CheckedRecord | None:
        """Return what was found lately."""
        return self.last if self.last is not None and 0 <= now_utc - self.last.at_utc < FRESH_S else None


def checked(directory: Path, report: ProgressCallback, now: Callable[[], float] = time.time) -> CheckedRecord:
    """Check record and reviews of `directory` as `vision-line verify` does; whatever comes out is said."""
    try:
        found = check_journal_of(directory, report)
        check_reviews(directory)
    except BrokenRecordError as exc:
        return CheckedRecord(False, str(exc), now())
    except VisionLineError as exc:
        return CheckedRecord(None, f"it could not be checked: {exc}", now())
    return CheckedRecord(found.holds, found.said, now())


class RecordCheck:
    """Checks the record of `directory` in the background; from any thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._state = CheckState(False, 0, 0, None)

    @property
    def state(self) -> CheckState:
        """How far it is."""
        with self._lock:
            return self._state

    def start(self) -> None:
        """Begin a check; nothing where one runs."""
        with self._lock:
            if self._state.is_running:
                return
            self._state = CheckState(True, 0, 0, self._state.last)
        threading.Thread(target=self._run, name="record-check", daemon=True).start()

    def _run(self) -> None:
        last = CheckedRecord(None, "it could not be checked: this is a fault of the desk", time.time())
        try:
            last = checked(self._directory, self._progress)
        finally:
            with self._lock:
                self._state = CheckState(False, 0, 0, last)

    def _progress(self, done: int, total: int) -> None:
        with self._lock:
            self._state = CheckState(True, done, total, self._state.last)
