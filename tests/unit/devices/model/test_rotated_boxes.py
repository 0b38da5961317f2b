# SPDX-License-Identifier: AGPL-3.0-or-later
"""Rotated boxes: corners and overlaps are Ultralytics' own, and the suppression is the plain greedy loop."""

from __future__ import annotations

from math import pi
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.devices.model.heads import HeadDecoder, HeadKind, class_floors
from vision_line.devices.model.rotated_boxes import (
    RotatedBoxes,
    boxes_of,
    hulls_of,
    outlines_of,
    overlaps,
    suppress_rotated,
)
from vision_line.devices.preprocessing.letterbox import Letterbox, in_frame
from vision_line.errors import RunError

torch = pytest.importorskip("torch", reason="needs Ultralytics: pip install '.[dev]'")

SEEDS = st.integers(0, 2**32)
CLASSES = 3


def drawn(n: int, seed: int) -> RotatedBoxes:
    """Return boxes of any angle, some of them as thin as lines."""
    random = np.random.default_rng(seed)
    sides = random.uniform(4, 80, (n, 2)) * random.choice([1.0, 0.01], (n, 2), p=[0.9, 0.1])
    return np.column_stack([random.uniform(0, 200, (n, 2)), sides, random.uniform(-4, 4, n)]).astype(np.float32)


def raw_output(n: int, seed: int) -> Any:
    """Return what a head of rotated boxes puts out, (4 + classes + 1, n)."""
    boxes = drawn(n, seed)
    scores = np.random.default_rng(seed + 1).uniform(0, 1, (CLASSES, n)).astype(np.float32)
    return np.concatenate([boxes[:, :4].T, scores, boxes[:, 4:].T])


@given(st.integers(1, 30), SEEDS)
def test_overlaps_are_those_that_ultralytics_trains_with(n: int, seed: int) -> None:
    """ProbIoU as its source defines it, to rounding."""
    from ultralytics.utils.metrics import batch_probiou

    boxes = drawn(n, seed)
    exact = torch.tensor(boxes, dtype=torch.float64)

    np.testing.assert_allclose(overlaps(boxes, boxes), batch_probiou(exact, exact).numpy(), atol=1e-9)


@given(st.integers(1, 30), SEEDS)
def test_corners_are_those_of_ultralytics(n: int, seed: int) -> None:
    """The same four points; back from them the box has the same place, and a hull that holds all of them."""
    from ultralytics.utils.ops import xywhr2xyxyxyxy

    boxes = drawn(n, seed)
    outlines = outlines_of(boxes)
    expected = xywhr2xyxyxyxy(torch.tensor(boxes)).numpy()  # type: ignore[no-untyped-call]
    hulls = hulls_of(outlines)

    np.testing.assert_allclose(outlines, expected[:, [2, 1, 0, 3]], atol=1e-3)
    np.testing.assert_allclose(outlines_of(boxes_of(outlines)), outlines, atol=1e-2)
    assert (hulls[:, None, :2] <= outlines).all()
    assert (outlines <= hulls[:, None, 2:]).all()


def _greedy(boxes: RotatedBoxes, score: Any, class_id: Any, iou: float, limit: int) -> list[int]:
    """Suppress with two loops, as the books have it."""
    kept: list[int] = []
    shared = overlaps(boxes, boxes)
    for row in sorted(range(len(score)), key=lambda row: (-score[row], row)):
        same = [other for other in kept if class_id[other] == class_id[row]]
        if len(same) < limit and all(shared[other, row] <= iou for other in same):
            kept.append(row)
    return kept


@given(st.integers(0, 300), SEEDS, st.sampled_from((0.1, 0.3, 0.7)), st.integers(1, 200))
def test_suppression_is_the_plain_loop(n: int, seed: int, iou: float, limit: int) -> None:
    """Over any number of blocks, with ties in scores."""
    boxes, random = drawn(n, seed), np.random.default_rng(seed)
    score = (random.integers(1, 20, n) / 20).astype(np.float32)
    class_id = random.integers(0, CLASSES, n).astype(np.int32)

    assert suppress_rotated(boxes, score, class_id, iou, limit).tolist() == _greedy(boxes, score, class_id, iou, limit)


