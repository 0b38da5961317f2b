# SPDX-License-Identifier: AGPL-3.0-or-later
"""When each camera was inspected, as a program beside the line hears it from the feed."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise, product
from pathlib import Path

from vision_line.errors import RunError
from vision_line.feed.feed_client import FeedClient

_RETRY_S = 0.1


def was_inspected(
    arrived_s: Sequence[float], window_s: tuple[float, float], needed: int, gap_s: float, edge_s: float = 0.0
) -> bool:
    """Say whether the frames that arrived at these moments (in order, seconds) are enough for a window.

    So many lie in it, and from the last one before it to the first one behind it no two are further apart than `gap_s`.
    Where it begins and where it ends is known up to `edge_s`: what is enough for one of these windows is enough.
    """
    begin_s, end_s = window_s
    return any(
        _is_enough(arrived_s, (begin_s + begin_off_s, end_s + end_off_s), needed, gap_s)
        for begin_off_s, end_off_s in product((-edge_s, edge_s), repeat=2)
    )


def _is_enough(arrived_s: Sequence[float], window_s: tuple[float, float], needed: int, gap_s: float) -> bool:
    begin, end = bisect_left(arrived_s, window_s[0]), bisect_right(arrived_s, window_s[1])
    if end - begin < needed or begin == 0 or end == len(arrived_s):
        return False
    return all(later - sooner <= gap_s for sooner, later in pairwise(arrived_s[begin - 1 : end + 1]))


class InspectionWitness:
    """Takes down each inspected frame's arrival, monotonic; connects anew to each run that follows."""

    def __init__(self, records: Path) -> None:
        """Listen to the runs that write to `records`."""
        self._records = records
        self._arrived_s: defaultdict[str, list[float]] = defaultdict(list)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="witness")
        self._thread.start()

    def arrived_s(self, camera: str) -> list[float]:
        """Return when the inspected frames of a camera arrived, in order."""
        return sorted(self._arrived_s[camera])

    def close(self) -> None:
        """Stop."""
        self._ends.set()
        self._thread.join()

    def _listen(self) -> None:
        while not self._ends.is_set():
            try:
                with FeedClient(self._records, timeout_s=1.0) as feed:
                    feed.want(results=["*"])
                    self._take(feed)
            except RunError:
                time.sleep(_RETRY_S)  # no run, or one that has just begun

    def _take(self, feed: FeedClient) -> None:
        while not self._ends.is_set():
            try:
                message = feed.receive(0.5)
            except TimeoutError:
                continue  # a run that is stopped goes on later
            if message is None:
                return
            if message.kind == "result":
                self._arrived_s[str(message.header["camera"])].append(float(message.header["arrived_s"]))
