# SPDX-License-Identifier: AGPL-3.0-or-later
"""Lines of text for a reader that may be slow, stuck or gone: the writer never blocks."""

from __future__ import annotations

import io
import os
import select
import threading
from collections import deque
from typing import IO, Protocol

#: Lines that wait for a reader; beyond that the oldest are lost.
CAPACITY = 1000
#: How long `close` waits for a reader that takes nothing. It is a daemon thread: the program can still exit.
CLOSE_TIMEOUT_S = 1.0


class Sink(Protocol):
    """The destination of lines, in the writer's thread."""

    def write(self, text: str) -> None:
        """Take lines, each with its end; may block. Raises OSError."""

    def close(self) -> None:
        """Release the resources. Raises OSError."""


class LineWriter:
    """Owns a sink and the thread that writes into it.

    A line that cannot be written, and the oldest one when too many wait, is lost; how many is said in their place as
    soon as a line can be written again. Nothing that a sink does ends the thread.
    """

    def __init__(self, sink: Sink, capacity: int = CAPACITY) -> None:
        self._sink = sink
        self._capacity = capacity
        self._lines: deque[str] = deque()
        self._lost = 0
        self._problem = ""
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="lines", daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str:
        """Why lines are being lost, "" while none are; from any thread."""
        return self._problem

    def put(self, line: str) -> None:
        """Queue a line; never blocks."""
        with self._changed:
            if len(self._lines) == self._capacity:
                self._lines.popleft()
                self._lost += 1
                self._problem = "nobody reads them"
            self._lines.append(line)
            self._changed.notify()

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Write what is queued, for at most `timeout_s`; idempotent."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (line := self._next()) is not None:
            lost, words = self._take_lost()
            try:
                self._sink.write(f"{words}{line}\n")
            except OSError as exc:
                self._lose(lost + 1, exc.strerror or str(exc))
        self._sink.close()

    def _next(self) -> str | None:
        """Wait for a line; None when there is none left and the writer closes."""
        with self._changed:
            self._changed.wait_for(lambda: self._lines or self._closing)
            return self._lines.popleft() if self._lines else None

    def _take_lost(self) -> tuple[int, str]:
        """Return the number of lost lines and a message about them; reset the count."""
        with self._changed:
            lost, problem, self._lost, self._problem = self._lost, self._problem, 0, ""
        return lost, f"({lost} lines were lost here: {problem})\n" if lost else ""

    def _lose(self, count: int, problem: str) -> None:
        with self._changed:
            self._lost += count
            self._problem = problem


class _Descriptor:
    """A sink without a buffer on a descriptor of its own."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, text: str) -> None:
        data = memoryview(text.encode(errors="replace"))
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # whoever gave it to us has made it so
                select.select([], [self._descriptor], [])

    def close(self) -> None:
        os.close(self._descriptor)


class _Memory:
    """A sink on a stream that has no file."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        self._stream.write(text)

    def close(self) -> None:
        self._stream.flush()


def sink_on(stream: IO[str]) -> Sink:
    """Return a sink that writes where `stream` does, past its buffer.

    A thread that is stuck in a write to `sys.stdout` holds the lock of its buffer, and Python aborts at exit because it
    cannot flush it.
    """
    try:
        return _Descriptor(os.dup(stream.fileno()))
    except io.UnsupportedOperation:
        return _Memory(stream)


def say(text: str, stream: IO[str]) -> None:
    """Write a last line; waits only a moment for a reader, and ignores a missing one."""
    writer = LineWriter(sink_on(stream))
    writer.put(text)
    writer.close()
