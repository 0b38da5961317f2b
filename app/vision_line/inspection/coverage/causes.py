# SPDX-License-Identifier: AGPL-3.0-or-later
"""Why one camera's line is not looked at: the most telling of what happened."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from vision_line.errors import SourceErrorCode
from vision_line.frames import INSPECTING_STATES, CameraState

#: Frames came faster than the device takes them.
CAPACITY = "capacity"
#: Frames came faster than they can be decoded.
DECODING = "capacity:decoding"
#: `inspect_fps` allows too few looks.
RATE_CAP = "rate_cap"
#: The detection log could not take results.
LOG = "log"
#: No program watched the camera: it had ended, or was without the camera (off), or had died (crashed).
OFF = "off"
CRASHED = "crashed"
#: The program existed and got no processor: stopped, suspended or starved.
PAUSED = "paused"
#: The program is starting: first pictures are waited for, or the engine is being compiled.
STARTING = "device:STARTING"
#: The program was told to end, and drains.
STOPPED = "stopped"
#: No frame came; the state is declared later than a gap is found.
SILENT = f"camera:{CameraState.STALE}"
#: The camera sends fewer frames than looks are needed.
SLOW = "camera:SLOW"
#: Too few of the camera's frames come in time, though they could be decoded: it, or the way from it, is late.
LATE = f"camera:{SourceErrorCode.BEHIND}"
#: Too few of the camera's frames can be decoded without damage.
DAMAGED = f"camera:{SourceErrorCode.CORRUPT}"

#: How much a state tells of why nothing was inspected; an error code tells more than any of them.
_TELLING: Mapping[CameraState, int] = {
    CameraState.CONNECTING: 1,
    CameraState.RECONNECTING: 2,
    CameraState.STALE: 3,
    CameraState.FROZEN: 4,
}
_CODE_TELLS = 5
#: What cameras look like after a pause is the pause's doing.
_PAUSE_TELLS = 6
#: So many causes that are over are remembered; a camera that flickers longer is known by the latest.
_REMEMBERED = 64


@dataclass(frozen=True, slots=True)
class Absence:
    """Nobody looked at a camera since `since_s` by the clock of this run, and why: `OFF` or `CRASHED`."""

    since_s: float
    cause: str


class _Past(NamedTuple):
    """A cause that no longer holds, and from when until when it did."""

    from_s: float
    until_s: float
    cause: str
    telling: int  # 0: what stops all cameras

    def is_broken_by(self, at_s: float) -> bool:
        """Whether it is a camera's trouble that was told to hold when it showed a picture.

        A pause is none: its beginning is known to a beat only, and its first pictures were taken before it.
        """
        return 0 < self.telling < _PAUSE_TELLS and self.from_s <= at_s < self.until_s


class CauseLog:
    """One camera's causes. Pure: `note` after every change of `state`, `code` or of what stops all cameras."""

    __slots__ = ("_now_tells", "_past", "_telling", "_trouble", "code", "now", "since_s", "state")

    def __init__(self, at_s: float) -> None:
        """Begin with a camera that is being connected."""
        self.state = CameraState.CONNECTING
        self.code: str | None = None
        self.now = ""  # what keeps the line from being looked at; empty: nothing that is known
        self.since_s = at_s  # since when it is `now`
        self._now_tells = 0
        self._past: deque[_Past] = deque(maxlen=_REMEMBERED)
        self._trouble = ""  # the most telling cause since the camera last ran; empty while it runs
        self._telling = 0

    @property
    def well_s(self) -> float | None:
        """Since when nothing is known to keep the line from being looked at; None: something does."""
        return None if self.now else self.since_s

    def since_when(self, at_s: float) -> list[tuple[float, str]]:
        """Return what kept the line from being looked at after `at_s`, and each time since when; empty: nothing.

        Where the camera was in trouble, it is the most telling trouble, among equals the latest, for all of the time;
        else what stopped all cameras, one after the other.
        """
        held = [past for past in self._past if past.until_s > at_s]
        if self.now:
            held.append(_Past(self.since_s, inf, self.now, self._now_tells))
        worst = max(reversed(held), key=lambda past: past.telling, default=None)
        if worst is None:
            return []
        if worst.telling > 0:
            return [(at_s, worst.cause)]
        return [(max(at_s, past.from_s), past.cause) for past in held]

    def note(self, at_s: float, obstacle: str) -> None:
        """Take in the state as it is at `at_s`.

        `obstacle` is what keeps every camera from inspection; empty: nothing.
        """
        if self.state in INSPECTING_STATES:
            self._trouble, self._telling = "", 0
        else:
            telling = _CODE_TELLS if self.code else _TELLING.get(self.state, 0)
            # A retry passes through less telling states; among equals the newest holds.
            if telling >= self._telling:
                self._trouble, self._telling = f"camera:{self.code or self.state}", telling
        now = self._trouble or obstacle
        if now != self.now:
            if self.now:
                self._past.append(_Past(self.since_s, at_s, self.now, self._now_tells))
            self.now, self.since_s = now, at_s
        self._now_tells = self._telling

    def paused(self, from_s: float, to_s: float) -> bool:
        """Take in that the program did not run in between; False where something else was in the way before."""
        if self.now and self.since_s < from_s:
            return False
        self._past.append(_Past(from_s, to_s, PAUSED, _PAUSE_TELLS))
        return True

    def looked(self, at_s: float, oldest_s: float) -> None:
        """Take in a look at a frame of `at_s`, when the camera was well; what was over at `oldest_s` is forgotten."""
        if self._past:
            ended = (past._replace(until_s=at_s) if past.is_broken_by(at_s) else past for past in self._past)
            self._past = deque((past for past in ended if past.until_s > oldest_s), maxlen=_REMEMBERED)

    def forget(self) -> None:
        """Forget the present trouble too: the camera begins another life."""
        self._trouble, self._telling = "", 0
        self._past.clear()
