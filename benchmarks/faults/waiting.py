# SPDX-License-Identifier: AGPL-3.0-or-later
"""Waiting for something to happen."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(happened: Callable[[], bool], within_s: float, what: str) -> None:
    """Wait until `happened()` is true.

    Raises:
        RuntimeError: it was not within `within_s`.
    """
    deadline = time.monotonic() + within_s
    while not happened():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {within_s:g} s")
        time.sleep(0.05)
