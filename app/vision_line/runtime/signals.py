# SPDX-License-Identifier: AGPL-3.0-or-later
"""What reaches the event loop from beside its tasks: signals, and faults in its callbacks."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Stop:
    """Why and how the run is to end: `requested` drains, `forced` does not wait; `interrupted` by a signal."""

    requested: asyncio.Event = field(default_factory=asyncio.Event)
    forced: asyncio.Event = field(default_factory=asyncio.Event)
    interrupted: bool = False

    def on_signal(self) -> None:
        """Drain at the first signal, force at the second."""
        if self.interrupted:
            self.forced.set()
        self.interrupted = True
        self.requested.set()


@contextmanager
def caught_signals(stop: Stop, on_reload: Callable[[], None]) -> Iterator[None]:
    """Send SIGINT and SIGTERM to `stop` and SIGHUP to `on_reload` while the block runs; then things are as before."""
    loop = asyncio.get_running_loop()
    handlers = {signal.SIGINT: stop.on_signal, signal.SIGTERM: stop.on_signal, signal.SIGHUP: on_reload}
    before = {number: signal.getsignal(number) for number in handlers}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, handlers)  # who starts this may have blocked them until now
    try:
        yield
    finally:
        for number, earlier in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, earlier)


async def raise_callback_faults() -> None:
    """Raise what a callback of the running loop raises from now on; ends when it is cancelled.

    asyncio would log it and go on. Results reach the ledger in callbacks: after a fault there, it would be wrong in
    silence.
    """
    loop = asyncio.get_running_loop()
    fault: asyncio.Future[None] = loop.create_future()

    def note(_loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        error = context.get("exception")
        if "handle" in context and isinstance(error, BaseException) and not fault.done():
            fault.set_exception(error)
        else:
            loop.default_exception_handler(context)

    before = loop.get_exception_handler()
    loop.set_exception_handler(note)
    try:
        await fault
    finally:
        loop.set_exception_handler(before)
