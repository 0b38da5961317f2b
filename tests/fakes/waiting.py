# SPDX-License-Identifier: AGPL-3.0-or-later
"""Waiting until other threads, processes or tasks have brought something about, on however busy a machine.

A test that sleeps for a fixed time, and then expects something, fails where the machine is busy for longer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

#: Nothing that tests wait for takes long by itself: this is for a machine on which much else runs.
WAIT_S = 60.0


def wait_for(holds: Callable[[], Any], what: str | Callable[[], object] = "", within_s: float = WAIT_S) -> Any:
    """Ask until `holds` gives something true, and return that.

    Raises:
        AssertionError: it takes too long, with `what` or, where that is a function, with what it gives then.
    """
    begun_s = time.monotonic()
    while not (found := holds()):
        time.sleep(_pause_s(begun_s, what, within_s))
    return found


async def until(holds: Callable[[], Any], what: str | Callable[[], object] = "", within_s: float = WAIT_S) -> Any:
    """Do the same while the event loop goes on."""
    begun_s = time.monotonic()
    while not (found := holds()):  # noqa: ASYNC110  what is asked about has no event
        await asyncio.sleep(_pause_s(begun_s, what, within_s))
    return found


def _pause_s(begun_s: float, what: str | Callable[[], object], within_s: float) -> float:
    """Return how long to wait before one asks again: ever longer, so that asking costs little."""
    waited_s = time.monotonic() - begun_s
    if waited_s > within_s:
        raise AssertionError(f"not within {within_s:g} s: {what() if callable(what) else what}")
    return min(0.05, max(0.001, waited_s / 10))
