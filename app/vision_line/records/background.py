# SPDX-License-Identifier: AGPL-3.0-or-later
"""Threads that matter less than what inspects."""

from __future__ import annotations

import logging
import os
import threading

logger = logging.getLogger(__name__)

#: How much less of the processor such a thread gets than the others, as `nice`.
NICENESS = 10


def yield_to_inspection() -> None:
    """Let the calling thread get less of the processor; one that the system does not let goes on as it is."""
    thread = threading.get_native_id()
    try:
        # Never more than it had: a program that was started with a higher niceness may not lower it.
        os.setpriority(os.PRIO_PROCESS, thread, max(NICENESS, os.getpriority(os.PRIO_PROCESS, thread)))
    except OSError as exc:
        logger.warning("thread %s: its priority cannot be lowered: %s", threading.current_thread().name, exc.strerror)
