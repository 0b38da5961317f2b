# SPDX-License-Identifier: AGPL-3.0-or-later
"""What other threads hand over to the feed's thread: bounded, and nobody waits in it for more than a lock."""

from __future__ import annotations

import os
import threading
from typing import Generic, TypeVar

#: What may wait for the feed's thread, in bytes; seconds of video of many cameras.
INBOX_BYTES = 16_000_000
#: Beyond it, for what must not be lost.
RESERVE_BYTES = 4_000_000

Item = TypeVar("Item")


class Inbox(Generic[Item]):
    """Takes items from any thread, and wakes the one thread that waits for `descriptor` to become readable."""

    def __init__(self, limit: int = INBOX_BYTES, reserve: int = RESERVE_BYTES) -> None:
        """Take `limit` bytes, and up to `reserve` more of what must not be lost."""
        self._limit = limit
        self._reserve = reserve
        self._lock = threading.Lock()
        self._items: list[Item] = []
        self._size = 0
        self._notified = False
        self._closed = False
        self.descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def put(self, item: Item, size: int, *, must: bool = False, wakes: bool = True) -> bool:
        """Take an item of about `size` bytes; return whether there was room for it.

        One that does not wake the thread is taken when the thread comes by for another reason.
        """
        with self._lock:
            if self._closed or self._size + size > self._limit + (self._reserve if must else 0):
                return False
            self._items.append(item)
            self._size += size
            if wakes:
                self._notify()
            return True

    def wake(self) -> None:
        """Wake the thread that waits."""
        with self._lock:
            self._notify()

    def take(self) -> list[Item]:
        """Return all items in the order in which they came; by the thread that waits."""
        with self._lock:
            items, self._items, self._size = self._items, [], 0
            if self._notified:
                os.eventfd_read(self.descriptor)
                self._notified = False
            return items

    def close(self) -> None:
        """Take nothing any more, and let go of all; may be called twice."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._items = []
                os.close(self.descriptor)

    def _notify(self) -> None:
        # Under the lock: a descriptor that was closed may be another file's by now.
        if not self._notified and not self._closed:
            self._notified = True
            os.eventfd_write(self.descriptor, 1)
