# SPDX-License-Identifier: AGPL-3.0-or-later
"""Boards are reproducible, and each defect is physically what its name says, in its size, in its box."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_line.simulator.artwork import Mask, draw_artwork
from vision_line.simulator.boards import BoardPlan, draw_board
from vision_line.simulator.defects import KINDS, LONGER_SIDE_PX, place_defect
from vision_line.simulator.layout import plan_layout

SIZE_WH = (280, 270)


def pieces(mask: Mask) -> int:
    """Count the connected pieces of a mask."""
    return int(cv2.connectedComponents(mask)[0]) - 1


def test_the_class_order_is_the_published_one() -> None:
    """Class numbers in labels, bundle and truth follow this order."""
    assert KINDS == ("open", "short", "mousebite", "spur", "copper", "pin-hole")


def test_the_same_plan_draws_the_same_pixels() -> None:
    """A board is a function of its plan."""
    plan = BoardPlan(11, SIZE_WH, ("open", "spur"))

    first, second = draw_board(plan), draw_board(plan)

    assert np.array_equal(first.pixels, second.pixels)
    assert first.defects == second.defects


def test_another_seed_draws_another_board() -> None:
    """Two seeds differ in more than noise."""
    first, second = (draw_board(BoardPlan(seed, SIZE_WH)).pixels.astype(int) for seed in (1, 2))

    assert np.abs(first - second).mean() > 5


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), kind=st.sampled_from(KINDS))
def test_a_defective_board_differs_from_its_good_counterpart_inside_the_boxes_only(seed: int, kind: str) -> None:
    """What is labelled is what was changed, all of it and nothing else."""
    good = draw_board(BoardPlan(seed, SIZE_WH))
    bad = draw_board(BoardPlan(seed, SIZE_WH, (kind,)))
    changed = np.abs(good.pixels.astype(int) - bad.pixels).max(axis=2)

    assert good.defects == ()
    assert len(bad.defects) == 1
    x0, y0, x1, y1 = (round(side) for side in bad.defects[0].xyxy)
    assert changed[max(y0, 0) : y1, max(x0, 0) : x1].max() > 25
    changed[max(y0, 0) : y1, max(x0, 0) : x1] = 0
    assert changed.max() <= 2


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31 - 1))
def test_defects_have_the_stated_size(seed: int) -> None:
    """The longer side of a box lies in the stated range; the board's tilt adds less than a pixel."""
    board = draw_board(BoardPlan(seed, SIZE_WH, KINDS))

    for defect in board.defects:
        assert LONGER_SIDE_PX[0] - 0.75 <= defect.longer_side_px <= LONGER_SIDE_PX[1] + 0.75


@pytest.mark.parametrize(
    ("kind", "copper_pieces", "holes"),
    [("open", 1, 0), ("short", -1, 0), ("mousebite", 0, 0), ("spur", 0, 0), ("copper", 1, 0), ("pin-hole", 0, 1)],
)
def test_a_defect_changes_the_circuit_as_its_name_says(kind: str, copper_pieces: int, holes: int) -> None:
    """An open makes one more piece of copper, a short one less, a pin-hole one more hole; the others neither."""
    seen = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        artwork = draw_artwork(plan_layout(rng, SIZE_WH))
        placed = place_defect(rng, artwork, artwork.copper, kind)
        if placed is None:
            continue
        seen += 1
        assert pieces(placed[1]) - pieces(artwork.copper) == copper_pieces
        # A short may close a ring, which makes a hole of another kind.
        if kind != "short":
            assert pieces(~placed[1]) - pieces(~artwork.copper) == holes
    assert seen >= 4


def test_many_defects_keep_apart() -> None:
    """No two defects of a board share a box."""
    defects = draw_board(BoardPlan(5, SIZE_WH, KINDS)).defects

    assert len(defects) == len(KINDS)
    for number, one in enumerate(defects):
        for other in defects[number + 1 :]:
            overlap = [
                min(one.xyxy[axis + 2], other.xyxy[axis + 2]) - max(one.xyxy[axis], other.xyxy[axis]) for axis in (0, 1)
            ]
            assert min(overlap) < 4
