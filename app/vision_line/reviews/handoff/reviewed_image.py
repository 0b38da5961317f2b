# SPDX-License-Identifier: AGPL-3.0-or-later
"""One reviewed image: what people say is in it, what the line found in it, and why it is worth training on. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from pathlib import PurePosixPath

from vision_line.frames import Outline
from vision_line.records.outlines import overlap_of, rectangle_around

#: Boxes that overlap by this IoU show the same defect; as the second one that evaluations match by.
SAME_IOU = 0.33
#: Edges are kept with this many pixels' precision, and a little.
_ROUNDED_PX = 0.06


class Reason(StrEnum):
    """Why an image is in the set, the most instructive first; of several reasons the first counts."""

    MISSED = "missed"  # a defect that the line did not call
    OVERRULED = "overruled"  # the line found what is no defect
    CORRECTED = "corrected"  # a defect with another class or box than the line said
    CONFIRMED = "confirmed"  # the line was right
    CLEAN = "clean"  # there is no defect, and the line called none


#: The rank of each reason.
RANK = {reason: rank for rank, reason in enumerate(Reason)}


@dataclass(frozen=True, slots=True)
class PixelBox:
    """Edges in pixels of the stored image; `outline` are a rotated box's corners or around a mask, within them."""

    x1: float
    y1: float
    x2: float
    y2: float
    outline: Outline | None = None

    def within(self, width: int, height: int) -> PixelBox | None:
        """Return what of it lies in the image, None where nothing does."""
        left, top, right, bottom = self.edges
        cut = PixelBox(
            max(0.0, left), max(0.0, top), min(float(width), right), min(float(height), bottom), self.outline
        )
        return cut if cut.area > 0 else None

    @property
    def area(self) -> float:
        """Pixels, 0 where the edges are crossed."""
        return max(0.0, self.x2 - self.x1) * max(0.0, self.y2 - self.y1)

    @property
    def corners(self) -> Outline:
        """The four corners, x, y, x, y ..., one behind the other; also of an upright box and around a mask."""
        return rectangle_around(self.polygon)

    @property
    def polygon(self) -> Outline:
        """The corners, x, y, x, y ..., one behind the other: as many as a mask's outline has, of boxes four."""
        return self.outline or (self.x1, self.y1, self.x2, self.y1, self.x2, self.y2, self.x1, self.y2)

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        return self.x1, self.y1, self.x2, self.y2

    def is_at(self, other: PixelBox) -> bool:
        """Whether both have the same edges, as far as answers are kept."""
        return all(abs(one - two) <= _ROUNDED_PX for one, two in zip(self.edges, other.edges, strict=True))

    def shows_what(self, other: PixelBox) -> bool:
        """Whether both show the same defect.

        Two outlines are compared as they lie: around scratches side by side the upright boxes are nearly the same.
        """
        if self.outline is not None and other.outline is not None:
            return overlap_of(self.outline, other.outline) >= SAME_IOU
        common = PixelBox(
            max(self.x1, other.x1), max(self.y1, other.y1), min(self.x2, other.x2), min(self.y2, other.y2)
        ).area
        return common >= SAME_IOU * (self.area + other.area - common) > 0


@dataclass(frozen=True, slots=True)
class TrueDefect:
    """A defect in an image. `score` is the line's, None where the line did not find it."""

    class_name: str
    box: PixelBox
    score: float | None = None
    is_reviewed: bool = True  # False: the line found it, and nobody said anything of it


@dataclass(frozen=True, slots=True)
class LineDetection:
    """What the line found in an image; `event_id` is the event that it belongs to."""

    class_name: str
    score: float
    box: PixelBox
    event_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFrame:
    """A frame whose image the records keep: `path` is relative to their folder, and below its `folder`."""

    run: int
    run_id: str
    camera: str
    station: str
    sequence: int
    at_utc: float
    width: int
    height: int
    path: str
    sha256: str
    folder: str
    model_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedImage:
    """A frame of which everything is known that a model is to learn from it.

    `items` are the keys of what was reviewed in it, `tracks` the ids of events that it shows.
    """

    frame: StoredFrame
    reason: Reason
    items: tuple[str, ...]
    defects: tuple[TrueDefect, ...]
    found: tuple[LineDetection, ...]
    tracks: frozenset[str]

    @property
    def order(self) -> tuple[int, float, str, int]:
        """What images are sorted by: the most instructive first, then by time."""
        return RANK[self.reason], self.frame.at_utc, self.frame.camera, self.frame.sequence

    @property
    def file_name(self) -> str:
        """The name of its file in a data set: the same whenever it is exported, and of no other frame."""
        frame = self.frame
        camera = "".join(sign if sign.isascii() and sign.isalnum() else "_" for sign in frame.camera)[:40]
        which = blake2b(f"{frame.run_id}/{frame.camera}/{frame.sequence}".encode(), digest_size=8).hexdigest()
        return f"{camera}-{which}{PurePosixPath(frame.path).suffix.lower()}"
