# SPDX-License-Identifier: AGPL-3.0-or-later
"""From answers to images that a model can learn from: what is true of a whole image, and which images that is known of.

People review items, models learn from images. A defect in an image that is not marked teaches a model to overlook it.
So an image is in the set only when everything that the line found in it is settled, by an answer or by a box that
somebody drew; an audited frame is settled as a whole.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from vision_line.records.retention import detections_since
from vision_line.reviews.answer import ItemKind
from vision_line.reviews.handoff.reviewed_image import (
    RANK,
    LineDetection,
    PixelBox,
    Reason,
    ReviewedImage,
    StoredFrame,
    TrueDefect,
)
from vision_line.reviews.handoff.reviewed_rows import ReviewedRow, read_faint, read_found, read_row
from vision_line.reviews.review_items import IsLeftOut, nothing_left_out
from vision_line.reviews.settled_answers import SettledItem


class LeftOut(StrEnum):
    """Why an item or image is not in the set, as the data card says it."""

    UNSURE = "the reviewer was not sure"
    DISPUTED = "two people say different things; one of them may answer again"
    NO_ROW = "the records have no such item any more"
    NO_IMAGE = "there is no image of it: none was kept, or it was removed"
    NO_BOX = "there is a defect, and nobody drew where it is in the image"
    OPEN = "something else was found in the image that nobody reviewed"
    REMOVED = "what else was found in the image was removed from the records"
    OTHER_CLASS = "a defect has a class that the model does not have"
    BESIDE_THE_SPLIT = "it lies close to an image of the other split"
    CHALLENGE = "it is of a challenge part, which no model may learn"
    STRANGE = "the file is not the one that was recorded"


@dataclass(frozen=True, slots=True)
class ReviewedFrame:
    """One image with the reviewed items that it shows."""

    frame: StoredFrame
    items: tuple[tuple[SettledItem, ReviewedRow], ...]

    @property
    def is_audited(self) -> bool:
        """Whether one of the items is the whole frame."""
        return any(row.item.kind is ItemKind.AUDIT for _, row in self.items)


@dataclass(frozen=True, slots=True)
class ReviewedImages:
    """The images in their order, the most instructive first, and what is not among them."""

    images: tuple[ReviewedImage, ...]
    left_out: Mapping[LeftOut, int]


@dataclass(frozen=True, slots=True)
class WantedReviews:
    """Which reviewed items are wanted: [since_utc, until_utc), None: any time, and of which reasons.

    `keep_unreviewed`: what the line found and nobody reviewed counts as a defect, marked so. `is_left_out` says which
    camera's moments are challenge parts: a model that learned them would pass without finding anything else.
    """

    since_utc: float | None = None
    until_utc: float | None = None
    reasons: frozenset[Reason] = frozenset(Reason)
    keep_unreviewed: bool = False
    is_left_out: IsLeftOut = nothing_left_out

    def has(self, at_utc: float) -> bool:
        """Whether the time is wanted."""
        return (self.since_utc or 0.0) <= at_utc < (self.until_utc or float("inf"))


def read_reviewed_images(
    connection: sqlite3.Connection, items: Iterable[SettledItem], wanted: WantedReviews
) -> ReviewedImages:
    """Return the wanted images of reviewed items, from the records.

    Raises:
        sqlite3.Error: as it comes.
    """
    settled = list(items)
    left_out: Counter[LeftOut] = Counter()
    events = {(one.first.item.run_id, one.first.item.id): one for one in settled if _is_settled_event(one)}
    images: list[ReviewedImage] = []
    since_utc = detections_since(connection)
    for frame in _frames(connection, settled, wanted, left_out):
        if not frame.is_audited and frame.frame.at_utc <= since_utc:
            left_out[LeftOut.REMOVED] += 1
            continue
        found, faint = read_found(connection, frame.frame), read_faint(connection, frame.frame)
        image = _image(frame, found, faint, events, left_out, keep_unreviewed=wanted.keep_unreviewed)
        if image is not None and image.reason in wanted.reasons:
            images.append(image)
    return ReviewedImages(tuple(sorted(images, key=lambda image: image.order)), left_out)


def _is_settled_event(item: SettledItem) -> bool:
    return item.first.item.kind is ItemKind.EVENT and not (item.is_unsure or item.is_disputed)


def _frames(
    connection: sqlite3.Connection,
    items: Iterable[SettledItem],
    wanted: WantedReviews,
    left_out: Counter[LeftOut],
) -> Iterator[ReviewedFrame]:
    """Yield each frame that has an image with its items; count those that have none."""
    by_frame = defaultdict[tuple[int, str, int], list[tuple[SettledItem, ReviewedRow]]](list)
    for item in items:
        row = read_row(connection, item.first.item)
        if row is not None and not wanted.has(row.at_utc):
            continue
        if why := _why_not(item, row, wanted):
            left_out[why] += 1
        elif row is not None and row.frame is not None:
            by_frame[row.frame.run, row.frame.camera, row.frame.sequence].append((item, row))
    for _, own in sorted(by_frame.items()):
        stored = min((row.frame for _, row in own if row.frame is not None), key=lambda frame: frame.path)
        yield ReviewedFrame(stored, tuple(own))


def _why_not(item: SettledItem, row: ReviewedRow | None, wanted: WantedReviews) -> LeftOut | None:
    if row is None:
        return LeftOut.NO_ROW
    if wanted.is_left_out(row.camera, row.at_utc):
        return LeftOut.CHALLENGE
    if item.is_unsure:
        return LeftOut.UNSURE
    if item.is_disputed:
        return LeftOut.DISPUTED
    return LeftOut.NO_IMAGE if row.frame is None else None


def _image(
    frame: ReviewedFrame,
    detections: Sequence[LineDetection],
    faint: Sequence[str],
    events: Mapping[tuple[str, str], SettledItem],
    left_out: Counter[LeftOut],
    *,
    keep_unreviewed: bool,
) -> ReviewedImage | None:
    """Return what is known of an image; None, counted: not enough."""
    found = _all_found(frame, detections)
    defects = _Truth(frame.frame, found)
    if not all(defects.take(item, row) for item, row in frame.items):
        left_out[LeftOut.NO_BOX] += 1
        return None
    if not defects.is_whole:
        taken = {item.first.item.id for item, _ in frame.items}

        def other(event_id: str | None) -> SettledItem | None:
            return None if event_id is None or event_id in taken else events.get((frame.frame.run_id, event_id))

        waiting = [one for one in found if not defects.settle(one, other(one.event_id))]
        unplaced = any((said := other(own)) is None or said.is_defect for own in faint if own not in taken)
        if unplaced or (waiting and not keep_unreviewed):
            left_out[LeftOut.OPEN] += 1
            return None
        defects.believe(waiting)
    known = tuple(sorted(defects.known, key=lambda one: (one.box.edges, one.class_name)))
    return ReviewedImage(
        frame=frame.frame,
        reason=_reason(frame.items, known, found),
        items=tuple(sorted(str(item.first.item) for item, _ in frame.items)),
        defects=known,
        found=tuple(found),
        tracks=frozenset(one.event_id for one in found if one.event_id is not None),
    )


def _all_found(frame: ReviewedFrame, detections: Sequence[LineDetection]) -> list[LineDetection]:
    """Return what the line found in a frame: the rows of its detections, and what only an item's own row says."""
    found = list(detections)
    for _, row in frame.items:
        own = row.audited if row.own is None else (row.own,)
        found += [one for one in own if not any(one.box.shows_what(other.box) for other in found)]
    return sorted(found, key=lambda one: (one.box.edges, one.class_name))


