# SPDX-License-Identifier: AGPL-3.0-or-later
"""A connection that is given up leaves nothing behind: no thread that waits, no frame that is not counted."""

from __future__ import annotations

import itertools
import threading

from tests.builders import make_frame

from vision_line.frames import DropCause
from vision_line.ingest.frame_sink import FrameSink
from vision_line.ingest.mailbox import BoundedQueue

PATIENCE_S = 60.0


def test_revoking_frees_a_put_that_waits_for_room() -> None:
    """A file's thread may wait for room when its camera is stopped; what waits in the mailbox stays to be inspected."""
    mailbox = BoundedQueue(lambda: None)
    sink = FrameSink(mailbox, itertools.count())

    def send() -> None:
        for _ in range(4):
            sink.arrived()
            sink.put(make_frame("file", -1))

    sender = threading.Thread(target=send)
    sender.start()
    while mailbox.counts().decoded < 3:  # the third is counted, and then waits
        pass
    sink.detach(DropCause.SHUTDOWN)
    sender.join(PATIENCE_S)

    counts = mailbox.counts()
    assert not sender.is_alive()
    assert sink.stop.is_set()
    assert (counts.pending, counts.dropped) == (2, {DropCause.SHUTDOWN: counts.arrived - 2})
    assert counts.arrived in {3, 4}  # the fourth may come between the end of the waiting and that of the connection
