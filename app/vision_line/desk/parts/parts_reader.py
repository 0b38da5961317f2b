# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reads `parts.sqlite` for one answer at a time, and not for ever."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vision_line.challenges.challenge_windows import teach_challenges
from vision_line.desk.record_reader import LIMIT_S
from vision_line.errors import RunError
from vision_line.parts.parts_file import reading

#: SQLite asks whether to go on after so many of its steps: some 2 ms.
_STEPS = 50_000


@contextmanager
def open_parts(directory: Path, limit_s: float = LIMIT_S) -> Iterator[sqlite3.Connection | None]:
    """Yield a connection that knows challenges, whose statements end after a time; None: no lane has ever run.

    Raises:
        RunError: it cannot be read by this version, is damaged, or a statement took too long.
    """
    with reading(directory) as connection:
        if connection is None:
            yield None
            return
        due_s = time.monotonic() + limit_s
        teach_challenges(connection, directory)
        connection.set_progress_handler(lambda: time.monotonic() > due_s, _STEPS)
        try:
            yield connection
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                raise RunError(f"that takes more than {limit_s:g} s: choose less time or other filters") from exc
            raise
