# SPDX-License-Identifier: AGPL-3.0-or-later
"""What libraries print goes to the log while the dashboard has the screen: a decoder that finds damage says so there.

Only the standard output is led away: what a library says on standard error before it ends the program has to be seen.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.console import Console

logger = logging.getLogger(__name__)

_STANDARD_OUTPUT = 1
_CHUNK_BYTES = 1 << 16
_LONGEST_LINE = 500
_END_S = 1.0  # a child process that inherited the pipe may hold it open

#: Lines that are logged in each period; a camera with damage makes 25 a second, and the log is bounded.
LINES, PERIOD_S = 10, 10.0


@contextmanager
def printed_lines_logged(console: Console) -> Iterator[Console]:
    """Log what is printed on the standard output, and yield a console on what that was before.

    One that writes elsewhere is yielded as it is, and nothing is led away.
    """
    if console.file.fileno() != _STANDARD_OUTPUT:
        yield console
        return
    sys.stdout.flush()
    before = os.dup(_STANDARD_OUTPUT)
    source, target = os.pipe()
    # A library may print while it keeps all other threads from running, the one below too: what finds no room is lost.
    os.set_blocking(target, False)
    os.dup2(target, _STANDARD_OUTPUT)
    os.close(target)
    reader = threading.Thread(target=_log_lines, args=(source,), name="printed-lines", daemon=True)
    reader.start()
    try:
        with os.fdopen(os.dup(before), "w", encoding="utf-8", errors="replace") as file:
            yield Console(file=file)
    finally:
        with suppress(BlockingIOError):
            sys.stdout.flush()
        os.dup2(before, _STANDARD_OUTPUT)  # closes the pipe, and so ends the reader
        os.close(before)
        reader.join(_END_S)


def _log_lines(source: int) -> None:
    budget = _Budget()
    rest = b""
    with os.fdopen(source, "rb", buffering=0) as pipe:
        while chunk := pipe.read(_CHUNK_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            rest = rest[:_LONGEST_LINE]
            for line in lines:
                budget.log(line)
    budget.log(rest)
    budget.end()


class _Budget:
    """Logs lines, of many in a short time the first ones and the number of the others."""

    def __init__(self) -> None:
        self._begin()

    def log(self, line: bytes) -> None:
        text = line[:_LONGEST_LINE].decode("utf-8", "replace").strip()
        if not text:
            return
        if time.monotonic() - self._begun_s > PERIOD_S:
            self.end()
            self._begin()
        if self._left:
            self._left -= 1
            logger.info("a library printed: %s", text)
        else:
            self._others += 1

    def end(self) -> None:
        if self._others:
            logger.info("libraries printed %d more lines", self._others)

    def _begin(self) -> None:
        self._left, self._others, self._begun_s = LINES, 0, time.monotonic()
