# SPDX-License-Identifier: AGPL-3.0-or-later
"""The run's state in the words of the live pages, by the plant's clock."""

from __future__ import annotations

from vision_line.desk.local_time import plant_clock
from vision_line.desk.plain_words import cause_words
from vision_line.errors import mask_credentials
from vision_line.feed.protocol import Header

#: A camera that is inspected too seldom, and was not for so long, in seconds, counts as not inspected.
_OLD_S = 3.0
_KINDS = {"RUNNING": "good", "DEGRADED": "part", "CONNECTING": "quiet", "ENDED": "quiet", "REMOVED": "quiet"}
_SIGNS = {"good": "●", "part": "▲", "quiet": "○", "bad": "■"}


def states_of(snapshot: Header) -> object:
    """Return what of a snapshot is said at once where it changes."""
    return snapshot["alarms"], [
        (one["name"], one["state"], one["code"], _is_inspected(one)) for one in snapshot["cameras"]
    ]


def run_words(snapshot: Header) -> Header:
    """Return what pages show of a snapshot of the feed."""
    now_utc = snapshot["now_utc"]
    return {
        "kind": "status",
        "runs": True,
        "headline": mask_credentials(snapshot["headline"]),
        "alarms": [mask_credentials(sentence) for sentence in snapshot["alarms"]],
        "cameras": [_camera(camera, now_utc) for camera in snapshot["cameras"]],
    }


def no_run_words(reason: str) -> Header:
    """Return what pages show while no run has a feed."""
    return {"kind": "status", "runs": False, "headline": mask_credentials(reason), "alarms": [], "cameras": []}


def _camera(camera: Header, now_utc: float) -> Header:
    kind = _KINDS.get(camera["state"], "bad")
    is_inspected = _is_inspected(camera)
    code = f" · {camera['code']}" if camera["code"] else ""
    return {
        "name": camera["name"],
        "kind": kind,
        "state": f"{_SIGNS[kind]} {camera['state'].lower()}{code}",
        "inspected": is_inspected,
        "words": _rate(camera) if is_inspected else _since(camera, now_utc),
    }


def _is_inspected(camera: Header) -> bool:
    age_s = camera["inspected_age_s"]
    return bool(camera["inspecting"]) and age_s is not None and (age_s < _OLD_S or camera["not_inspected"] is None)


def _rate(camera: Header) -> str:
    words = f"{camera['fps_inspected']:.1f} inspections a second"
    missing = camera["not_inspected"]
    return words if missing is None else f"{words}, too few: {cause_words(missing)}"


def _since(camera: Header, now_utc: float) -> str:
    age_s = camera["inspected_age_s"]
    when = (
        "not inspected in this run" if age_s is None else f"not inspected since {plant_clock().clock(now_utc - age_s)}"
    )
    missing = camera["not_inspected"]
    return when if missing is None else f"{when}: {cause_words(missing)}"
