# SPDX-License-Identifier: AGPL-3.0-or-later
"""What wakes the inspecting thread."""

from __future__ import annotations

import threading


class WakeUp:
    """Wakes the one waiting thread; ringing while it is busy is free, and never lost.

    Sixteen cameras ring 400 times a second. Waking a thread that has no free slot makes it fight for the GIL just to
    fall asleep again, so the owner says when a frame is of use to it.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._hungry = True

    def frame_came(self) -> None:
        """Ring for a new frame; called by camera threads."""
        if self._hungry:
            self._event.set()

    def ring(self) -> None:
        """Ring for finished work or a command; called by any thread."""
        self._event.set()

    def wait(self, timeout_s: float) -> None:
        """Wait until rung; what rang since the last `wait` returned makes this one return at once."""
        self._event.wait(timeout_s)
        self._event.clear()
        self._hungry = True

    def ignore_frames(self) -> None:
        """Let frames stop ringing until the next `wait` returns: no slot is free for them."""
        self._hungry = False