class _Truth:
    """What is known of one image as answers are taken: its defects, and places of which somebody said what they are."""

    def __init__(self, frame: StoredFrame, found: Sequence[LineDetection]) -> None:
        self._frame = frame
        self._found = found
        self._settled: list[PixelBox] = []
        self.known: list[TrueDefect] = []
        self.is_whole = False  # an audit said what all of its defects are

    def take(self, item: SettledItem, row: ReviewedRow) -> bool:
        """Take what was said of one item; whether that tells where its defect is."""
        answer = item.first
        if row.own is not None:
            self._settled.append(row.own.box)
        if answer.boxes is not None:
            is_audit = row.item.kind is ItemKind.AUDIT
            boxes = [(box.class_name, PixelBox(box.x1, box.y1, box.x2, box.y2)) for box in answer.boxes]
            placed = [self._add(name, self._as_found(box)) for name, box in boxes]
            self.is_whole |= is_audit
            return all(placed) and (is_audit or not item.is_defect or bool(placed))
        if row.item.kind is ItemKind.AUDIT:
            for one in row.audited if item.is_defect else ():
                self._add(one.class_name, one.box)
            self.is_whole |= item.is_defect
            return item.is_defect
        if not item.is_defect:
            return True
        return row.own is not None and self._add(item.class_name or row.own.class_name, row.own.box)

    def settle(self, found: LineDetection, event: SettledItem | None) -> bool:
        """Whether a detection is settled: by a defect at its place, or what was said of its event or place."""
        if any(found.box.shows_what(one.box) for one in self.known):
            return True
        if event is not None:
            return not event.is_defect or self._add(event.class_name or found.class_name, found.box)
        return any(found.box.shows_what(box) for box in self._settled)

    def believe(self, found: Iterable[LineDetection]) -> None:
        """Take detections for defects that nobody reviewed."""
        for one in found:
            self._add(one.class_name, one.box, is_reviewed=False)

    def _as_found(self, box: PixelBox) -> PixelBox:
        """Return a box that was left as the line had found it with its outline, not the upright one around."""
        rotated = (one.box for one in self._found if one.box.outline is not None)
        return next((own for own in rotated if own.is_at(box)), box)

    def _add(self, class_name: str, box: PixelBox, *, is_reviewed: bool = True) -> bool:
        """Note a defect once; whether the image holds it."""
        cut = box.within(self._frame.width, self._frame.height)
        if cut is None:
            return False
        if any(cut.shows_what(one.box) and one.class_name == class_name for one in self.known):
            return True
        scores = [one.score for one in self._found if one.class_name == class_name and one.box.shows_what(cut)]
        self.known.append(TrueDefect(class_name, cut, max(scores, default=None), is_reviewed))
        return True


def _reason(
    items: Collection[tuple[SettledItem, ReviewedRow]], known: Sequence[TrueDefect], found: Sequence[LineDetection]
) -> Reason:
    return min((_reason_of(item, row, known, found) for item, row in items), key=RANK.__getitem__)


def _reason_of(
    item: SettledItem, row: ReviewedRow, known: Sequence[TrueDefect], found: Sequence[LineDetection]
) -> Reason:
    match row.item.kind:
        case ItemKind.AUDIT:
            return _reason_of_audit(known, found)
        case ItemKind.NEAR_MISS:
            return Reason.MISSED if item.is_defect else Reason.CLEAN
    if not item.is_defect:
        return Reason.OVERRULED
    is_as_found = item.first.boxes is None and item.first.class_name in {None, item.first.call.class_name}
    return Reason.CONFIRMED if is_as_found else Reason.CORRECTED


def _reason_of_audit(known: Sequence[TrueDefect], found: Sequence[LineDetection]) -> Reason:
    if any(not any(one.box.shows_what(other.box) for other in found) for one in known):
        return Reason.MISSED
    if any(not any(one.box.shows_what(other.box) for other in known) for one in found):
        return Reason.OVERRULED
    return Reason.CONFIRMED if known else Reason.CLEAN
