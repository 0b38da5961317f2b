# SPDX-License-Identifier: AGPL-3.0-or-later
"""The wake-up event of the scheduler's thread."""

from __future__ import annotations

import threading


class WakeUp:
    """Wakes the one waiting thread; a notification while it is busy is cheap, and never lost.

    Sixteen cameras notify 400 times a second. A thread that wakes without a free slot competes for the GIL only to
    sleep again, so it says when it is accepting frames.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._accepting = True

    def notify_frame(self) -> None:
        """Notify of a new frame; called by camera threads."""
        if self._accepting:
            self._event.set()

    def notify(self) -> None:
        """Notify of finished work or a command; called by any thread."""
        self._event.set()

    def wait(self, timeout_s: float) -> None:
        """Wait for a notification; one since the last `wait` returns at once."""
        self._event.wait(timeout_s)
        self._event.clear()
        self._accepting = True

    def ignore_frames(self) -> None:
        """Ignore new frames until the next `wait` returns: no slot is free for them."""
        self._accepting = False
