# SPDX-License-Identifier: AGPL-3.0-or-later
"""A clip or an image of the records with what the line found in it, and what a model finds. All of it goes as JSON."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from pydantic import JsonValue

from vision_line.config.models import Frozen


class FootageKind(StrEnum):
    """What the record directory holds it as."""

    CLIP = "clip"
    EVENT = "event"  # the image of an event that no clip shows
    NEAR_MISS = "near miss"
    AUDIT = "audit"


class TimedBox(NamedTuple):
    """Where a thing was: seconds since the footage's beginning, pixels of the frame."""

    at_s: float
    x1: float
    y1: float
    x2: float
    y2: float


class FoundDefect(Frozen):
    """An event of a clip, or one detection of an image.

    `boxes` are where it was first and where it was last, one where that is the same moment. `key` is the item's key as
    reviews have it, "" where people cannot answer for it; `verdict` is "" of a detection.
    """

    key: str = ""
    class_name: str
    verdict: str = ""
    score: float
    boxes: tuple[TimedBox, ...]


class Recording(Frozen):
    """One clip or image. `path` is relative to the record directory, `settings` are the camera's of then.

    `recorded` is what the line found in it, `beside` what it found of events that another clip shows whole.
    """

    kind: FootageKind
    id: str
    camera: str
    at_utc: float
    path: str
    sha256: str
    frames: int = 1
    settings: dict[str, JsonValue]
    recorded: tuple[FoundDefect, ...] = ()
    beside: tuple[FoundDefect, ...] = ()


class Reinspected(Frozen):
    """What a model finds in one footage; `problem`: why it was not inspected, or not all of it."""

    id: str
    frames: int = 0
    findings: tuple[FoundDefect, ...] = ()
    problem: str = ""
