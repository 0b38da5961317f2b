# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether an engine's outputs are those of the reference: the best places one by one, and what is detected. Pure.

Two right engines never agree bit for bit: sums are taken in another order, a value halfway between two integers is
rounded the other way, and both travel through the layers behind. docs/decisions/0009-proof-and-variants.md has what
that comes to, and how far away an engine is that computes wrongly; the tolerances lie between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vision_line.devices.model.heads import BOX_ROWS, HeadDecoder, HeadKind, class_floors, split_rows
from vision_line.devices.model.rotated_boxes import overlaps as rotated_overlaps
from vision_line.devices.model.tasks import ModelTask
from vision_line.errors import RunError
from vision_line.frames import Boxes, ClassIds, Scores

#: Places of each image that a reference keeps, those with the best scores, however low these are.
PLACES = 32
#: Lowest score of a reference's detections.
FLOOR = 0.25

#: Scores are cut here before logits are taken: what lies beyond is the same to anyone.
_LEAST_SCORE = 1e-6
#: Below this score a place holds nothing that a float16 engine could tell from zero.
_LEAST_TELLING_SCORE = 1e-5

Output = NDArray[np.float32]  # of one image, as `HeadDecoder` takes it


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What a right engine makes of a proof's images.

    `places` (images, k, 6): x1, y1, x2, y2 in input pixels, score, class; the k places with the best scores before
    overlaps are suppressed; of rotated boxes (images, k, 7): centre, width, height, angle, score, class. `detections`
    (m, 7 or 8): number of the image, then the same, of what the head decodes to above `FLOOR`. Places prove models that
    find nothing, detections prove what the user gets.
    """

    places: NDArray[np.float32]
    detections: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a right engine may be from its reference; the defaults are those of integers on a processor."""

    overlap: float = 0.7
    """Least intersection over union of two boxes that are the same."""
    score: float = 0.12
    """Largest difference of two scores that are the same."""
    logit: float = 0.8
    """Largest difference of their logits: what says something of scores near 0."""
    share: float = 0.95
    """Least share of places that must be the same, and of detections both ways; one detection is always forgiven."""


@dataclass(frozen=True, slots=True)
class DetectionAgreement:
    """The outcome: places and detections that were expected, that were found, and that are the same."""

    places: int
    same_places: int
    expected: int
    found: int
    same_detections: int
    invented: int
    """Detections well above `FLOOR` that were not expected."""
    worst_score: float
    """Largest difference of a place's score."""
    holds: bool

    def __str__(self) -> str:
        return (
            f"{self.same_places} of {self.places} places and {self.same_detections} of {self.expected} detections are "
            f"the same, {self.found} were found, scores differ by up to {self.worst_score:.2f}"
        )


def place_columns(kind: HeadKind) -> int:
    """Return how many numbers a reference keeps of a place: its box, score and class."""
    return 7 if kind.task is ModelTask.OBB else 6


def reference_of(kind: HeadKind, classes: int, nms_iou: float, outputs: Sequence[Output]) -> Reference:
    """Return what is kept of the right outputs, one an image.

    Raises:
        RunError: an output holds no numbers.
    """
    places = [_best_places(*_places(kind, classes, output)) for output in outputs]
    return Reference(np.stack(places).astype(np.float32), _detections(kind, classes, nms_iou, outputs, FLOOR))


def compare(
    reference: Reference, kind: HeadKind, classes: int, nms_iou: float, outputs: Sequence[Output], tolerance: Tolerance
) -> DetectionAgreement:
    """Compare the outputs of an engine, one an image; one that holds no numbers agrees in nothing."""
    try:
        found = _detections(kind, classes, nms_iou, outputs, FLOOR - tolerance.score)
        pairs = [
            _differences(places, *_places(kind, classes, output), tolerance.overlap)
            for places, output in zip(reference.places, outputs, strict=True)
        ]
    except RunError:
        return DetectionAgreement(
            places=_count(reference.places),
            same_places=0,
            expected=len(reference.detections),
            found=0,
            same_detections=0,
            invented=0,
            worst_score=1.0,
            holds=False,
        )
    scores, logits = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    return _compared(reference, found, scores, logits, tolerance)


