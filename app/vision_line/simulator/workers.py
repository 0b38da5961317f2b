# SPDX-License-Identifier: AGPL-3.0-or-later
"""Worker processes that draw: they leave with their parent and let it answer Ctrl-C."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.sharedctypes import Synchronized

CONTEXT = multiprocessing.get_context("spawn")
WORKERS = 2

_drawn: Synchronized[int] | None = None


def open_workers(counter: Synchronized[int]) -> ProcessPoolExecutor:
    """Open a pool of two processes; `count_drawn` in a worker adds to `counter` (from `CONTEXT.Value`)."""
    return ProcessPoolExecutor(WORKERS, CONTEXT, initializer=_set_up, initargs=(counter,))


def count_drawn() -> None:
    """Count one drawn picture; for the parent's progress."""
    if _drawn is not None:
        with _drawn.get_lock():
            _drawn.value += 1


def _set_up(counter: Synchronized[int]) -> None:
    global _drawn  # noqa: PLW0603  a process pool has no other way to give its workers an object
    _drawn = counter
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, name="parent-watch", daemon=True).start()


def _leave_with_parent() -> None:
    """End this process when its parent is gone: waiting for work, a pool's worker does not notice."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
