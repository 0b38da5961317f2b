# SPDX-License-Identifier: AGPL-3.0-or-later
"""Causes, lengths and shares in the words of a shift lead; the code stands beside them for the engineer. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from vision_line.errors import SourceErrorCode, mask_credentials
from vision_line.frames import CameraState, DropCause
from vision_line.inspection.coverage import causes
from vision_line.parts.part import PartCause

#: Why time was not inspected.
CAUSE_WORDS: Mapping[str, str] = {
    causes.OFF: "no program ran",
    causes.CRASHED: "the program had died",
    causes.NODE_LOST: "the box that inspected it had died",
    causes.NODE_MOVING: "it was given to another box",
    causes.NODE_ELSEWHERE: "another box inspected it",
    causes.PAUSED: "the program got no processor time",
    causes.STARTING: "the program was starting",
    causes.BUILDING: "the GPU's engine was being built",
    causes.STOPPED: "the program was ending",
    causes.CAPACITY: "more came than the device inspects",
    causes.DECODING: "more came than can be decoded",
    causes.RATE_CAP: "inspect_fps is set too low",
    causes.LOG: "results could not be recorded",
    causes.SLOW: "the camera sends too few frames",
    f"camera:{CameraState.CONNECTING}": "the camera was connecting",
    f"camera:{CameraState.RECONNECTING}": "the connection was lost",
    f"camera:{CameraState.STALE}": "the camera sent nothing",
    f"camera:{CameraState.FROZEN}": "the camera's image stood still",
    f"camera:{SourceErrorCode.AUTH_FAILED}": "the camera refused the password",
    f"camera:{SourceErrorCode.NOT_FOUND}": "the camera has no such stream",
    f"camera:{SourceErrorCode.REFUSED}": "the camera refused the connection",
    f"camera:{SourceErrorCode.UNREACHABLE}": "the camera could not be reached",
    f"camera:{SourceErrorCode.NAME_UNKNOWN}": "the camera's name is unknown in the network",
    f"camera:{SourceErrorCode.TIMEOUT}": "the camera did not answer",
    f"camera:{SourceErrorCode.CORRUPT}": "too many frames were damaged",
    f"camera:{SourceErrorCode.BEHIND}": "frames came too late",
}

#: Why frames that arrived were not inspected.
_DROP_WORDS: Mapping[str, str] = {
    DropCause.SUPERSEDED: "a newer frame came first",
    DropCause.STALE: "too old when there was room",
    DropCause.BEHIND: "too old when it came",
    DropCause.SHED: "not decoded, to save processor time",
    DropCause.RATE_CAP: "beyond inspect_fps",
    DropCause.FROZEN: "the image stood still",
    DropCause.CORRUPT: "damaged",
    DropCause.LOG: "results could not be recorded",
    DropCause.SHUTDOWN: "the program ended",
}


#: Why parts were not inspected.
_PART_CAUSE_WORDS: Mapping[str, str] = {
    PartCause.TOO_FEW_INSPECTIONS: "inspected too few times",
    PartCause.GAP: "for too long not inspected within their window",
    PartCause.LATE: "known too late",
    PartCause.LINE_AWAY: "no program inspected",
    PartCause.CAMERA: "a camera of the lane was not inspected, or saw nothing (DEGRADED)",
    PartCause.LOG: "results could not be recorded",
    PartCause.RECIPE: "the recipe changed, or was not in force",
    PartCause.CHALLENGE: "a challenge was failed or overdue",
    PartCause.OVERLAP: "parts came too close together",
    PartCause.LANE_OFF: "the lane was off",
    PartCause.RESTART: "the lanes' program began or ended",
    PartCause.CROSSING: "not seen when they crossed their line",
}


def part_cause_words(cause: str) -> str:
    """Return why a part was not inspected; a cause without words of its own speaks for itself."""
    return _PART_CAUSE_WORDS.get(cause, cause)


def cause_words(cause: str) -> str:
    """Return what a cause means; one without words of its own speaks for itself."""
    return CAUSE_WORDS.get(cause, cause)


def drop_words(cause: str) -> str:
    """Return what a cause of dropped frames means."""
    return _DROP_WORDS[cause]


def masked(value: object) -> object:
    """Return a recorded value without a password: the line writes none, but the file may be somebody else's."""
    if isinstance(value, dict):
        return {name: masked(one) for name, one in value.items()}
    if isinstance(value, list):
        return [masked(one) for one in value]
    return mask_credentials(value) if isinstance(value, str) else value


def duration(seconds: float) -> str:
    """Return a length of time as a person reads it: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 4 min`, `1 d 2 h`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, smaller_size, smaller in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller_size
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def percent(share: float | None) -> str:
    """Return the share of a time as a percentage that is never rounded up to 100: what lacks a second is not whole."""
    if share is None:
        return "–"
    return "100 %" if share >= 1.0 else f"{int(share * 10_000) / 100:.2f} %"


def rounded_percent(share: float) -> str:
    """Return a share of a count as a percentage, rounded as usual: 6 of 29 is `20.7 %`."""
    return f"{100 * share:.1f} %"
