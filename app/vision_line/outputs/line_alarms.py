# SPDX-License-Identifier: AGPL-3.0-or-later
"""The line's alarms as they are now, from its feed: a state, not a message, so nobody gets those of before."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vision_line.errors import RunError
from vision_line.feed.feed_client import FeedClient
from vision_line.outputs.notification import ALARM, Notification

#: How often a run is looked for where there is none, in seconds.
RETRY_S = 2.0
#: A run that says nothing for so long hangs: it speaks four times a second.
SILENT_S = 5.0
#: How long a wait for the feed lasts at most, so that the end is noticed.
_WAIT_S = 0.5
_CLOSE_TIMEOUT_S = 2.0
#: The same alarms with other figures are said again no sooner than after this time.
REFRESH_S = 10.0
#: Figures that rise while nothing changes.
_DURATION = re.compile(r"\d+(?:\.\d+)? (?:s|min|h)\b")

HANGS = "the line does not answer"


@dataclass(frozen=True, slots=True)
class LineAlarms:
    """A run's alarms, worst first; `run` is None where there is no run."""

    run: str | None
    alarms: tuple[str, ...] = ()

    @property
    def gist(self) -> tuple[object, ...]:
        """What they say without how long they have lasted."""
        return self.run, *(_DURATION.sub("", alarm) for alarm in self.alarms)


class AlarmWatch:
    """Follows the feed in a thread of its own, through the end of one run and the start of another; close it."""

    def __init__(self, directory: Path, retry_s: float = RETRY_S, silent_s: float = SILENT_S) -> None:
        self._directory = directory
        self._retry_s = retry_s
        self._silent_s = silent_s
        self._now: LineAlarms | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alarms", daemon=True)
        self._thread.start()

    def now(self) -> LineAlarms | None:
        """Return the alarms, None: nobody has looked yet. Any thread."""
        return self._now

    def close(self) -> None:
        """Look no more; may be called twice."""
        self._closing.set()
        self._thread.join(_CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        while not self._closing.is_set():
            with suppress(RunError):  # no run, or one that has just ended: that is what is said then
                self._follow()
            self._now = LineAlarms(None)
            self._closing.wait(self._retry_s)

    def _follow(self) -> None:
        """Take what a run says until it ends.

        Raises:
            RunError: there is none, or what it says is no message.
        """
        with FeedClient(self._directory) as feed:
            feed.want(snapshots=True)
            run, heard_s = str(feed.hello["run"]), time.monotonic()
            while not self._closing.is_set():
                try:
                    message = feed.receive(_WAIT_S)
                except TimeoutError:
                    if time.monotonic() - heard_s > self._silent_s:
                        self._now = LineAlarms(run, (HANGS,))
                    continue
                if message is None:
                    return
                if message.kind == "snapshot":
                    heard_s = time.monotonic()
                    self._now = LineAlarms(run, tuple(map(str, message.header.get("alarms", ()))))


class AlarmNews:
    """What one output has still to be told of alarms: at once when others are raised, seldom when figures change."""

    def __init__(self, now: Callable[[], LineAlarms | None], clock: Callable[[], float] = time.monotonic) -> None:
        """`now` returns the alarms; `clock` gives monotonic seconds."""
        self._now = now
        self._clock = clock
        self._said: LineAlarms | None = None
        self._said_s = 0.0

    def begin_anew(self) -> None:
        """Say all of it again: the other side may have lost it."""
        self._said = None

    def due(self) -> Notification | None:
        """Return what is to be said now, the same until `said`; None: nothing."""
        now = self._now()
        if now is None or now == self._said:
            return None
        if self._said is not None and now.gist == self._said.gist and self._clock() - self._said_s < REFRESH_S:
            return None
        at_utc = time.time()
        content = {"run": now.run, "is_running": now.run is not None, "alarms": list(now.alarms)}
        return Notification(f"{ALARM}:{at_utc:.3f}", 0, ALARM, at_utc, content)

    def said(self, news: Notification) -> None:
        """Take note that the other side has it."""
        run, alarms = news.content["run"], news.content["alarms"]
        assert isinstance(alarms, list)  # noqa: S101  `due` made it
        self._said = LineAlarms(None if run is None else str(run), tuple(map(str, alarms)))
        self._said_s = self._clock()
