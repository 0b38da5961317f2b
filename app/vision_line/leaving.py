# SPDX-License-Identifier: AGPL-3.0-or-later
"""How a command ends at a signal until it catches signals itself: by an exception, where nothing is torn by one.

An import may swallow what is raised in it, or make another error of it: pydantic calls a SystemExit at the wrong moment
a fault of the schema that it builds. The signal would be lost, and modules half loaded. An event loop that is half made
cannot be closed.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from vision_line.errors import ExitCode

Outcome = TypeVar("Outcome")

#: How long after a signal amid an import it is sent again.
_AGAIN_S = 0.02


def leave(number: int, frame: FrameType | None) -> None:
    """Handle a signal: end the program as Ctrl-C does, once no import is under way.

    Raises:
        KeyboardInterrupt: `number` is SIGINT.
        SystemExit: it is another one; with the exit code of what is interrupted.
    """
    if _is_importing(frame):
        again = threading.Timer(_AGAIN_S, signal.pthread_kill, (threading.main_thread().ident, number))
        again.daemon = True  # it is not to outlive the program
        again.start()
        return
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(ExitCode.INTERRUPTED)


@contextmanager
def interrupted_by_leaving() -> Iterator[None]:
    """Let `leave` handle Ctrl-C in the block, unless whoever started the program has it ignored."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def run_with_signals_held(serve: Coroutine[object, object, Outcome]) -> Outcome:
    """Run a coroutine that catches SIGINT and SIGTERM itself, and hold both back until it lets them through.

    Raises:
        Exception: what the coroutine raises.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        return asyncio.run(serve)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
