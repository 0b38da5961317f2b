# SPDX-License-Identifier: AGPL-3.0-or-later
"""Styles of states, causes and verdicts: always a word or a mark as well as a colour.

Colours are the sixteen that every terminal has, so that the operator's theme decides the shades. A filled background
marks what needs a person now. The marks are in code page 437, which even the Linux console shows.
"""

from __future__ import annotations

from dataclasses import dataclass

from vision_line.frames import CameraState, DropCause, Verdict
from vision_line.telemetry.snapshot import CameraSnapshot

QUIET = "bright_black"
VALUE = "bold"
WELL = "green"
STARTING = "cyan"
NOTICE = "yellow"
TROUBLE = "bold red"
NOTICE_FILL = "bold black on yellow"
TROUBLE_FILL = "bold bright_white on red"


@dataclass(frozen=True, slots=True)
class StateStyle:
    """A mark, a word and their styles; `chip` is the word's style where it stands in a row."""

    mark: str
    word: str
    style: str
    chip: str


_STATE_STYLES = {
    CameraState.CONNECTING: StateStyle("○", "connecting", STARTING, STARTING),
    CameraState.RUNNING: StateStyle("•", "running", WELL, WELL),
    CameraState.STALE: StateStyle("■", "STALE", TROUBLE, TROUBLE_FILL),
    CameraState.FROZEN: StateStyle("■", "FROZEN", TROUBLE, TROUBLE_FILL),
    CameraState.DEGRADED: StateStyle("▲", "DEGRADED", NOTICE, NOTICE_FILL),
    CameraState.RECONNECTING: StateStyle("■", "RECONNECTING", TROUBLE, TROUBLE_FILL),
    CameraState.ENDED: StateStyle("·", "ended", QUIET, QUIET),
    CameraState.REMOVED: StateStyle("·", "removed", QUIET, QUIET),
}
_UNREACHED = StateStyle("■", "UNREACHED", TROUBLE, TROUBLE_FILL)
_UNDERSAMPLED = StateStyle("■", "UNDERSAMPLED", TROUBLE, TROUBLE_FILL)
_NOT_INSPECTED = StateStyle("■", "NOT INSPECTED", TROUBLE, TROUBLE_FILL)


def style_of(camera: CameraSnapshot) -> StateStyle:
    """Return the style of a camera; one that runs but is not inspected is not shown as well."""
    if camera.state is CameraState.CONNECTING and camera.code is not None:
        return _UNREACHED
    if camera.state is CameraState.RUNNING and camera.not_inspected is not None:
        return _NOT_INSPECTED
    if camera.is_too_slow:
        return _UNDERSAMPLED
    return _STATE_STYLES[camera.state]


#: Causes of drops that are normal under load; the others mean that something is wrong.
ORDINARY_CAUSES = frozenset({DropCause.SUPERSEDED, DropCause.STALE, DropCause.RATE_CAP, DropCause.SHUTDOWN})

VERDICTS = {
    Verdict.ACCEPT: ("accept", QUIET),
    Verdict.WARN: ("WARN", NOTICE),
    Verdict.REJECT: ("REJECT", TROUBLE),
}


def short_time(seconds: float) -> str:
    """Return a length of time in at most five characters: 0.4s, 12s, 3m, 5h, 2d."""
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    for unit, size in (("s", 60), ("m", 60), ("h", 48)):
        if seconds < size - 0.5:
            return f"{seconds:.0f}{unit}"
        seconds /= 24 if unit == "h" else 60
    return f"{seconds:.0f}d"


def milliseconds(value: float | None) -> str:
    """Return milliseconds as a whole number; a dash for None."""
    return "–" if value is None else f"{value:.0f}"
