# SPDX-License-Identifier: AGPL-3.0-or-later
"""Why one camera's line is not looked at: the most telling of what happened since its last inspection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vision_line.frames import INSPECTING_STATES, CameraState

#: Frames came faster than the device takes them.
CAPACITY = "capacity"
#: Frames came faster than they can be decoded.
DECODING = "capacity:decoding"
#: `inspect_fps` allows too few looks.
RATE_CAP = "rate_cap"
#: The detection log could not take results.
LOG = "log"
#: The program did not run between its last proof of life and this start; it had ended (off), or had died (crashed).
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

#: How much a state tells of why nothing was inspected; an error code tells more than any of them.
_TELLING: Mapping[CameraState, int] = {
    CameraState.CONNECTING: 1,
    CameraState.RECONNECTING: 2,
    CameraState.STALE: 3,
    CameraState.FROZEN: 4,
}
_CODE_TELLS = 5


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant on both clocks; they are never subtracted from each other."""

    s: float
    utc: float


class Blame:
    """One camera's causes. Pure: `note` after every change of `state`, `code` or of what stops all cameras."""

    __slots__ = ("_telling", "_trouble", "_worst_telling", "code", "now", "since", "state", "worst")

    def __init__(self, at: Moment) -> None:
        """Begin with a camera that is being connected."""
        self.state = CameraState.CONNECTING
        self.code: str | None = None
        self.now = ""  # what keeps the line from being looked at; empty: nothing that is known
        self.since = at  # since when it is `now`
        self.worst = ""  # the most telling cause since the last inspection
        self._worst_telling = 0
        self._trouble = ""  # the most telling cause since the camera last ran; empty while it runs
        self._telling = 0

    @property
    def well(self) -> Moment | None:
        """Since when nothing is known to keep the line from being looked at; None: something does."""
        return None if self.now else self.since

    def note(self, at: Moment, obstacle: str) -> None:
        """Take in the state as it is at `at`. `obstacle` is what keeps every camera from inspection, empty: nothing."""
        if self.state in INSPECTING_STATES:
            self._trouble, self._telling = "", 0
        else:
            telling = _CODE_TELLS if self.code else _TELLING.get(self.state, 0)
            # A retry passes through less telling states; among equals the newest holds.
            if telling >= self._telling:
                self._trouble, self._telling = f"camera:{self.code or self.state}", telling
        if self._trouble and self._telling >= self._worst_telling:
            self.worst, self._worst_telling = self._trouble, self._telling
        elif obstacle and not self.worst:
            self.worst = obstacle
        now = self._trouble or obstacle
        if now != self.now:
            self.now, self.since = now, at

    def start_anew(self, cause: str = "") -> None:
        """Forget what was before an inspection; `cause` is what is known of the time since then, where that is long."""
        self.worst, self._worst_telling = cause or self.now, self._telling

    def forget(self) -> None:
        """Forget the present trouble too: the camera begins another life."""
        self.worst = self._trouble = ""
        self._worst_telling = self._telling = 0
