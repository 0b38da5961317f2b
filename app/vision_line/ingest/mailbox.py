# SPDX-License-Identifier: AGPL-3.0-or-later
"""One camera's mailbox: the newest frame waits here, and every frame that arrived is accounted for.

The invariant, at every moment: `decoded = taken + sum(dropped after decoding) + pending`, and
`arrived = taken + sum(dropped) + pending`, because each arrived picture is counted once as decoded or dropped.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from vision_line.frames import DropCause, Frame


@dataclass(frozen=True, slots=True)
class MailboxCounts:
    """A consistent copy of a mailbox's counters since it was made."""

    arrived: int = 0
    decoded: int = 0
    taken: int = 0
    dropped: dict[DropCause, int] = field(default_factory=dict)
    pending: int = 0


class Mailbox:
    """Hands one camera's frames from its thread to the inspecting thread.

    Live cameras hold one frame: a newer one replaces it. Files hold `ROOM` frames, and `put` waits for room, so that
    every frame is inspected. `put`, `count_arrived` and `count_dropped` belong to the camera's thread; `newest`,
    `take` and `drop` to the inspecting thread; `counts` to anyone.
    """

    ROOM = 2

    def __init__(self, camera: str, wake: Callable[[], None], *, live: bool = True) -> None:
        """Make an empty mailbox; `wake` is called after each `put` and must only set an event."""
        self.camera = camera
        self.live = live
        self._wake = wake
        self._frames: deque[Frame] = deque()
        self._lock = threading.Condition(threading.Lock())
        self._arrived = 0
        self._decoded = 0
        self._taken = 0
        self._dropped: Counter[DropCause] = Counter()
        self._closed = False

    def put(self, frame: Frame, stop: threading.Event) -> None:
        """Leave a frame: at once for a live camera; for a file wait for room until `stop` is set or the box closed."""
        with self._lock:
            self._decoded += 1
            if self.live:
                self._dropped[DropCause.SUPERSEDED] += len(self._frames)
                self._frames.clear()
            else:
                # The timeout only bounds how late `stop`, an event of another owner, is noticed.
                while len(self._frames) >= self.ROOM and not stop.is_set() and not self._closed:
                    self._lock.wait(0.1)
            if self._closed or (not self.live and len(self._frames) >= self.ROOM):
                self._dropped[DropCause.SHUTDOWN] += 1
                return
            self._frames.append(frame)
        self._wake()

    def count_arrived(self, n: int = 1) -> None:
        """Count pictures whose packets have arrived; each is later put or counted as dropped."""
        with self._lock:
            self._arrived += n

    def count_dropped(self, cause: DropCause, n: int = 1) -> None:
        """Count arrived pictures that will never be put."""
        with self._lock:
            self._dropped[cause] += n

    def oldest(self) -> Frame | None:
        """Return the frame that `take` would give, without taking it."""
        # Without the lock, which would cost more than the look: an empty deque is the common case, and one that a `put`
        # is just replacing is as good as empty.
        if not self._frames:
            return None
        try:
            return self._frames[0]
        except IndexError:
            return None

    def take(self) -> Frame | None:
        """Take the waiting frame (the oldest of a file's), None if there is none."""
        with self._lock:
            if not self._frames:
                return None
            self._taken += 1
            frame = self._frames.popleft()
            if not self.live:
                self._lock.notify()
            return frame

    def drop(self, cause: DropCause, planned: Frame | None = None) -> Frame | None:
        """Throw the waiting frame away for `cause` and return it; with `planned` only if it is still that one."""
        with self._lock:
            if not self._frames or (planned is not None and self._frames[0] is not planned):
                return None
            self._dropped[cause] += 1
            frame = self._frames.popleft()
            if not self.live:
                self._lock.notify()
            return frame

    def take_back(self, cause: DropCause) -> None:
        """Turn a frame that was taken and could not be inspected into a drop."""
        with self._lock:
            self._taken -= 1
            self._dropped[cause] += 1

    def counts(self) -> MailboxCounts:
        """Return a consistent copy of the counters."""
        with self._lock:
            dropped = {cause: n for cause, n in self._dropped.items() if n}
            return MailboxCounts(self._arrived, self._decoded, self._taken, dropped, len(self._frames))

    def close(self) -> None:
        """Drop what waits as SHUTDOWN, and everything that still comes; may be called twice."""
        with self._lock:
            self._closed = True
            self._dropped[DropCause.SHUTDOWN] += len(self._frames)
            self._frames.clear()
            self._lock.notify_all()