@given(st.integers(7, 60), SEEDS)  # 6 columns it takes for another layout
def test_nothing_is_lost_that_ultralytics_finds(n: int, seed: int) -> None:
    """It drops boxes for others that it drops itself; what it keeps is found here too, with its score and place."""
    from ultralytics.utils.nms import non_max_suppression

    output = raw_output(n, seed)
    exact = torch.tensor(output[None], dtype=torch.float64)
    (theirs,) = non_max_suppression(exact, 0.25, 0.5, nc=CLASSES, rotated=True)
    boxes, score, class_id = HeadDecoder(HeadKind.YOLOV8_OBB, class_floors(CLASSES, 0.25), 0.5).decode_rotated(output)
    found = set(map(tuple, np.column_stack([boxes[:, :4], score, class_id, boxes[:, 4]]).tolist()))

    assert set(map(tuple, theirs.tolist())) <= found


def test_a_box_that_only_a_lost_one_covers_stays() -> None:
    """A over B over C, and A not over C: C is a defect of its own."""
    boxes = np.array([[0, 0, 40, 10, 0.3], [12, 4, 40, 10, 0.3], [24, 8, 40, 10, 0.3]], np.float32)
    shared = overlaps(boxes, boxes)
    score, class_id = np.array([0.9, 0.8, 0.7], np.float32), np.zeros(3, np.int32)

    assert shared[0, 1] > 0.4 > shared[0, 2]
    assert suppress_rotated(boxes, score, class_id, 0.4, 300).tolist() == [0, 2]


@pytest.mark.parametrize("kind", [HeadKind.YOLOV8_OBB, HeadKind.END2END_OBB])
def test_both_layouts_give_the_same_boxes(kind: HeadKind) -> None:
    """One box a row with its class, or a column with all scores; below the floor and without extent it is none."""
    rows = np.array(
        [
            [50, 40, 30, 10, 0.9, 1, pi / 6],
            [90, 40, 30, 10, 0.2, 1, 0],
            [20, 20, 0, 9, 0.9, 2, 0],
            [9, 9, 5, -4, 0.9, 0, 0],  # its edges are the wrong way round
        ],
        np.float32,
    )
    output = rows
    if kind is HeadKind.YOLOV8_OBB:
        scores = np.zeros((CLASSES, len(rows)), np.float32)
        scores[rows[:, 5].astype(int), np.arange(len(rows))] = rows[:, 4]
        output = np.concatenate([rows[:, :4].T, scores, rows[:, 6:].T])
    found = HeadDecoder(kind, class_floors(CLASSES, 0.25), 0.7).decode(output)

    assert (found.score.tolist(), found.class_id.tolist()) == (pytest.approx([0.9, 0.9]), [1, 0])
    assert found.outlines is not None
    np.testing.assert_allclose(found.xyxy[1], [6.5, 7, 11.5, 11])
    np.testing.assert_allclose(boxes_of(found.outlines)[0], rows[0, [0, 1, 2, 3, 6]], rtol=1e-5)
    half_wh = 15 * np.cos(pi / 6) + 5 * np.sin(pi / 6), 15 * np.sin(pi / 6) + 5 * np.cos(pi / 6)
    np.testing.assert_allclose(found.xyxy[0], [50 - half_wh[0], 40 - half_wh[1], 50 + half_wh[0], 40 + half_wh[1]])


@pytest.mark.parametrize("kind", [HeadKind.YOLOV8_OBB, HeadKind.END2END_OBB])
def test_an_angle_that_is_no_number_is_refused(kind: HeadKind) -> None:
    """A broken engine must not be taken for a good part."""
    row = np.array([[50, 40, 30, 10, 0.9, 0, np.nan]], np.float32)
    output = row if kind is HeadKind.END2END_OBB else row[:, [0, 1, 2, 3, 4, 6]].T

    with pytest.raises(RunError, match="not numbers"):
        HeadDecoder(kind, class_floors(1, 0.25), 0.7).decode(output)


def test_corners_come_back_to_the_frame() -> None:
    """Beyond its edge too: the upright box around them is cut there, the corners are not."""
    box = Letterbox((400, 200), (320, 320))
    rows = np.array([[4, 160, 40, 8, 0.9, 0, pi / 4]], np.float32)
    found = in_frame(HeadDecoder(HeadKind.END2END_OBB, class_floors(1, 0.25), 0.7).decode(rows), box)

    assert found.outlines is not None
    np.testing.assert_allclose(found.outlines[0].mean(axis=0), [5, 100], atol=0.01)
    np.testing.assert_allclose(boxes_of(found.outlines)[0, 2:], [50, 10, pi / 4], rtol=1e-4)
    assert found.outlines[0, :, 0].min() < 0
    assert found.xyxy[0, 0] == 0
    np.testing.assert_allclose(found.xyxy[0, 2], found.outlines[0, :, 0].max())
