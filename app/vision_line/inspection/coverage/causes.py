# SPDX-License-Identifier: AGPL-3.0-or-later
"""Why one camera is not inspected: the cause with the highest priority."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Final, NamedTuple

from vision_line.errors import SourceErrorCode
from vision_line.frames import INSPECTING_STATES, CameraState

#: Frames came faster than the device takes them.
CAPACITY: Final = "capacity"
#: Frames came faster than they can be decoded.
DECODING = "capacity:decoding"
#: `inspect_fps` allows too few inspections.
RATE_CAP = "rate_cap"
#: The detection log could not take results.
LOG = "log"
#: No program monitored the camera: it had ended or did not have the camera (off), or had died (crashed).
OFF = "off"
CRASHED = "crashed"
#: Boxes share the camera: the one that inspected it died, or gave it to another one.
NODE_LOST: Final = "node:lost"
NODE_MOVING: Final = "node:moving"
#: Among the records of many boxes: another box inspected the camera, or had to, and its records count.
NODE_ELSEWHERE: Final = "node:elsewhere"
#: No inspection by this program was due.
NOT_DUE = frozenset({OFF, NODE_ELSEWHERE})
#: The process got no CPU time: stopped, suspended or starved.
PAUSED = "paused"
#: The program is starting: waiting for first frames, or compiling the model.
STARTING: Final = "device:STARTING"
#: It builds a GPU's engine before it can inspect at all, which may take minutes.
BUILDING: Final = "device:BUILDING"
#: The device cannot inspect yet.
NOT_READY = frozenset({STARTING, BUILDING})
#: The program is ending and drains.
STOPPED = "stopped"
#: No frame came; downtime is found before the camera's state becomes STALE.
SILENT = f"camera:{CameraState.STALE}"
#: The camera sends fewer frames than inspections are needed.
SLOW = "camera:SLOW"
#: Too few frames come in time, though they could be decoded: the camera or the network is late.
LATE = f"camera:{SourceErrorCode.BEHIND}"
#: Too few frames are undamaged.
DAMAGED = f"camera:{SourceErrorCode.CORRUPT}"

#: Priority of a state as the cause; an error code has a higher one than any of them.
_PRIORITY: Mapping[CameraState, int] = {
    CameraState.CONNECTING: 1,
    CameraState.RECONNECTING: 2,
    CameraState.STALE: 3,
    CameraState.FROZEN: 4,
}
_CODE_PRIORITY = 5
#: A pause explains the states of cameras after it.
_PAUSE_PRIORITY = 6
#: Largest number of past causes that are kept; of a camera that flickers longer the latest are known.
_MOST_PAST_CAUSES = 64


@dataclass(frozen=True, slots=True)
class Absence:
    """A camera was not monitored since `since_s` by the clock of this run, and why: `OFF`, `CRASHED` or a fleet's."""

    since_s: float
    cause: str


class _PastCause(NamedTuple):
    """A past cause, with its time."""

    from_s: float
    until_s: float
    cause: str
    priority: int  # 0: an obstacle for all cameras

    def is_broken_by(self, at_s: float) -> bool:
        """Whether it is a camera's trouble at a time from which there is a frame.

        A pause is none: its start is known to a heartbeat only, and its first frames were taken before it.
        """
        return 0 < self.priority < _PAUSE_PRIORITY and self.from_s <= at_s < self.until_s


class CauseLog:
    """One camera's causes. Pure: call `note` after every change of `state`, `code` or the obstacle."""

    __slots__ = ("_now_priority", "_past", "_priority", "_trouble", "code", "now", "since_s", "state")

    def __init__(self, at_s: float) -> None:
        self.state = CameraState.CONNECTING
        self.code: str | None = None
        self.now = ""  # the present cause; empty: none known
        self.since_s = at_s  # the time at which `now` began
        self._now_priority = 0
        self._past: deque[_PastCause] = deque(maxlen=_MOST_PAST_CAUSES)
        self._trouble = ""  # the cause of highest priority since the camera last ran; empty while it runs
        self._priority = 0

    @property
    def clear_since_s(self) -> float | None:
        """Since when there is no known cause; None: there is one."""
        return None if self.now else self.since_s

    def since_when(self, at_s: float) -> list[tuple[float, str]]:
        """Return the causes after `at_s`, each with its start; empty: none.

        If the camera was in trouble, it is the trouble of the highest priority, among equals the latest, for the whole
        time; otherwise the obstacles for all cameras, one after the other.
        """
        held = [past for past in self._past if past.until_s > at_s]
        if self.now:
            held.append(_PastCause(self.since_s, inf, self.now, self._now_priority))
        worst = max(reversed(held), key=lambda past: past.priority, default=None)
        if worst is None:
            return []
        if worst.priority > 0:
            return [(at_s, worst.cause)]
        return [(max(at_s, past.from_s), past.cause) for past in held]

    def note(self, at_s: float, obstacle: str) -> None:
        """Update the cause from the state at `at_s`.

        `obstacle` keeps all cameras from inspection; empty: none.
        """
        if self.state in INSPECTING_STATES:
            self._trouble, self._priority = "", 0
        else:
            priority = _CODE_PRIORITY if self.code else _PRIORITY.get(self.state, 0)
            # A retry passes through states of lower priority; among equals the newest holds.
            if priority >= self._priority:
                self._trouble, self._priority = f"camera:{self.code or self.state}", priority
        now = self._trouble or obstacle
        if now != self.now:
            if self.now:
                self._past.append(_PastCause(self.since_s, at_s, self.now, self._now_priority))
            self.now, self.since_s = now, at_s
        self._now_priority = self._priority

    def paused(self, from_s: float, to_s: float) -> bool:
        """Note that the process did not run in between; False if another cause held before."""
        if self.now and self.since_s < from_s:
            return False
        self._past.append(_PastCause(from_s, to_s, PAUSED, _PAUSE_PRIORITY))
        return True

    def inspected(self, at_s: float, oldest_s: float) -> None:
        """Note an inspection of a frame of `at_s`: the camera worked. Drop the causes that ended by `oldest_s`."""
        if self._past:
            ended = (past._replace(until_s=at_s) if past.is_broken_by(at_s) else past for past in self._past)
            self._past = deque((past for past in ended if past.until_s > oldest_s), maxlen=_MOST_PAST_CAUSES)

    def clear_trouble(self) -> None:
        """Drop the present trouble too: the camera starts anew."""
        self._trouble, self._priority = "", 0
        self._past.clear()
