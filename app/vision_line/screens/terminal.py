# SPDX-License-Identifier: AGPL-3.0-or-later
"""The terminal that the dashboard is drawn on, and giving it back."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from rich.console import Console


@contextmanager
def own_output(stream: IO[str]) -> Iterator[IO[str]]:
    """Yield an unbuffered text stream of our own on the file that `stream` writes to.

    A thread that is stuck in a write to `sys.stdout` (a paused terminal, a pipe that nobody reads) holds the lock of
    its buffer, and Python aborts at exit because it cannot flush it. This stream has no buffer and no such lock.
    A stream in memory has no file, and is yielded itself.
    """
    try:
        raw = io.FileIO(os.dup(stream.fileno()), "w")
    except io.UnsupportedOperation:
        yield stream
        return
    stream.flush()
    with io.TextIOWrapper(raw, encoding="utf-8", errors="replace", write_through=True) as text:
        yield text


def restore_terminal(console: Console) -> None:
    """Leave the alternate screen and show the cursor: for an exit that will not wait for `run_dashboard`."""
    if console.is_terminal:
        console.file.write("\x1b[?1049l\x1b[?25h\x1b[0m")
        console.file.flush()
