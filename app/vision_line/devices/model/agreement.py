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

from vision_line.devices.model.heads import (
    BOX_ROWS,
    HeadDecoder,
    HeadKind,
    HeadOutput,
    Output,
    SegmentOutput,
    class_floors,
    corners_of,
    ordered,
    split_rows,
)
from vision_line.devices.model.masks import COEFFICIENTS, Coefficients, sampled_logits
from vision_line.devices.model.rotated_boxes import overlaps as rotated_overlaps
from vision_line.devices.model.tasks import ModelTask
from vision_line.errors import RunError
from vision_line.frames import Boxes, ClassIds, Scores

#: Places of each image that a reference keeps, those with the best scores, however low these are.
PLACES = 32
#: Lowest score of a reference's detections.
FLOOR = 0.25

#: Points along each side of a place's box at which its mask is kept.
MASK_SIDE = 6
#: Masks are kept as whole numbers -127..127 of this many each: a mask's edge is where they change their sign.
MASK_STEP = 1 / 8
#: Points along each side of the input at which prototypes are kept.
PROTOTYPE_SIDE = 4

#: Prototypes are kept up to here, which float16 can hold.
_MOST_PROTOTYPE = 60_000.0
#: What masks vary at least, before the sigmoid: where they vary less, that much is what differences are a share of.
_LEAST_MASK_VARIANCE = 0.25
#: Prototypes that vary less than this share of what they are say the same everywhere.
_LEAST_PROTOTYPE_VARIANCE = 1e-6

#: Places that a place may have changed with in an engine that is right: of one object, and with scores as good as its.
_LIKELY = 4

#: Scores are cut here before logits are taken: what lies beyond is the same to anyone.
_LEAST_SCORE = 1e-6
#: Below this score a place holds nothing that a float16 engine could tell from zero.
_LEAST_TELLING_SCORE = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What a right engine makes of a proof's images.

    `places` (images, k, 6): x1, y1, x2, y2 in input pixels, score, class; the k places with the best scores before
    overlaps are suppressed; of rotated boxes (images, k, 7): centre, width, height, angle, score, class. `detections`
    (m, 7 or 8): number of the image, then the same, of what the head decodes to above `FLOOR`. Places prove models that
    find nothing, detections prove what the user gets. `masks` int8 (images, k, 36): the places' masks at 6 x 6 points
    of their boxes, before the sigmoid, in steps of `MASK_STEP`. `prototypes` float16 (images, 32, 16): what these are
    made of, at 4 x 4 points of the input. None: the model has no masks.
    """

    places: NDArray[np.float32]
    detections: NDArray[np.float32]
    masks: NDArray[np.int8] | None = None
    prototypes: NDArray[np.float16] | None = None


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a right engine may be from its reference; the defaults are those of integers on a processor."""

    overlap: float = 0.7
    """Least intersection over union of two boxes that are the same."""
    score: float = 0.12
    """Largest difference of two scores that are the same."""
    logit: float = 0.8
    """Largest difference of their logits: what says something of scores near 0."""
    mask: float = 0.8
    """Least share of a mask that is the same: of its points, which count as much as they are away from its edge."""
    shape: float = 0.4
    """Most that masks of the same places, before the sigmoid, differ in shape: see `DetectionAgreement.worst_shape`."""
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
    worst_shape: float = 0.0
    """How far masks, or else prototypes, are from what they should be, as a share of how these vary.

    0: they are the same; 1: they are as good as the same everywhere, or twice as steep; 2: they show other things.
    """

    def __str__(self) -> str:
        shapes = f", shapes of masks by {self.worst_shape:.2f}" if self.worst_shape else ""
        return (
            f"{self.same_places} of {self.places} places and {self.same_detections} of {self.expected} detections are "
            f"the same, {self.found} were found, scores differ by up to {self.worst_score:.2f}{shapes}"
        )


def place_columns(kind: HeadKind) -> int:
    """Return how many numbers a reference keeps of a place: its box, score and class."""
    return 7 if kind.task is ModelTask.OBB else 6


