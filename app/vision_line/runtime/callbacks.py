# SPDX-License-Identifier: AGPL-3.0-or-later
"""A fault in a callback of the event loop ends the run, as a fault in a task does."""

from __future__ import annotations

import asyncio
from typing import Any


async def raise_callback_faults() -> None:
    """Raise what a callback of the running loop raises from now on; ends when it is cancelled.

    asyncio would log it and go on. Results reach the ledger in callbacks: after a fault there, it would be wrong in
    silence.
    """
    loop = asyncio.get_running_loop()
    fault: asyncio.Future[None] = loop.create_future()

    def note(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if "handle" in context and error is not None and not fault.done():
            fault.set_exception(error)
        else:
            loop.default_exception_handler(context)

    before = loop.get_exception_handler()
    loop.set_exception_handler(note)
    try:
        await fault
    finally:
        loop.set_exception_handler(before)
