# SPDX-License-Identifier: AGPL-3.0-or-later
"""A proof of masks that fill their boxes: what is above 0 everywhere has the right sign, and is wrong all the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from vision_line.devices.model.agreement import DetectionAgreement, Tolerance, compare, reference_of, weakness
from vision_line.devices.model.heads import HeadKind, HeadOutput, SegmentOutput
from vision_line.devices.model.masks import COEFFICIENTS
from vision_line.devices.model.proof import Proof, drawn_images, pack_proof, unpack_proof
from vision_line.errors import ModelError

IMAGES, PLACES = 3, 60
NMS_IOU = 0.7

Change = Callable[[SegmentOutput], SegmentOutput]


def outputs(seed: int = 0) -> list[SegmentOutput]:
    """Return what a right engine of one class gives: places, each with a mask above 0 in nearly all of its box."""
    found = []
    for number in range(IMAGES):
        rng = np.random.default_rng(100 * seed + number)
        centres = rng.uniform(20, 140, (2, PLACES))
        boxes = np.concatenate([centres, rng.uniform(16, 40, (2, PLACES))])
        scores = rng.uniform(0.05, 0.95, (1, PLACES))
        coefficients = rng.uniform(0.0, 0.6, (COEFFICIENTS, PLACES)) * (rng.random((COEFFICIENTS, PLACES)) < 0.3)
        prototypes = rng.uniform(-0.6, 2.4, (COEFFICIENTS, 40, 40)).astype(np.float32)
        found.append(SegmentOutput(np.concatenate([boxes, scores, coefficients]).astype(np.float32), prototypes))
    return found


def compared(right: list[SegmentOutput], found: list[SegmentOutput]) -> DetectionAgreement:
    """Compare two lists of outputs."""
    reference = reference_of(HeadKind.YOLOV8_SEG, 1, NMS_IOU, right)
    assert reference.masks is not None
    assert (reference.masks > 0).mean() > 0.9
    assert not weakness(reference)
    return compare(reference, HeadKind.YOLOV8_SEG, 1, NMS_IOU, found, Tolerance())


def with_places(output: SegmentOutput, coefficients: NDArray[np.float32] | float) -> SegmentOutput:
    """Return an output with other coefficients: (32, n), (32, 1), or one number."""
    places = output.places.copy()
    places[-COEFFICIENTS:] = coefficients
    return SegmentOutput(places, output.prototypes)


def rounded(output: SegmentOutput) -> SegmentOutput:
    """Return an output as integers of eight bits leave it."""
    step = np.abs(output.prototypes).max() / 127
    moved = np.rint(output.prototypes / step) * step
    noise = np.random.default_rng(9).normal(0, 0.03 * output.prototypes.std(), moved.shape)
    return SegmentOutput(output.places, (moved + noise).astype(np.float32))


def constant(output: SegmentOutput) -> SegmentOutput:
    """Return an output of which each prototype is its mean."""
    return output._replace(prototypes=np.broadcast_to(output.prototypes.mean((1, 2), keepdims=True), (32, 40, 40)))


DEAD: dict[str, Change] = {
    "each prototype its mean": constant,
    "all prototypes 1": lambda output: output._replace(prototypes=np.ones_like(output.prototypes)),
    "all prototypes 0": lambda output: output._replace(prototypes=np.zeros_like(output.prototypes)),
    "the same coefficients everywhere": lambda output: with_places(
        output, output.places[-COEFFICIENTS:].mean(axis=1, keepdims=True)
    ),
    "no coefficients": lambda output: with_places(output, 0.0),
    "mirrored": lambda output: output._replace(prototypes=output.prototypes[..., ::-1]),
}


def test_rounding_is_forgiven() -> None:
    """An engine of integers is right."""
    right = outputs()
    found = compared(right, [rounded(output) for output in right])

    assert found.holds
    assert 0 < found.worst_shape < 0.1


@pytest.mark.parametrize("change", DEAD.values(), ids=DEAD.keys())
def test_a_dead_mask_branch_fails(change: Change) -> None:
    """Boxes and scores are right, and masks fill their boxes as right ones do."""
    right = outputs()
    found = compared(right, [change(output) for output in right])

    assert found.same_detections == found.expected
    assert not found.holds


def test_prototypes_of_another_image_fail() -> None:
    """An engine that keeps those of the image before has masks of the right kind in the wrong places."""
    right = outputs()
    late = [one._replace(prototypes=other.prototypes) for one, other in zip(right, [right[-1], *right], strict=False)]

    assert not compared(right, late).holds


def test_a_file_gives_back_prototypes() -> None:
    """And the same bytes for the same proof."""
    reference = reference_of(HeadKind.YOLOV8_SEG, 1, NMS_IOU, outputs())
    packed = pack_proof(Proof(drawn_images(IMAGES, 64), {("qdq", (160, 160)): reference}))
    found = unpack_proof(packed).reference("qdq", (160, 160))

    assert found is not None
    assert found.prototypes is not None
    assert reference.prototypes is not None
    assert np.array_equal(found.prototypes, reference.prototypes)


def test_a_reference_whose_masks_are_dead_proves_nothing() -> None:
    """Any engine with the same boxes would pass, and one without prototypes too."""
    dead: list[HeadOutput] = [constant(output) for output in outputs()]
    reference = reference_of(HeadKind.YOLOV8_SEG, 1, NMS_IOU, dead)

    with pytest.raises(ModelError, match="proves nothing"):
        pack_proof(Proof(drawn_images(IMAGES, 64), {("qdq", (160, 160)): reference}))
