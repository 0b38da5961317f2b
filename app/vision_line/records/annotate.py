# SPDX-License-Identifier: AGPL-3.0-or-later
"""Frames as BGR images for people, with boxes and words on them; never for the engine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray

from vision_line.errors import DeviceError, SourceError, SourceErrorCode
from vision_line.frames import (
    ColourMatrix,
    ColourRange,
    DefectEvent,
    Detections,
    Frame,
    Observation,
    Outline,
    Verdict,
)
from vision_line.ports import HostCopyable
from vision_line.records.outlines import is_rectangle

Bgr = tuple[int, int, int]

#: Reject and warn differ in lightness too, so that they can be distinguished without seeing red and green.
VERDICT_COLOURS: dict[Verdict, Bgr] = {
    Verdict.ACCEPT: (120, 200, 80),
    Verdict.WARN: (60, 210, 255),
    Verdict.REJECT: (40, 40, 230),
}
PLAIN_COLOUR: Bgr = (200, 200, 200)
CAPTION_COLOUR: Bgr = (40, 40, 40)
LIGHT_COLOUR: Bgr = (255, 255, 255)
DARK_COLOUR: Bgr = (0, 0, 0)

#: The enlarged part around a box: this many times its longer side, at least this many pixels, shown about this large.
CROP_BOXES = 3.0
CROP_LEAST_PX = 48
CROP_SHOWN_PX = 640
CROP_MOST_TIMES = 8
CROP_OUTLINE_PX = 3

_FONT = cv2.FONT_HERSHEY_SIMPLEX

Image = NDArray[np.uint8]  # (height, width, 3) BGR
ImageReader = Callable[[Frame], Image]

_MATRIX = {
    ColourMatrix.BT601: Colorspace.ITU601,
    ColourMatrix.BT709: Colorspace.ITU709,
    ColourMatrix.BT2020: Colorspace.BT2020,
}
_RANGE = {ColourRange.LIMITED: ColorRange.MPEG, ColourRange.FULL: ColorRange.JPEG}

#: PyAV writes colour tags into the source frame while it converts, and takes them back afterwards; two threads that
#: convert one frame (evidence and overlay) would see each other's, and `VideoFrame.reformat` even shares a context.
_converting = threading.Lock()


def bgr_of(frame: Frame) -> Image:
    """Return the whole frame as a new (height, width, 3) uint8 BGR array that the caller owns.

    The frame's own matrix and range decide the colours, not what the decoder wrote into it. A frame that
    lies elsewhere than in the host's memory is copied first. From any thread, once the device is done with the frame.

    Raises:
        SourceError: the frame is of a kind that is not known here, or cannot be copied or converted.
    """
    native = _in_host_memory(frame)
    if isinstance(native, np.ndarray) and native.dtype == np.uint8 and native.ndim == 3:
        return native.copy()
    if not isinstance(native, av.VideoFrame):
        kind = type(native).__name__
        raise SourceError(frame.camera, SourceErrorCode.FAILED, f"a frame of type {kind} cannot be stored")
    try:
        with _converting:
            converted = VideoReformatter().reformat(
                native,
                format="bgr24",
                src_colorspace=_MATRIX[frame.colour.matrix],
                src_color_range=_RANGE[frame.colour.range],
                dst_color_range=ColorRange.JPEG,
            )
        return np.asarray(converted.to_ndarray(), np.uint8)
    except (av.FFmpegError, ValueError) as exc:
        raise SourceError(frame.camera, SourceErrorCode.CORRUPT, f"the frame cannot be converted: {exc}") from exc


def _in_host_memory(frame: Frame) -> object:
    if not isinstance(frame.data, HostCopyable):
        return frame.data
    try:
        return frame.data.to_host()
    except DeviceError as exc:
        raise SourceError(frame.camera, SourceErrorCode.FAILED, f"the frame cannot be copied: {exc}") from exc


@dataclass(frozen=True, slots=True)
class Mark:
    """A box (pixels of the image) with its words; `outline` are the corners of a rotated one, or around a mask."""

    xyxy: tuple[float, float, float, float]
    label: str
    colour: Bgr
    outline: Outline | None = None


def mark_of(event: DefectEvent, observation: Observation) -> Mark:
    """Return the mark of an event as it was in one observation: class, score there, verdict."""
    label = f"{event.class_name} {observation.score:.2f} {event.verdict}"
    return Mark(observation.xyxy, label, VERDICT_COLOURS[event.verdict], observation.outline)


def marks_of(detections: Detections, marks: Sequence[Mark]) -> list[Mark]:
    """Return plain boxes for all detections, and over them `marks`."""
    boxes = [
        Mark((x1, y1, x2, y2), "", PLAIN_COLOUR, detections.outline(row))
        for row, (x1, y1, x2, y2) in enumerate(detections.xyxy.tolist())
    ]
    return [*boxes, *marks]


def draw_marks(image: Image, marks: Sequence[Mark], thickness: int | None = None) -> None:
    """Draw `marks` into `image`; words stay inside the image, parts of boxes outside it are left out.

    `thickness` of each of the outline's rings is in pixels; by default it follows the image's size.

    The outline lies around the box, dark, light and coloured beside each other: on a board of any colour, and on one
    whose defect it must not cover, one of them stands out. That of a mask lies on its edge.
    """
    thickness = thickness or max(1, round(min(image.shape[:2]) / 360))
    for mark in marks:
        x1, y1, x2, y2 = (int(np.clip(value, -1e4, 1e5)) for value in mark.xyxy)
        if mark.outline is not None and not is_rectangle(mark.outline):
            _draw_polygon(image, mark.outline, mark.colour, thickness)
        else:
            _draw_box(image, mark, (x1, y1, x2, y2), thickness)
        if mark.label:
            _draw_label(image, mark, (x1, y1 - 3 * thickness, y2 + 3 * thickness), thickness)


def _draw_box(image: Image, mark: Mark, edges: tuple[int, int, int, int], thickness: int) -> None:
    x1, y1, x2, y2 = edges
    for ring, colour in enumerate((mark.colour, LIGHT_COLOUR, DARK_COLOUR)):
        away = thickness * ring + (thickness + 1) // 2
        if mark.outline is None:
            cv2.rectangle(image, (x1 - away, y1 - away), (x2 + away, y2 + away), colour, thickness)
        else:
            cv2.polylines(image, [_widened(mark.outline, away)], isClosed=True, color=colour, thickness=thickness)


def _draw_polygon(image: Image, outline: Outline, colour: Bgr, thickness: int) -> None:
    """Draw the three rings on the edge itself: moved outwards, a ragged polygon would cross itself."""
    corners = np.clip(np.array(outline, np.float64).reshape(-1, 1, 2), -1e4, 1e5)
    points = np.rint(corners).astype(np.int32)
    for rings, one in ((5, DARK_COLOUR), (3, LIGHT_COLOUR), (1, colour)):
        cv2.polylines(image, [points], isClosed=True, color=one, thickness=rings * thickness)


def _widened(outline: Outline, away: int) -> NDArray[np.int32]:
    """Return the corners (4, 1, 2) of a rotated box whose sides are moved outwards by `away` pixels."""
    corners = np.clip(np.array(outline, np.float64).reshape(-1, 2), -1e4, 1e5)
    sides = np.roll(corners, -1, axis=0) - corners
    along = sides / np.maximum(np.hypot(sides[:, 0], sides[:, 1]), 1e-9)[:, None]
    moved = corners + away * (np.roll(along, 1, axis=0) - along)  # beyond the end of each side that meets there
    return np.rint(moved).astype(np.int32)[:, None]


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


def crop_around(size_wh: tuple[int, int], xyxy: tuple[float, float, float, float]) -> tuple[tuple[int, ...], int]:
    """Return the part of an image around a box, x1, y1, x2, y2 in pixels, and how many times it is enlarged. Pure."""
    x1, y1, x2, y2 = xyxy
    side = max(CROP_LEAST_PX, CROP_BOXES * max(x2 - x1, y2 - y1))
    spans = [_span(middle, side, size) for middle, size in zip(((x1 + x2) / 2, (y1 + y2) / 2), size_wh, strict=True)]
    longest = max(end - start for start, end in spans)
    (left, right), (top, bottom) = spans
    return (left, top, right, bottom), int(np.clip(CROP_SHOWN_PX // longest, 1, CROP_MOST_TIMES))


def _span(middle: float, side: float, size: int) -> tuple[int, int]:
    """Return where a span of length `side` around `middle` begins and ends, moved into 0..size."""
    length = min(size, round(side))
    start = int(np.clip(round(middle - side / 2), 0, size - length))
    return start, start + length


def enlarged(image: Image, mark: Mark) -> Image:
    """Return a new image: the part of `image` around the mark's box, enlarged, with its outline and without words."""
    height, width = image.shape[:2]
    (left, top, right, bottom), times = crop_around((width, height), mark.xyxy)
    part = cv2.resize(image[top:bottom, left:right], None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)
    x1, y1, x2, y2 = mark.xyxy
    box = ((x1 - left) * times, (y1 - top) * times, (x2 - left) * times, (y2 - top) * times)
    outline = None
    if mark.outline is not None:
        outline = tuple((value - (left, top)[number % 2]) * times for number, value in enumerate(mark.outline))
    shown = replace(mark, xyxy=box, label="", outline=outline)
    draw_marks(found := np.ascontiguousarray(part, np.uint8), [shown], CROP_OUTLINE_PX)
    return found


def with_caption(image: Image, text: str) -> Image:
    """Return a new image: `image` whole, and a line of text in a strip below it."""
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
