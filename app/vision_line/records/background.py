# SPDX-License-Identifier: AGPL-3.0-or-later
"""Threads and processes that matter less than what inspects."""

from __future__ import annotations

import logging
import os
import threading
from contextlib import suppress
from pathlib import Path

logger = logging.getLogger(__name__)

#: How much less of the processor such a thread gets than the others, as `nice`.
NICENESS = 10
#: The niceness of all of a session's processes together: where it is there, the kernel shares the processor among
#: sessions first, and a process's own niceness counts within its session alone.
_SESSION = Path("/proc/self/autogroup")


def yield_to_inspection() -> None:
    """Let the calling thread get less of the processor; one that the system does not let goes on as it is."""
    thread = threading.get_native_id()
    try:
        # Never more than it had: a program that was started with a higher niceness may not lower it.
        os.setpriority(os.PRIO_PROCESS, thread, max(NICENESS, os.getpriority(os.PRIO_PROCESS, thread)))
    except OSError as exc:
        logger.warning("thread %s: its priority cannot be lowered: %s", threading.current_thread().name, exc.strerror)


def let_inspection_go_first() -> None:
    """Let this process get less of the processor than what inspects, and never interrupt it; before it has threads.

    It waits until a core is free or its turn comes: a thread of the line that was interrupted while it held the
    interpreter's lock would hold up all others.
    """
    try:
        niceness = max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0))
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        if os.getsid(0) == os.getpid():  # else it is the line's session too
            with suppress(FileNotFoundError):
                _SESSION.write_text(str(niceness))
    except OSError as exc:
        logger.warning("this process: its priority cannot be lowered: %s", exc.strerror)