def reference_of(kind: HeadKind, classes: int, nms_iou: float, outputs: Sequence[HeadOutput]) -> Reference:
    """Return what is kept of the right outputs, one an image.

    Raises:
        RunError: an output holds no numbers.
    """
    kept = [_best_places(*_places(kind, classes, output)) for output in outputs]
    places = np.stack([best for best, _ in kept]).astype(np.float32)
    detections = _detections(kind, classes, nms_iou, outputs, FLOOR)
    masks = [
        _kept_masks(best, _coefficients(kind, output.places)[rows], output)
        for (best, rows), output in zip(kept, outputs, strict=True)
        if isinstance(output, SegmentOutput)
    ]
    if not masks:
        return Reference(places, detections)
    return Reference(places, detections, np.stack(masks), _kept_prototypes(outputs).astype(np.float16))


def compare(
    reference: Reference,
    kind: HeadKind,
    classes: int,
    nms_iou: float,
    outputs: Sequence[HeadOutput],
    tolerance: Tolerance,
) -> DetectionAgreement:
    """Compare the outputs of an engine, one an image; one that holds no numbers agrees in nothing."""
    try:
        found = _detections(kind, classes, nms_iou, outputs, FLOOR - tolerance.score)
        pairs = [
            _differences(places, *_places(kind, classes, output), tolerance.overlap)
            for places, output in zip(reference.places, outputs, strict=True)
        ]
        masks = [
            _found_masks(reference, number, kind, classes, output, tolerance)
            for number, output in enumerate(outputs)
            if isinstance(output, SegmentOutput)
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
    same = (scores <= tolerance.score) & (logits <= tolerance.logit)
    if masks and reference.masks is not None:
        there, shown = (np.stack(parts) for parts in zip(*masks, strict=True))
        alike = there & (_alike(reference.masks, shown) >= tolerance.mask)
        shape = _mask_difference(reference.masks[there], shown[there])
        if reference.prototypes is not None:
            shape = max(shape, _prototype_difference(reference.prototypes, _kept_prototypes(outputs)))
        return _compared(reference, found, scores, same & alike.ravel(), tolerance, shape)
    return _compared(reference, found, scores, same, tolerance)


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
    if reference.masks is not None and _have_same_masks(reference.masks, tolerance):
        return "its places have the same masks"
    return "" if reference.masks is None else _weakness_of_prototypes(reference.prototypes)


def _have_same_masks(masks: NDArray[np.int8], tolerance: Tolerance) -> bool:
    """Whether an engine that gave each place the mask of the one behind it might pass."""
    ones, others = masks[:, :-1], masks[:, 1:].astype(np.float32)
    is_like = _alike(ones, others).mean() > tolerance.share
    return bool(is_like and _mask_difference(ones, others) <= tolerance.shape)


def _weakness_of_prototypes(prototypes: NDArray[np.float16] | None) -> str:
    """Say why masks that are the same everywhere, and fill boxes as right ones do, could not be told from these."""
    if prototypes is None:
        return "it has no prototypes"
    values = prototypes.astype(np.float32)
    if _variation(_each(values)) <= _LEAST_PROTOTYPE_VARIANCE * np.square(values).sum():
        return "its prototypes are the same everywhere"
    return ""


def _compared(
    reference: Reference,
    found: NDArray[np.float32],
    scores: NDArray[np.float32],
    same_place: NDArray[np.bool_],
    tolerance: Tolerance,
    worst_shape: float = 0.0,
) -> DetectionAgreement:
    """Count; `found` goes down below the floor, since a score just above it may lie just below it in a right engine."""
    same_places = int(same_place.sum())
    expected = len(reference.detections)
    paired = _paired(reference.detections, found, tolerance)
    same = int(paired.sum())
    invented = int((found[~paired, -2] > FLOOR + tolerance.score).sum())
    forgiven = max(1.0, expected * (1.0 - tolerance.share))
    are_places_same = same_places >= tolerance.share * scores.size
    return DetectionAgreement(
        places=scores.size,
        same_places=same_places,
        expected=expected,
        found=int((found[:, -2] > FLOOR).sum()),
        same_detections=same,
        invented=invented,
        worst_score=float(scores.max(initial=0.0)),
        holds=are_places_same and max(expected - same, invented) <= forgiven and worst_shape <= tolerance.shape,
        worst_shape=worst_shape,
    )


def _differences(
    wanted: NDArray[np.float32], boxes: Boxes, scores: NDArray[np.float32], overlap: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return how far each of the `wanted` places (k, 6 or 7) is from what was found: (k,) in scores, (k,) in logits.

    Engines hand back their places in any order and number, so a place is looked for by its box: of all that overlap
    with it enough, the one with the nearest score of its class counts. A place that is nowhere is infinitely far.
    """
    found, logits = _distances(wanted, boxes, scores, overlap)
    nearest = logits.argmin(axis=1)
    rows = np.arange(len(wanted))
    distance = logits[rows, nearest]
    difference = np.where(np.isfinite(distance), np.abs(found[rows, nearest] - wanted[:, -2]), wanted[:, -2])
    return difference.astype(np.float32), distance


def _distances(
    wanted: NDArray[np.float32], boxes: Boxes, scores: NDArray[np.float32], overlap: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (k, n) what n places score for the class of each of the `wanted` ones, and how far that is in logits."""
    found = scores[:, wanted[:, -1].astype(int)].T
    logits = np.abs(_logit(found) - _logit(wanted[:, -2])[:, None])
    logits[_overlaps(wanted[:, :-2], boxes) < overlap] = np.inf
    return found, logits


def _found_masks(
    reference: Reference, number: int, kind: HeadKind, classes: int, output: SegmentOutput, tolerance: Tolerance
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Return for each place of an image whether something was found there (k,), and the mask (k, 36) most like its own.

    Masks are those of a reference. Of one object many places tell, whose scores may be as good as the same, and each
    has coefficients of its own: so it is looked for among the few that come nearest.
    """
    wanted = reference.places[number]
    there, shown = np.zeros(len(wanted), bool), np.zeros((len(wanted), MASK_SIDE**2), np.float32)
    if reference.masks is None:
        return there, shown
    found, logits = _distances(wanted, *_places(kind, classes, output), tolerance.overlap)
    could_be = (np.abs(found - wanted[:, -2:-1]) <= tolerance.score) & (logits <= tolerance.logit)
    nearest = np.argsort(np.where(could_be, logits, np.inf), axis=1)[:, :_LIKELY]
    coefficients = _coefficients(kind, output.places)
    for row, place in enumerate(wanted):
        rows = nearest[row, could_be[row, nearest[row]]]
        if len(rows):
            masks = _in_steps(sampled_logits(place[:4], coefficients[rows], output.prototypes, MASK_SIDE))
            there[row], shown[row] = True, masks[_alike(reference.masks[number, row], masks).argmax()]
    return there, shown


def _mask_difference(wanted: NDArray[np.int8], found: NDArray[np.float32]) -> float:
    """Return how far the shapes of masks (n, 36) are apart, as a share of how the `wanted` ones vary within a box."""
    values = wanted.astype(np.float32)
    least = values.size * _LEAST_MASK_VARIANCE / MASK_STEP**2
    return _variation(found - values) / max(_variation(values), least, 1.0)


def _prototype_difference(wanted: NDArray[np.float16], found: NDArray[np.float32]) -> float:
    """Return the same of prototypes (images, 32, 16), each of which is one over all images."""
    values = wanted.astype(np.float32)
    return _variation(_each(found - values)) / max(_variation(_each(values)), float(np.finfo(np.float32).tiny))


def _each(prototypes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return prototypes (images, 32, 16) one by one: (32, images * 16)."""
    return np.moveaxis(prototypes, 1, 0).reshape(prototypes.shape[1], -1)


def _variation(values: NDArray[np.floating]) -> float:
    """Return the sum of squares of how far each row's values are from their mean."""
    return float(np.square(values - values.mean(axis=-1, keepdims=True)).sum())


def _alike(wanted: NDArray[np.int8], found: NDArray[np.int8] | NDArray[np.float32]) -> NDArray[np.float32]:
    """Return which share of the `wanted` masks (..., 36) is the same in `found`, points at the edge counting little."""
    weight = np.abs(wanted.astype(np.float32))
    agree = np.where((wanted > 0) == (found > 0), weight, np.float32(0)).sum(axis=-1)
    whole = np.broadcast_to(weight.sum(axis=-1), agree.shape)
    share: NDArray[np.float32] = np.divide(agree, whole, out=np.ones_like(agree), where=whole > 0)
    return share


def _kept_masks(places: NDArray[np.float32], coefficients: Coefficients, output: SegmentOutput) -> NDArray[np.int8]:
    """Return the masks (k, 36) of an image's places (k, 6) as a reference keeps them."""
    logits = [
        sampled_logits(place[:4], own[None], output.prototypes, MASK_SIDE)[0]
        for place, own in zip(places, coefficients, strict=True)
    ]
    return _in_steps(np.stack(logits)).astype(np.int8)


def _in_steps(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    steps: NDArray[np.float32] = np.clip(np.rint(logits / MASK_STEP), -127, 127)
    return steps


def _kept_prototypes(outputs: Sequence[HeadOutput]) -> NDArray[np.float32]:
    """Return the prototypes (images, 32, 16) of a segmentation model's outputs at points spread over the input."""
    found = []
    for output in outputs:
        if isinstance(output, SegmentOutput):
            rows, columns = (
                (np.arange(PROTOTYPE_SIDE) * 2 + 1) * side // (2 * PROTOTYPE_SIDE)
                for side in output.prototypes.shape[1:]
            )
            found.append(output.prototypes[:, rows[:, None], columns].reshape(len(output.prototypes), -1))
    return np.clip(np.stack(found), -_MOST_PROTOTYPE, _MOST_PROTOTYPE).astype(np.float32)


def _coefficients(kind: HeadKind, places: Output) -> Coefficients:
    """Return the masks' coefficients (n, 32) of all places."""
    return places[:, -COEFFICIENTS:] if kind.is_end2end else places[-COEFFICIENTS:].T


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
    kind: HeadKind, classes: int, nms_iou: float, outputs: Sequence[HeadOutput], floor: float
) -> NDArray[np.float32]:
    """Return what the heads decode to above `floor`, (n, 7 or 8): number of the image, box, score, class."""
    head = HeadDecoder(kind, class_floors(classes, floor), nms_iou)
    rows = [np.empty((0, 1 + place_columns(kind)), np.float32)]
    for number, output in enumerate(outputs):
        boxes, score, class_id = _decoded(head, output)
        image = np.full(len(score), number, np.float32)
        rows.append(np.column_stack([image, boxes, score, class_id]).astype(np.float32))
    return np.concatenate(rows)


def _decoded(head: HeadDecoder, output: HeadOutput) -> tuple[NDArray[np.float32], Scores, ClassIds]:
    if isinstance(output, SegmentOutput):
        found, _ = head.decode_segments(output.places)
        return found.xyxy, found.score, found.class_id
    if head.kind.task is ModelTask.OBB:
        return head.decode_rotated(output)
    found = head.decode(output)
    return found.xyxy, found.score, found.class_id


def _places(kind: HeadKind, classes: int, output: HeadOutput) -> tuple[Boxes, NDArray[np.float32]]:
    """Return the boxes (n, 4) of all places as corners, rotated ones (n, 5) as they are; and their scores (n, classes).

    Raises:
        RunError: not numbers.
    """
    if not all(np.isfinite(part).all() for part in (output if isinstance(output, SegmentOutput) else (output,))):
        raise RunError("the engine returned scores, boxes or classes that are not numbers")
    if isinstance(output, SegmentOutput):
        output = output.places[:, :-COEFFICIENTS] if kind.is_end2end else output.places[:-COEFFICIENTS]
    if kind is HeadKind.END2END_OBB:
        rows = output[:, [0, 1, 2, 3, 6, 4, 5]]
        rows[:, 2:4] = np.abs(rows[:, 2:4])
        return _listed(rows, classes)
    if kind is HeadKind.YOLOV8_OBB:
        boxes = output[[0, 1, 2, 3, -1]].T
        boxes[:, 2:4] = np.abs(boxes[:, 2:4])
        return boxes, output[BOX_ROWS:-1].T
    if kind.is_end2end:
        return _listed(np.concatenate([ordered(output[:, :4]), output[:, 4:]], axis=1), classes)
    boxes = corners_of(output[:BOX_ROWS])
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


def _best_places(boxes: Boxes, scores: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Return the places with the best scores, and which of all they are."""
    best = scores.max(axis=1)
    rows = np.argsort(-best, kind="stable")[:PLACES]
    return np.column_stack([boxes[rows], best[rows], scores[rows].argmax(axis=1)]), rows


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
