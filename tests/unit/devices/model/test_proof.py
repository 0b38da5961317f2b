# SPDX-License-Identifier: AGPL-3.0-or-later
"""The proof's file, its inputs, and the comparison of outputs with a reference."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from vision_line.devices.model.agreement import (
    PLACES,
    DetectionAgreement,
    Reference,
    Tolerance,
    compare,
    reference_of,
    weakness,
)
from vision_line.devices.model.heads import HeadKind
from vision_line.devices.model.proof import MAX_PROOF_BYTES, Proof, drawn_images, pack_proof, shaped, unpack_proof
from vision_line.errors import ModelError

CLASSES, NMS_IOU = 3, 0.5
Outputs = list[NDArray[np.float32]]


def outputs(seed: int = 0, images: int = 3, places: int = 200, highest: float = 0.9) -> Outputs:
    """Return yolov8 outputs of random places, a few of them strong."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(images):
        centres, sizes = rng.uniform(20, 300, (2, places)), rng.uniform(10, 60, (2, places))
        scores = highest * rng.uniform(0, 1, (CLASSES, places)) ** 6
        made.append(np.concatenate([centres, sizes, scores]).astype(np.float32))
    return made


def reference(of: Outputs) -> Reference:
    """Return the reference of yolov8 outputs."""
    return reference_of(HeadKind.YOLOV8, CLASSES, NMS_IOU, of)


def compared(right: Outputs, found: Outputs) -> DetectionAgreement:
    """Compare with the usual tolerance."""
    return compare(reference(right), HeadKind.YOLOV8, CLASSES, NMS_IOU, found, Tolerance())


def logits_moved(of: Outputs, by: float, seed: int = 1) -> Outputs:
    """Return outputs whose scores moved by a normal `by` in logits, and boxes by 3 % of their size."""
    rng = np.random.default_rng(seed)
    moved = []
    for output in of:
        boxes, scores = output[:4].astype(np.float64), output[4:].astype(np.float64)
        boxes[:2] += rng.normal(0, 0.03, (2, boxes.shape[1])) * boxes[2:]
        odds = scores / (1 - scores) * np.exp(rng.normal(0, by, scores.shape))
        moved.append(np.concatenate([boxes, odds / (1 + odds)]).astype(np.float32))
    return moved


@pytest.mark.parametrize("highest", [0.9, 0.002])
def test_an_engine_agrees_with_itself_in_any_order(highest: float) -> None:
    """Engines hand places back as they like; a model that finds nothing is proven by its places."""
    right = outputs(highest=highest)
    shuffled = [output[:, np.random.default_rng(7).permutation(output.shape[1])] for output in right]

    found = compared(right, shuffled)
    assert found.holds
    assert found.same_places == found.places == 3 * PLACES
    assert found.same_detections == found.expected == found.found
    assert (found.expected > 0) is (highest > 0.25)


@pytest.mark.parametrize("highest", [0.9, 0.002])
def test_rounding_is_forgiven_and_wrong_scores_are_not(highest: float) -> None:
    """Right engines differ by some tenths of a logit; wrong ones by several."""
    right = outputs(highest=highest)

    assert compared(right, logits_moved(right, 0.1)).holds
    assert not compared(right, logits_moved(right, 3.0)).holds


def test_what_is_found_beyond_the_expected_counts_too() -> None:
    """An engine that adds detections is as wrong as one that loses them."""
    right = outputs(highest=0.2)
    invented = np.tile(np.array([[40], [40], [20], [20], [0.9], [0], [0]], np.float32), 5)
    invented[0] = np.arange(5) * 50 + 20

    more = [np.concatenate([output, invented], axis=1) for output in right]
    found = compared(right, more)
    assert found.same_places == found.places
    assert (found.expected, found.found, found.holds) == (0, 15, False)


def test_an_engine_without_numbers_agrees_in_nothing() -> None:
    """Not-a-number is no exception here: it is a wrong engine."""
    right = outputs()

    assert not compared(right, [np.full_like(output, np.nan) for output in right]).holds


