# SPDX-License-Identifier: AGPL-3.0-or-later
"""One camera's mailbox: decoded frames wait here for the scheduler's thread, and each that arrived is accounted for.

The invariant, at every moment: `decoded = taken + sum(dropped after decoding) + pending`, and
`arrived = taken + sum(dropped) + pending`, because each arrived frame is counted once as decoded or dropped.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from vision_line.frames import DropCause, Frame


@dataclass(frozen=True, slots=True)
class MailboxCounts:
    """A consistent copy of a mailbox's counters since it was made."""

    arrived: int = 0
    decoded: int = 0
    taken: int = 0
    dropped: dict[DropCause, int] = field(default_factory=dict)
    pending: int = 0


class Mailbox(Protocol):
    """Hands one camera's frames from its thread to the scheduler's thread.

    `put`, `count_arrived` and `count_dropped` belong to the camera's thread; `oldest`, `take`, `drop` and `take_back`
    to the scheduler's thread; `stop_waiting`, `close` and `counts` to anyone.
    """

    def put(self, frame: Frame) -> None:
        """Leave a frame, and wake the scheduler's thread."""

    def count_arrived(self, n: int = 1) -> None:
        """Count frames whose packets have arrived; each is later put or counted as dropped."""

    def count_dropped(self, cause: DropCause, n: int = 1) -> None:
        """Count arrived frames that will never be put."""

    def oldest(self) -> Frame | None:
        """Return the frame that `take` would give, without taking it."""

    def take(self) -> Frame | None:
        """Take the frame that has waited longest, None if there is none."""

    def drop(self, cause: DropCause, planned: Frame | None = None) -> Frame | None:
        """Throw the waiting frame away for `cause` and return it; with `planned` only if it is still that one."""

    def take_back(self, cause: DropCause) -> None:
        """Turn a frame that was taken and could not be inspected into a drop."""

    def counts(self) -> MailboxCounts:
        """Return a consistent copy of the counters."""

    def stop_waiting(self) -> None:
        """Let no `put` wait from now on, nor the one that waits: a frame without room is dropped as SHUTDOWN."""

    def close(self) -> None:
        """Drop what waits as SHUTDOWN, and everything that still comes; idempotent."""


class _CountedFrames(ABC):
    """Frames in the order in which they came, and the counters; how room is made for one more is the policy's."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """Begin empty; `wake` is called after each `put` and must only set an event."""
        self._wake = wake
        self._frames: deque[Frame] = deque()
        self._lock = threading.Lock()
        self._arrived = 0
        self._decoded = 0
        self._taken = 0
        self._dropped: Counter[DropCause] = Counter()
        self._closed = False

    @abstractmethod
    def _make_room(self) -> bool:
        """Make room for one more frame, and return whether there is; the lock is held."""

    def _pop(self) -> Frame:
        return self._frames.popleft()

    def put(self, frame: Frame) -> None:
        with self._lock:
            self._decoded += 1
            if not self._make_room() or self._closed:
                self._dropped[DropCause.SHUTDOWN] += 1
                return
            self._frames.append(frame)
        self._wake()

    def count_arrived(self, n: int = 1) -> None:
        with self._lock:
            self._arrived += n

    def count_dropped(self, cause: DropCause, n: int = 1) -> None:
        with self._lock:
            self._dropped[cause] += n

    def oldest(self) -> Frame | None:
        # Without the lock, which would cost more than the check: an empty deque is the common case, and one that a
        # `put` is just replacing is as good as empty.
        if not self._frames:
            return None
        try:
            return self._frames[0]
        except IndexError:
            return None

    def take(self) -> Frame | None:
        with self._lock:
            if not self._frames:
                return None
            self._taken += 1
            return self._pop()

    def drop(self, cause: DropCause, planned: Frame | None = None) -> Frame | None:
        with self._lock:
            if not self._frames or (planned is not None and self._frames[0] is not planned):
                return None
            self._dropped[cause] += 1
            return self._pop()

    def take_back(self, cause: DropCause) -> None:
        with self._lock:
            self._taken -= 1
            self._dropped[cause] += 1

    def counts(self) -> MailboxCounts:
        with self._lock:
            dropped = {cause: n for cause, n in self._dropped.items() if n}
            return MailboxCounts(self._arrived, self._decoded, self._taken, dropped, len(self._frames))

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._dropped[DropCause.SHUTDOWN] += len(self._frames)
            self._frames.clear()


class NewestFrame(_CountedFrames):
    """The mailbox of a live camera: it holds one frame, and a newer one replaces it (SUPERSEDED)."""

    def _make_room(self) -> bool:
        if self._frames:
            self._frames.clear()
            self._dropped[DropCause.SUPERSEDED] += 1
        return True

    def stop_waiting(self) -> None:
        """Do nothing: `put` never waits."""


class BoundedQueue(_CountedFrames):
    """The mailbox of a file: it holds `ROOM` frames, and `put` waits for room, so that every frame is inspected."""

    ROOM = 2

    def __init__(self, wake: Callable[[], None]) -> None:
        """Begin empty; `wake` is called after each `put` and must only set an event."""
        super().__init__(wake)
        self._changed = threading.Condition(self._lock)
        self._waits = True

    def _make_room(self) -> bool:
        self._changed.wait_for(lambda: self._has_room() or self._closed or not self._waits)
        return self._has_room()

    def _has_room(self) -> bool:
        return len(self._frames) < self.ROOM

    def _pop(self) -> Frame:
        self._changed.notify()
        return super()._pop()

    def stop_waiting(self) -> None:
        """Let no `put` wait from now on, nor the one that waits."""
        with self._lock:
            self._waits = False
            self._changed.notify_all()

    def close(self) -> None:
        """Drop what waits, and everything that still comes."""
        super().close()
        self.stop_waiting()
