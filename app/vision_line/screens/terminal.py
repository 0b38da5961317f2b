# SPDX-License-Identifier: AGPL-3.0-or-later
"""The file that a screen is drawn on."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO


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
