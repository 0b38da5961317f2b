# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ends tasks of an event loop for sure."""

from __future__ import annotations

import asyncio

#: How long a task may take to end before it is cancelled again: more than any goodbye takes.
AGAIN_S = 15.0
#: The same of a whole service, which ends its tasks one after the other.
SERVICE_AGAIN_S = 45.0


async def end_tasks(*tasks: asyncio.Task[object], again_s: float = AGAIN_S) -> None:
    """Cancel tasks until all have ended, with whatever outcome.

    Once is not enough. `asyncio.wait_for`, by which libraries limit their waiting, swallows up to Python 3.11 a
    cancellation that comes in the moment in which it has what it waits for, and the task goes on.
    """
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=again_s)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # looked at: it is not reported as forgotten
