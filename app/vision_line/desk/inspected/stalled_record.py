# SPDX-License-Identifier: AGPL-3.0-or-later
"""Why the records of a run stand still: its live feed knows, as what cannot be written stands in no record."""

from __future__ import annotations

import time
from pathlib import Path

from vision_line.errors import RunError, mask_credentials
from vision_line.feed.feed_client import FeedClient

#: A run writes at least each second; so much later something is wrong, in seconds.
STALLED_S = 10.0
#: How long the feed has to answer, in seconds: a page waits for it.
_ANSWER_S = 1.0


def stalled_reason(directory: Path) -> str | None:
    """Return why results cannot be recorded, None where they can; ask only while the records stand still.

    Raises:
        RunError: no run answers there.
    """
    due_s = time.monotonic() + _ANSWER_S
    with FeedClient(directory, _ANSWER_S) as feed:
        feed.want(snapshots=True)
        try:
            while (left_s := due_s - time.monotonic()) > 0 and (message := feed.receive(left_s)) is not None:
                if message.kind == "snapshot":
                    header = message.header
                    return None if header["log_writable"] else mask_credentials(str(header["log_reason"]))
        except TimeoutError:
            pass  # as where the time is up between two messages
        raise RunError("the run does not answer")
