# SPDX-License-Identifier: AGPL-3.0-or-later
"""The memory of a process that starts once and then does the same for months, in some thirty threads."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

#: Heaps that the C library may have. glibc makes one for each thread, up to eight a core, and each keeps what was freed
#: in it: with 16 cameras on two cores 7 MiB more than with these, at the same CPU time.
HEAPS = 4

_M_ARENA_MAX = -8  # malloc.h


def share_heaps() -> None:
    """Let all threads that start from now on share `HEAPS` heaps; C libraries without `mallopt` share theirs anyway."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, HEAPS)


@contextmanager
def start_left_uncollected() -> Iterator[None]:
    """Until the end of the block, let the garbage collector look only at what has come since its begin.

    What is there at its begin are modules and a run's parts: 110,000 objects that stay. Each full collection would go
    through them, 40 ms and more in which no other thread runs Python; and the more there are, the rarer it comes.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
