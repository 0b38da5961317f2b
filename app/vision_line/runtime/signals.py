# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ctrl-C, SIGTERM and SIGHUP as events of the loop."""

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
    try:
        yield
    finally:
        for number, earlier in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, earlier)
