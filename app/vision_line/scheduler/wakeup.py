# SPDX-License-Identifier: AGPL-3.0-or-later
"""The wake-up event of the scheduler's thread, and who has frames for it."""

from __future__ import annotations

import threading


class WakeUp:
    """Wakes the one waiting thread; a notification while it is busy is cheap, and never lost.

    Sixteen cameras notify 400 times a second. A thread that wakes without a free slot competes for the GIL only to
    sleep again, so it says when it is accepting frames. And with 1000 cameras it must not ask each whether it has one,
    so those that have are noted.
    """

    def __init__(self) -> None:
        # Locked while nothing has happened. `threading.Event` does the same with several locks and three times the code
        # in Python, which is most of what a wake-up costs.
        self._silent = threading.Lock()
        self._silent.acquire()
        self._accepting = True
        self._arrived: dict[str, None] = {}  # setting a key and taking an item are atomic

    def notify_frame(self, camera: str) -> None:
        """Notify of a new frame of `camera`, after it is in its mailbox; called by camera threads."""
        self._arrived[camera] = None
        if self._accepting:
            self.notify()

    def notify(self) -> None:
        """Notify of finished work or a command; called by any thread."""
        if self._silent.locked():
            try:
                self._silent.release()
            except RuntimeError:
                return  # another thread has notified at the same moment

    def wait(self, timeout_s: float) -> None:
        """Wait at most `timeout_s`, at least 0, for a notification; one since the last `wait` returns at once."""
        self._silent.acquire(timeout=timeout_s)
        self._accepting = True

    def ignore_frames(self) -> None:
        """Ignore new frames until the next `wait` returns: no slot is free for them. Their cameras are still noted."""
        self._accepting = False

    def pop_arrived(self) -> list[str]:
        """Return the cameras with new frames since the last call; called by the waiting thread."""
        arrived = []
        while self._arrived:
            arrived.append(self._arrived.popitem()[0])
        return arrived
