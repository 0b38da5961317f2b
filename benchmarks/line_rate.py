# SPDX-License-Identifier: AGPL-3.0-or-later
"""How fast a running line inspects, as its feed says it while the line goes on."""

from __future__ import annotations

import statistics
import subprocess
import time
from pathlib import Path

from vision_line.errors import RunError
from vision_line.feed.feed_client import FeedClient
from vision_line.telemetry.snapshot import RATES_OVER_S

START_S = 120.0


def wait_for_inspection(records: Path, line: subprocess.Popen[bytes]) -> None:
    """Return when frames are inspected.

    Raises:
        ValueError: none is, within two minutes or before the line's end.
    """
    ends_s = time.monotonic() + START_S
    while time.monotonic() < ends_s and line.poll() is None:
        try:
            if rate_over(records, 1.0) > 0:
                return
        except RunError:
            time.sleep(0.5)
    raise ValueError("the line did not begin")


def rate_over(records: Path, seconds: float) -> float:
    """Return how many frames a second are inspected, all cameras together, in the coming seconds.

    A run says its rate of the last `RATES_OVER_S`: taken once in each of these, every frame counts once. Fewer seconds
    give what it says first.
    """
    with FeedClient(records) as feed:
        feed.want(snapshots=True)
        spans = max(1, round(seconds / RATES_OVER_S))
        rates, due_s = list[float](), time.monotonic() + min(seconds, RATES_OVER_S)
        while len(rates) < spans and (message := feed.receive(10)) is not None:
            if message.kind == "snapshot" and time.monotonic() >= due_s:
                rates.append(message.header["fps_inspected"])
                due_s += RATES_OVER_S
    return statistics.mean(rates) if rates else 0.0
