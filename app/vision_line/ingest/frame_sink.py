# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where one connection leaves its frames: every one counted, and none accepted once it is detached."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from vision_line.frames import DropCause, Frame
from vision_line.ingest.mailbox import Mailbox

_MAX_INSIDE_DECODER = 32  # frames that a decoder may hold for reordering; more are lost in it


class FrameSink:
    """One connection's way into the camera's mailbox.

    A connection that hangs is given up while its thread lives on; `detach` makes sure that nothing it does later is
    seen. All connections of a camera share `numbers`; only one at a time is attached. The supervisor calls `detach`,
    the connection's thread everything else.
    """

    def __init__(self, mailbox: Mailbox, numbers: Iterator[int]) -> None:
        """Lead to `mailbox`; `numbers` gives the frames' sequence numbers."""
        self.stop = threading.Event()
        self._mailbox = mailbox
        self._numbers = numbers
        self._lock = threading.Lock()
        self._inside = 0  # arrived, not yet put or dropped
        self._closed = False

    def arrived(self) -> None:
        """Count a frame that arrived."""
        with self._lock:
            if self._closed:
                return
            self._mailbox.count_arrived()
            self._inside += 1
            if self._inside > _MAX_INSIDE_DECODER:
                self._drop(DropCause.CORRUPT, 1)

    def dropped(self, cause: DropCause) -> None:
        """Count an arrived frame that will never be put."""
        with self._lock:
            if not self._closed:
                self._settle()
                self._drop(cause, 1)

    def skipped(self, cause: DropCause) -> None:
        """Count a frame that could have been put: it takes a number too."""
        with self._lock:
            if not self._closed:
                next(self._numbers)
                self._settle()
                self._drop(cause, 1)

    def put(self, frame: Frame) -> None:
        """Number the frame and leave it; a file waits for room until it is detached."""
        with self._lock:
            if self._closed:
                return
            self._settle()
            self._inside -= 1
            frame.sequence = next(self._numbers)
            self._mailbox.put(frame)

    def detach(self, cause: DropCause) -> None:
        """Stop the connection and accept nothing more; frames still in its decoder count under `cause`. Idempotent."""
        self.stop.set()
        self._mailbox.stop_waiting()  # first: a `put` that waits for room holds the lock until then
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._drop(cause, self._inside)

    def _settle(self) -> None:
        """Keep arrived >= put + dropped where a decoder makes more frames than came in."""
        if not self._inside:
            self._mailbox.count_arrived()
            self._inside = 1

    def _drop(self, cause: DropCause, n: int) -> None:
        if n:
            self._mailbox.count_dropped(cause, n)
            self._inside -= n