def test_end_to_end_heads_are_compared_too() -> None:
    """Their rows have one class each."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 200, (2, 50, 2))
    rows = np.concatenate([corners, corners + 30, rng.uniform(0, 0.8, (2, 50, 1)), rng.integers(0, 3, (2, 50, 1))], 2)
    right = list(rows.astype(np.float32))
    wrong = [output.copy() for output in right]
    for output in wrong:
        output[:, 5] = (output[:, 5] + 1) % 3

    kept = reference_of(HeadKind.END2END, CLASSES, NMS_IOU, right)
    assert compare(kept, HeadKind.END2END, CLASSES, NMS_IOU, right, Tolerance()).holds
    assert not compare(kept, HeadKind.END2END, CLASSES, NMS_IOU, wrong, Tolerance()).holds


def test_a_reference_that_could_not_report_is_noticed() -> None:
    """One image, the same image twice, or no scores at all: nothing a wrong engine would fail."""
    right = outputs()

    assert not weakness(reference(right))
    assert weakness(reference(right[:1]))
    assert weakness(reference([right[0], right[0]]))
    assert weakness(reference([np.zeros_like(output) for output in right]))
    with pytest.raises(ModelError, match="qdq at 64x96 proves nothing"):
        pack_proof(Proof(drawn_images(2, 64), {("qdq", (64, 96)): reference([right[0], right[0]])}))


def test_a_file_gives_back_what_was_packed() -> None:
    """Bytes are the same for the same proof, so that a bundle can be made again."""
    kept = reference(outputs())
    proof = Proof(drawn_images(3, 64), {("qdq-s8-symmetric", (64, 96)): kept})
    packed = pack_proof(proof)

    found = unpack_proof(packed)
    assert packed == pack_proof(proof)
    assert len(packed) < MAX_PROOF_BYTES
    assert np.array_equal(found.images, proof.images)
    again = found.reference("qdq-s8-symmetric", (64, 96))
    assert again is not None
    assert np.array_equal(again.places, kept.places)
    assert np.array_equal(again.detections, kept.detections)
    assert found.reference("qdq-u8-7bit", (64, 96)) is None


def test_a_weak_reference_counts_as_none() -> None:
    """Whoever wrote it: nothing is proven by it."""
    right = outputs()
    proof = Proof(drawn_images(2, 64), {("fp32", (64, 96)): reference([right[0], right[0]])})

    assert proof.reference("fp32", (64, 96)) is None


def test_a_proof_that_is_too_large_is_refused() -> None:
    """It travels with every bundle."""
    noise = np.random.default_rng(0).integers(0, 256, (2, 300, 300, 3)).astype(np.uint8)

    with pytest.raises(ModelError, match="240000 bytes at most"):
        pack_proof(Proof(noise, {}))


@given(damage=st.integers(0, 2**32), cut=st.integers(0, 400))
@settings(deadline=None)
def test_a_damaged_file_is_refused_in_words(damage: int, cut: int) -> None:
    """Whatever is wrong with it, that is a ValueError and nothing else, or the damage is where nobody looks."""
    content = bytearray(pack_proof(Proof(drawn_images(2, 8), {("fp32", (64, 96)): reference(outputs())})))
    content[damage % len(content)] ^= 0x55

    with contextlib.suppress(ValueError):
        unpack_proof(bytes(content[: len(content) - cut]))


@given(
    images=hnp.arrays(np.uint8, st.tuples(st.integers(1, 2), st.integers(1, 9), st.integers(1, 9), st.just(3))),
    shape_hw=st.tuples(st.integers(1, 30), st.integers(1, 30)),
)
def test_an_image_serves_every_shape(images: NDArray[np.uint8], shape_hw: tuple[int, int]) -> None:
    """It is repeated, or cut."""
    inputs = shaped(images, shape_hw)
    _, height, width, _ = images.shape

    assert inputs.shape == (len(images), *shape_hw, 3)
    assert np.array_equal(inputs[:, -1, -1], images[:, (shape_hw[0] - 1) % height, (shape_hw[1] - 1) % width])


def test_drawn_images_are_always_the_same() -> None:
    """What a foreign model is proven by does not depend on chance."""
    drawn = drawn_images()

    assert drawn.shape == (4, 320, 320, 3)
    assert np.array_equal(drawn, drawn_images())
    assert len({image.tobytes() for image in drawn}) == 4