def weakness(reference: Reference) -> str:
    """Say why `reference` cannot tell a right engine from a wrong one; "" where it can.

    An engine that made the same of every image must fail: each image's places differ from the next one's.
    """
    places = reference.places
    if len(places) < 2 or not places.size:
        return "expected two images or more"
    telling = int((places[..., -2] >= _LEAST_TELLING_SCORE).sum())
    if telling < 2 * len(places):
        return f"only {telling} places score {_LEAST_TELLING_SCORE} or more"
    tolerance = Tolerance()
    same = 0
    for wanted, other in zip(places, np.roll(places, 1, axis=0), strict=True):
        scores, logits = _differences(wanted, *_listed(other, 1 + int(places[..., -1].max())), tolerance.overlap)
        same += int(((scores <= tolerance.score) & (logits <= tolerance.logit)).sum())
    if same > _count(places) * tolerance.share:
        return "its images give the same places"
    return ""


def _compared(
    reference: Reference,
    found: NDArray[np.float32],
    scores: NDArray[np.float32],
    logits: NDArray[np.float32],
    tolerance: Tolerance,
) -> DetectionAgreement:
    """Count; `found` goes down below the floor, since a score just above it may lie just below it in a right engine."""
    same_places = int(((scores <= tolerance.score) & (logits <= tolerance.logit)).sum())
    expected = len(reference.detections)
    paired = _paired(reference.detections, found, tolerance)
    same = int(paired.sum())
    invented = int((found[~paired, -2] > FLOOR + tolerance.score).sum())
    forgiven = max(1.0, expected * (1.0 - tolerance.share))
    return DetectionAgreement(
        places=scores.size,
        same_places=same_places,
        expected=expected,
        found=int((found[:, -2] > FLOOR).sum()),
        same_detections=same,
        invented=invented,
        worst_score=float(scores.max(initial=0.0)),
        holds=same_places >= tolerance.share * scores.size and max(expected - same, invented) <= forgiven,
    )


