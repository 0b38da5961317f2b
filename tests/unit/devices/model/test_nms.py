# SPDX-License-Identifier: AGPL-3.0-or-later
"""The suppression gives what the plain greedy loop gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.devices.model.heads import BLOCK, suppress
from vision_line.frames import Boxes, ClassIds, Scores

#: No ratio of two areas comes near enough for rounding to decide, or it is exact.
LIMITS = (0.0990195136, 0.4142135624, 0.5, 0.7071067812)


def _greedy(xyxy: Boxes, score: Scores, class_id: ClassIds, iou: float, limit: int) -> list[int]:
    """Suppress with two loops, as the books have it."""
    kept: list[int] = []
    for row in sorted(range(len(score)), key=lambda row: (-score[row], row)):
        if all(class_id[row] != class_id[other] or not _overlap(xyxy[row], xyxy[other], iou) for other in kept):
            kept.append(row)
    ranks = [sum(class_id[row] == class_id[better] for better in kept[:at]) for at, row in enumerate(kept)]
    taken = sorted(range(len(kept)), key=lambda at: (ranks[at], at))[:limit]
    return [kept[at] for at in sorted(taken)]


def _overlap(a: Boxes, b: Boxes, iou: float) -> bool:
    width = max(np.float32(0), min(a[2], b[2]) - max(a[0], b[0]))
    height = max(np.float32(0), min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return bool(both > np.float32(iou) * union)


def _random_boxes(n: int, seed: int, spread: int, classes: int) -> tuple[Boxes, Scores, ClassIds]:
    random = np.random.default_rng(seed)
    corner = random.integers(0, spread, (n, 2))
    xyxy = np.concatenate([corner, corner + random.integers(1, 30, (n, 2))], axis=1).astype(np.float32)
    score = random.integers(1, 20, n).astype(np.float32) / np.float32(20)  # ties on purpose
    return xyxy, score.astype(np.float32), random.integers(0, classes, n).astype(np.int32)


@given(
    st.integers(1, 80),
    st.integers(0, 2**32),
    st.integers(1, 100),
    st.integers(1, 4),
    st.sampled_from(LIMITS),
    st.integers(1, 90),
)
def test_equal_to_the_plain_loop(n: int, seed: int, spread: int, classes: int, iou: float, limit: int) -> None:
    """Any boxes, ties and limits: the same rows in the same order."""
    boxes = _random_boxes(n, seed, spread, classes)

    assert suppress(*boxes, iou, limit).tolist() == _greedy(*boxes, iou, limit)


def test_a_block_may_be_covered_whole_by_those_before() -> None:
    """More boxes on one spot than a block holds: one is left."""
    n = 2 * BLOCK + 3
    xyxy = np.tile(np.array([[4, 4, 20, 20]], np.float32), (n, 1))

    kept = suppress(xyxy, np.linspace(1, 0.5, n, dtype=np.float32), np.zeros(n, np.int32), 0.5, 300)

    assert kept.tolist() == [0]


@pytest.mark.parametrize("limit", [5, 300, 5000])
def test_equal_to_the_plain_loop_beyond_one_block(limit: int) -> None:
    """Crowds larger than a block are suppressed across blocks too."""
    boxes = _random_boxes(3 * BLOCK + 17, 4, 300, 2)

    assert suppress(*boxes, 0.3, limit).tolist() == _greedy(*boxes, 0.3, limit)


@pytest.mark.parametrize("many", [200, 400, 3000])
def test_many_parts_hide_no_defect(many: int) -> None:
    """Parts that the model finds too, with better scores and more of them than are taken, push out no other class."""
    rng = np.random.default_rng(1)
    left = np.arange(many + 5, dtype=np.float32) * 12
    xyxy = np.stack([left, np.zeros_like(left), left + 10, np.full_like(left, 10)], axis=1)
    score = np.concatenate([rng.uniform(0.8, 0.9, many), np.full(5, 0.3)]).astype(np.float32)
    class_id = np.concatenate([np.zeros(many), np.ones(5)]).astype(np.int32)

    kept = suppress(xyxy, score, class_id, 0.5, 300)

    assert len(kept) == min(many + 5, 300)
    assert set(range(many, many + 5)) < set(kept.tolist())


def test_a_long_chain_alternates() -> None:
    """Each box overlaps the next: every other one survives, however long the chain."""
    left = np.arange(40, dtype=np.float32) * 4
    xyxy = np.stack([left, np.zeros_like(left), left + 10, np.full_like(left, 10)], axis=1)

    kept = suppress(xyxy, np.linspace(1, 0.5, 40, dtype=np.float32), np.zeros(40, np.int32), 0.4, 300)

    assert kept.tolist() == list(range(0, 40, 2))


def test_classes_do_not_meet_outside_the_image() -> None:
    """Boxes that reach beyond the left and the upper edge stay apart from another class's at the lower right."""
    xyxy = np.array([[440, 440, 640, 640], [-196, -196, 8, 8]], np.float32)

    kept = suppress(xyxy, np.array([0.9, 0.8], np.float32), np.array([0, 1], np.int32), 0.5, 300)

    assert kept.tolist() == [0, 1]


def test_classes_do_not_suppress_each_other() -> None:
    """The same box of two classes is two detections."""
    xyxy = np.array([[0, 0, 9, 9]] * 3, np.float32)

    kept = suppress(xyxy, np.array([0.5, 0.9, 0.7], np.float32), np.array([0, 1, 0], np.int32), 0.5, 300)

    assert kept.tolist() == [1, 2]


def test_a_box_beyond_all_images_brings_no_classes_together() -> None:
    """One wild box of another class, and two of a class that are far from each other."""
    xyxy = np.array([[0, 0, 10, 10], [300, 0, 310, 10], [0, 0, 1e13, 10]], np.float32)

    kept = suppress(xyxy, np.array([0.9, 0.8, 0.5], np.float32), np.array([1, 1, 0], np.int32), 0.5, 300)

    assert kept.tolist() == [0, 1, 2]
