# SPDX-License-Identifier: AGPL-3.0-or-later
"""Keeps a run's view of its challenges up to date: one thread that reads `reviews.sqlite` every few seconds.

Nothing that inspects waits for it. A file that cannot be read is said once, and every challenge is overdue then: nobody
can tell that the line was challenged.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from vision_line.challenges.challenge_targets import ChallengeTarget
from vision_line.challenges.due import EnteredResults, TargetState, read_states, states, unknown_states
from vision_line.errors import RunError
from vision_line.reviews.reviews_file import FILE_NAME

logger = logging.getLogger(__name__)

#: How often the file is looked at, in seconds.
READ_EVERY_S = 3.0
#: How long `close` waits for a read that hangs.
_CLOSE_TIMEOUT_S = 0.5

Signature = tuple[int, int, int] | None


class DueWatch:
    """Owns the thread; `states` may be asked from any."""

    def __init__(
        self,
        directory: Path,
        targets: Sequence[ChallengeTarget],
        period_s: float = READ_EVERY_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Read once, so that every challenge has its state from the beginning; `clock` gives UTC seconds."""
        self._directory = directory
        self._targets = targets
        self._period_s = period_s
        self._clock = clock
        self._signature: Signature = None
        self._problem = ""
        self._read: tuple[TargetState, ...] = ()
        self._closing = threading.Event()
        self._refresh()
        self._thread = threading.Thread(target=self._run, name="challenges", daemon=True)
        if targets:
            self._thread.start()

    def states(self) -> tuple[TargetState, ...]:
        """Return the state of each target now: what was read last, by the clock of now."""
        found = self._read
        if self._problem:
            return found
        last = {one.name: one.last for one in found if one.last is not None}
        awaited = {one.name: one.awaited for one in found if one.awaited is not None}
        return tuple(states(self._targets, EnteredResults(last, awaited), self._clock()))

    def close(self) -> None:
        """Look no more. May be called twice."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        while not self._closing.wait(self._period_s):
            self._refresh()

    def _refresh(self) -> None:
        """Read the file if it is another one than before, or could not be read."""
        signature = _signature(self._directory / FILE_NAME)
        if self._read and signature == self._signature and not self._problem:
            return
        try:
            self._read = tuple(read_states(self._directory, self._targets, self._clock()))
        except RunError as exc:
            self._fail(str(exc))
            return
        if self._problem:
            logger.info("challenges: %s can be read again", FILE_NAME)
        self._signature, self._problem = signature, ""

    def _fail(self, problem: str) -> None:
        if problem != self._problem:
            logger.error("challenges are overdue, as nobody can tell what was done: %s", problem)
        self._read, self._problem = tuple(unknown_states(self._targets, problem)), problem


def _signature(path: Path) -> Signature:
    """Tell one state of the file from another; None: it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