def _differences(
    wanted: NDArray[np.float32], boxes: Boxes, scores: NDArray[np.float32], overlap: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return how far each of the `wanted` places (k, 6 or 7) is from what was found: (k,) in scores, (k,) in logits.

    Engines hand back their places in any order and number, so a place is looked for by its box: of all that overlap
    with it enough, the one with the nearest score of its class counts. A place that is nowhere is infinitely far.
    """
    class_id = wanted[:, -1].astype(int)
    found = scores[:, class_id].T  # (k, n)
    logits = np.abs(_logit(found) - _logit(wanted[:, -2])[:, None])
    logits[_overlaps(wanted[:, :-2], boxes) < overlap] = np.inf
    nearest = logits.argmin(axis=1)
    rows = np.arange(len(wanted))
    distance = logits[rows, nearest]
    difference = np.where(np.isfinite(distance), np.abs(found[rows, nearest] - wanted[:, -2]), wanted[:, -2])
    return difference.astype(np.float32), distance


def _paired(wanted: NDArray[np.float32], found: NDArray[np.float32], tolerance: Tolerance) -> NDArray[np.bool_]:
    """Return which of `found` (n, 7 or 8) have one of `wanted` for themselves: same image and class, box, score."""
    paired = np.zeros(len(found), bool)
    if not len(wanted) or not len(found):
        return paired
    alike = (wanted[:, None, 0] == found[:, 0]) & (wanted[:, None, -1] == found[:, -1])
    alike &= np.abs(wanted[:, None, -2] - found[:, -2]) <= tolerance.score
    overlaps = _overlaps(wanted[:, 1:-2], found[:, 1:-2])
    free = np.where(alike & (overlaps >= tolerance.overlap), overlaps, 0.0)
    while free.max() > 0.0:  # greedily, the best overlap first
        row, column = np.unravel_index(free.argmax(), free.shape)
        free[row, :] = free[:, column] = 0.0
        paired[column] = True
    return paired


def _detections(
    kind: HeadKind, classes: int, nms_iou: float, outputs: Sequence[Output], floor: float
) -> NDArray[np.float32]:
    """Return what the heads decode to above `floor`, (n, 7 or 8): number of the image, box, score, class."""
    head = HeadDecoder(kind, class_floors(classes, floor), nms_iou)
    rows = [np.empty((0, 1 + place_columns(kind)), np.float32)]
    for number, output in enumerate(outputs):
        boxes, score, class_id = _decoded(head, output)
        image = np.full(len(score), number, np.float32)
        rows.append(np.column_stack([image, boxes, score, class_id]).astype(np.float32))
    return np.concatenate(rows)


def _decoded(head: HeadDecoder, output: Output) -> tuple[NDArray[np.float32], Scores, ClassIds]:
    if head.kind.task is ModelTask.OBB:
        return head.decode_rotated(output)
    found = head.decode(output)
    return found.xyxy, found.score, found.class_id


def _places(kind: HeadKind, classes: int, output: Output) -> tuple[Boxes, NDArray[np.float32]]:
    """Return the boxes (n, 4) of all places as corners, rotated ones (n, 5) as they are; and their scores (n, classes).

    Raises:
        RunError: not numbers.
    """
    if not np.isfinite(output).all():
        raise RunError("the engine returned scores, boxes or classes that are not numbers")
    if kind is HeadKind.END2END_OBB:
        return _listed(output[:, [0, 1, 2, 3, 6, 4, 5]], classes)
    if kind is HeadKind.YOLOV8_OBB:
        return output[[0, 1, 2, 3, -1]].T, output[BOX_ROWS:-1].T
    if kind is HeadKind.END2END:
        return _listed(output, classes)
    centre, half = output[:2], output[2:4] / 2
    boxes = np.concatenate([centre - half, centre + half]).T
    scores, numbers = split_rows(output, classes)
    if numbers is None:
        return boxes, scores.T
    _, listed = _listed(np.column_stack([boxes, scores[0], numbers]), classes)
    # where nothing is found, the class that leads by a hair says nothing: right engines differ in it
    weak = scores[0] < FLOOR
    listed[weak] = scores[0, weak, None]
    return boxes, listed


def _listed(rows: NDArray[np.float32], classes: int) -> tuple[Boxes, NDArray[np.float32]]:
    """Return boxes and scores (n, classes) of rows (n, 6 or 7) that have a score for one class each."""
    scores = np.zeros((len(rows), classes), np.float32)
    scores[np.arange(len(rows)), np.clip(rows[:, -1].astype(int), 0, classes - 1)] = rows[:, -2]
    return rows[:, :-2], scores


def _best_places(boxes: Boxes, scores: NDArray[np.float32]) -> NDArray[np.float32]:
    best = scores.max(axis=1)
    rows = np.argsort(-best, kind="stable")[:PLACES]
    return np.column_stack([boxes[rows], best[rows], scores[rows].argmax(axis=1)])


def _overlaps(first: Boxes, second: Boxes) -> NDArray[np.float32]:
    """Return the overlaps (n, m) of boxes (n, 4) and (m, 4); 0 where a box is empty. Rotated ones (n, 5): ProbIoU."""
    if first.shape[1] == 5:
        return rotated_overlaps(first, second).astype(np.float32)
    corner = np.maximum(first[:, None, :2], second[None, :, :2])
    sides = np.minimum(first[:, None, 2:], second[None, :, 2:]) - corner
    shared = np.prod(np.maximum(sides, 0.0), axis=2)
    union = _area(first)[:, None] + _area(second)[None] - shared
    share: NDArray[np.float32] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0.0)
    return share


def _area(boxes: Boxes) -> NDArray[np.float32]:
    area: NDArray[np.float32] = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), axis=1)
    return area


def _logit(score: NDArray[np.float32]) -> NDArray[np.float32]:
    kept = np.clip(score.astype(np.float64), _LEAST_SCORE, 1.0 - _LEAST_SCORE)
    return np.log(kept / (1.0 - kept)).astype(np.float32)


def _count(places: NDArray[np.float32]) -> int:
    return int(np.prod(places.shape[:2]))
