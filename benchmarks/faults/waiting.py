# SPDX-License-Identifier: AGPL-3.0-or-later
"""Waiting for something to happen."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


class TooSlowError(RuntimeError):
    """It did not happen in time; on a machine that others use it may have, later."""


class EndedError(RuntimeError):
    """A subject that should run has ended by itself."""

    def __init__(self, subject: str, exit_code: int, log: Path) -> None:
        """Take whose end it is, and where it said why."""
        super().__init__(f"{subject} ended with {exit_code}: see {log}")
        self.subject = subject


def wait_until(happened: Callable[[], bool], within_s: float, what: str) -> None:
    """Wait until `happened()` is true.

    Raises:
        TooSlowError: it did not within `within_s`.
    """
    deadline = time.monotonic() + within_s
    while not happened():
        if time.monotonic() > deadline:
            raise TooSlowError(f"{what}: not within {within_s:g} s")
        time.sleep(0.05)
