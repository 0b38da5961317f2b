# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a run knows of its own silence: which approved baselines expect more than was found lately.

A detector that has gone blind raises no other alarm: its camera sends, its frames are inspected, and nothing is found.
One thread asks the records each minute. Nothing that inspects waits for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vision_line.errors import RunError

logger = logging.getLogger(__name__)

#: How often the records are asked, in seconds: silence is called after minutes at the soonest.
ASK_EVERY_S = 60.0
#: An answer that costs the processor much is asked for less often, by so many times what it cost, but at the latest
#: after `_SELDOM_S`.
_TIMES_ITS_COST, _SELDOM_S = 500.0, 600.0
#: An answer that takes longer hangs: nobody knows how the baselines are. The desk gives the records a minute.
HANGS_S = 180.0
#: How long `close` waits for an answer that hangs.
_CLOSE_TIMEOUT_S = 0.5


@dataclass(frozen=True, slots=True)
class WatchedBaseline:
    """What somebody approved a baseline of: a camera or station, or a lane, and how much has not come by now.

    `expected` is how many events, or rejected parts, were to be expected since the last one.
    """

    name: str
    expected: float
    is_silent: bool  # so many that chance hardly explains it


@dataclass(frozen=True, slots=True)
class SilenceStatus:
    """All baselines as they could last be read, some minutes ago; `unknown` is why nobody knows how they are now."""

    baselines: Sequence[WatchedBaseline] = ()
    unknown: str = ""

    @property
    def alarms(self) -> list[str]:
        """What somebody has to look at, in one sentence. It says no figure that grows: it is one alarm all the time."""
        silent = [one.name for one in self.baselines if one.is_silent]
        said = [f"suspiciously low, look at camera, lamp and product: {'; '.join(silent)}"] if silent else []
        return said + ([f"nobody knows whether a detector has fallen silent: {self.unknown}"] if self.unknown else [])


class BaselineWatch:
    """Owns the thread; `status` may be asked from any."""

    def __init__(self, ask: Callable[[], Sequence[WatchedBaseline]] | None, period_s: float = ASK_EVERY_S) -> None:
        """`ask` reads the records, and raises RunError where it cannot; None: nothing is watched."""
        self._ask = ask
        self._period_s = period_s
        self._status = SilenceStatus()
        self._asked_s: float | None = None  # when what is being asked now was
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="baselines", daemon=True)
        if ask is not None:
            self._thread.start()

    def status(self) -> SilenceStatus:
        """Return what is known; what was silent when it could last be read stays so."""
        asked_s = self._asked_s
        if asked_s is not None and time.monotonic() - asked_s > HANGS_S:
            return SilenceStatus(self._status.baselines, "the records do not answer")
        return self._status

    def close(self) -> None:
        """Ask no more. May be called twice."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        wait_s = 0.0  # what was silent before a restart still is
        while not self._closing.wait(wait_s):
            began_s, self._asked_s = time.thread_time(), time.monotonic()
            self._refresh()
            self._asked_s = None
            wait_s = min(max(self._period_s, _TIMES_ITS_COST * (time.thread_time() - began_s)), _SELDOM_S)

    def _refresh(self) -> None:
        before, self._status = self._status, self._asked()
        for alarm in self._status.alarms:
            if alarm not in before.alarms:
                logger.warning("%s", alarm)

    def _asked(self) -> SilenceStatus:
        try:
            return SilenceStatus(() if self._ask is None else tuple(self._ask()))
        except RunError as exc:
            unknown = str(exc)
        except Exception:
            logger.exception("whether a detector has fallen silent cannot be said")
            unknown = "this is a fault of the program; its log says more"
        return SilenceStatus(self._status.baselines, unknown)
