# SPDX-License-Identifier: AGPL-3.0-or-later
"""Boxes and words on pictures. Pure but for drawing into the array it is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import cv2
import numpy as np

from vision_line.frames import DefectEvent, Detections, Verdict
from vision_line.records.picture import Image

Bgr = tuple[int, int, int]

#: Reject and warn differ in lightness too, so that they can be told apart without seeing red and green.
VERDICT_COLOURS: dict[Verdict, Bgr] = {
    Verdict.ACCEPT: (120, 200, 80),
    Verdict.WARN: (60, 210, 255),
    Verdict.REJECT: (40, 40, 230),
}
PLAIN_COLOUR: Bgr = (200, 200, 200)
CAPTION_COLOUR: Bgr = (40, 40, 40)

_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True, slots=True)
class Mark:
    """A box (pixels of the picture) with its words."""

    xyxy: tuple[float, float, float, float]
    label: str
    colour: Bgr


def mark_of(event: DefectEvent) -> Mark:
    """Return the mark of an event: class, best score, verdict."""
    label = f"{event.class_name} {event.top_score:.2f} {event.verdict}"
    return Mark(event.xyxy, label, VERDICT_COLOURS[event.verdict])


def marks_of(detections: Detections, events: Sequence[DefectEvent]) -> list[Mark]:
    """Return plain boxes for all detections, and over them the marks of the events."""
    boxes = [Mark((x1, y1, x2, y2), "", PLAIN_COLOUR) for x1, y1, x2, y2 in detections.xyxy.tolist()]
    return boxes + [mark_of(event) for event in events]


def draw_marks(image: Image, marks: Sequence[Mark]) -> None:
    """Draw `marks` into `image`; words stay inside the picture, parts of boxes outside it are left out."""
    height, width = image.shape[:2]
    thickness = max(1, round(min(width, height) / 360))
    for mark in marks:
        x1, y1, x2, y2 = (int(np.clip(value, -1e4, 1e5)) for value in mark.xyxy)
        cv2.rectangle(image, (x1, y1), (x2, y2), mark.colour, thickness)
        if mark.label:
            _draw_label(image, mark, (x1, y1, y2), thickness)


def _draw_label(image: Image, mark: Mark, corner: tuple[int, int, int], thickness: int) -> None:
    """Write the label on a filled ground above the box, or below it where there is no room above."""
    height, width = image.shape[:2]
    scale = _scale_for(image)
    (text_w, text_h), base = cv2.getTextSize(mark.label, _FONT, scale, thickness)
    x1, y1, y2 = corner
    tall = text_h + base + 2
    top = y1 - tall if y1 >= tall else y2
    left, top = max(0, min(x1, width - text_w)), max(0, min(top, height - tall))
    cv2.rectangle(image, (left, top), (left + text_w, top + tall), mark.colour, cv2.FILLED)
    ink: Bgr = (0, 0, 0) if sum(mark.colour) > 380 else (255, 255, 255)
    cv2.putText(image, mark.label, (left, top + text_h + 1), _FONT, scale, ink, thickness, cv2.LINE_AA)


def with_caption(image: Image, text: str) -> Image:
    """Return a new picture: `image` whole, and a line of text in a strip below it."""
    scale = _scale_for(image)
    (_, text_h), base = cv2.getTextSize(text, _FONT, scale, 1)
    strip = np.full((text_h + base + 8, image.shape[1], 3), CAPTION_COLOUR, np.uint8)
    cv2.putText(strip, text, (4, text_h + 4), _FONT, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return np.concatenate([image, strip])


def caption_of(camera: str, utc: float, words: str = "") -> str:
    """Return `camera  2026-01-31 12:00:00.123 UTC  words`."""
    moment = datetime.fromtimestamp(utc, UTC)
    return f"{camera}  {moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d} UTC  {words}".rstrip()


def _scale_for(image: Image) -> float:
    height: int = image.shape[0]
    return max(0.4, height / 900)
