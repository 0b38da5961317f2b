# SPDX-License-Identifier: AGPL-3.0-or-later
"""Masks: areas, centres and outlines are those of the shapes that prototypes show, cut at boxes and frames."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vision_line.devices.model.heads import HeadDecoder, HeadKind, SegmentOutput, class_floors
from vision_line.devices.model.masks import (
    COEFFICIENTS,
    FRAME_POINTS,
    MASK_STRIDE,
    MOST_CORNERS,
    Prototypes,
    edges_of,
    mask_at,
    masks_of,
    steps_of,
)
from vision_line.devices.preprocessing.letterbox import Letterbox, in_frame
from vision_line.errors import RunError
from vision_line.frames import Detections, MaskFigures, Outline

SHAPE = (160, 320)
WHOLE = np.array([[0, 0, 320, 160]], np.float32)


def prototypes_of(shape: NDArray[np.uint8]) -> Prototypes:
    """Return prototypes of which the first shows `shape` (h, w), 1 inside, -1 outside, smoothly."""
    small = cv2.resize(
        shape.astype(np.float32), None, fx=1 / MASK_STRIDE, fy=1 / MASK_STRIDE, interpolation=cv2.INTER_AREA
    )
    prototypes = np.random.default_rng(0).normal(size=(COEFFICIENTS, *small.shape)).astype(np.float32)
    prototypes[0] = 2 * small - 1
    return prototypes


def of_first(n: int = 1) -> NDArray[np.float32]:
    """Return coefficients that take the first prototype alone."""
    return np.eye(1, COEFFICIENTS, dtype=np.float32).repeat(n, axis=0)


def filled(outline: Outline | None) -> NDArray[np.bool_]:
    """Return which pixels of the input an outline encloses: those whose middle it does."""
    image = np.zeros(SHAPE, np.uint8)
    if outline is not None:
        points = np.array(outline, np.float64).reshape(-1, 1, 2) - 0.5
        cv2.fillPoly(image, [np.rint(points * 256).astype(np.int32)], 1, shift=8)
    return image.astype(bool)


def drawn(kind: str) -> NDArray[np.uint8]:
    """Return a shape in an image of the input's size."""
    image = np.zeros(SHAPE, np.uint8)
    if kind == "ellipse":
        cv2.ellipse(image, (150, 80), (90, 40), 25, 0, 360, 1, cv2.FILLED)
    if kind == "spot":
        cv2.circle(image, (101, 53), 7, 1, cv2.FILLED)
    if kind == "scratch":
        cv2.line(image, (30, 20), (280, 130), 1, 9)
    if kind == "star":
        turns = np.arange(10) * np.pi / 5
        radius = np.where(np.arange(10) % 2, 32, 70)
        corners = np.stack([160 + radius * np.sin(turns), 80 - radius * np.cos(turns)], axis=1)
        cv2.fillPoly(image, [corners.astype(np.int32)], 1)
    return image


@pytest.mark.parametrize(("kind", "least"), [("ellipse", 0.95), ("spot", 0.8), ("scratch", 0.85), ("star", 0.93)])
def test_area_centre_and_outline_are_those_of_the_shape(kind: str, least: float) -> None:
    """To what prototypes a quarter as large can tell."""
    shape = drawn(kind)
    masks = masks_of(WHOLE, of_first(), prototypes_of(shape))
    (area, *centre), outline = masks.figures[0].tolist(), masks.outlines[0]
    own = filled(outline)

    assert area == pytest.approx(shape.sum(), rel=0.12)
    np.testing.assert_allclose(centre, np.argwhere(shape).mean(axis=0)[::-1] + 0.5, atol=0.7)
    assert outline is not None
    assert 3 <= len(outline) // 2 <= MOST_CORNERS
    assert (own & (shape > 0)).sum() / (own | (shape > 0)).sum() >= least


def test_a_mask_is_cut_at_its_box_and_the_largest_part_has_the_outline() -> None:
    """The area is of all parts, and none of them lies outside."""
    shape = np.zeros(SHAPE, np.uint8)
    shape[40:120, 40:120] = shape[40:80, 200:240] = 1
    boxes = np.array([[0, 0, 320, 160], [60, 0, 320, 160], [0, 0, 100.5, 160], [130, 0, 190, 160]], np.float32)
    masks = masks_of(boxes, of_first(4), prototypes_of(shape))

    # a pixel at each corner is lost where it is interpolated
    assert masks.figures[:, 0].tolist() == pytest.approx([80 * 80 + 40 * 40, 60 * 80 + 40 * 40, 61 * 80, 0], abs=8)
    assert [None if one is None else (min(one[::2]), max(one[::2])) for one in masks.outlines] == [
        (40, 120),
        (60, 120),
        (40, 101),
        None,
    ]
    assert masks.figures[3, 1:].tolist() == [160, 80]  # of none, the middle of the box


@pytest.mark.parametrize("seed", range(4))
def test_outlines_of_noise_have_few_corners(seed: int) -> None:
    """However ragged a mask is, an outline is a polygon of at most so many."""
    noise = np.random.default_rng(seed).normal(size=(COEFFICIENTS, 40, 80)).astype(np.float32)
    for outline in masks_of(WHOLE.repeat(3, axis=0), np.eye(3, COEFFICIENTS, dtype=np.float32), noise).outlines:
        assert outline is not None
        assert 3 <= len(outline) // 2 <= MOST_CORNERS


def test_in_a_frame_areas_and_outlines_are_in_its_pixels() -> None:
    """Twice as large as the input's content, which has padding above and below."""
    box = Letterbox((640, 240), SHAPE)
    shape = np.zeros(SHAPE, np.uint8)
    shape[40:80, 80:120] = 1
    output = SegmentOutput(places([[100, 60, 44, 44]]), prototypes_of(shape))
    head = HeadDecoder(HeadKind.YOLOV8_SEG, class_floors(1, 0.5), 0.7)
    found = in_frame(head.decode(output), box)

    assert found.mask(0) == pytest.approx((80 * 80, 200, 80), abs=16)
    assert found.outline(0) is not None
    corners = np.array(found.outline(0)).reshape(-1, 2)
    assert (corners.min(axis=0).tolist(), corners.max(axis=0).tolist()) == ([160, 40], [240, 120])
    assert found[np.array([False])].masks.outlines == ()  # type: ignore[union-attr]


def places(boxes: list[list[float]]) -> NDArray[np.float32]:
    """Return the first output of a network of one class that finds `boxes`, centres and sizes."""
    rows = [np.concatenate([box, [0.9], of_first()[0]]) for box in boxes]
    return np.array(rows, np.float32).T


def test_what_is_no_number_is_an_error() -> None:
    """It is not above 0, and would look like a small defect or none."""
    prototypes = prototypes_of(drawn("spot"))
    prototypes[3, 13, 25] = np.nan
    with pytest.raises(RunError, match="not numbers"):
        masks_of(WHOLE, of_first() + np.float32(0.1), prototypes)


def test_end_to_end_places_have_the_same_masks() -> None:
    """The coefficients stand behind score and class there, and behind the class scores else."""
    prototypes = prototypes_of(drawn("star"))
    raw = places([[160, 80, 200, 150]])
    rows = np.concatenate([[[60, 5, 260, 155, 0.9, 0]], of_first()], axis=1).astype(np.float32)
    found = [
        HeadDecoder(kind, class_floors(1, 0.5), 0.7).decode(SegmentOutput(output, prototypes))
        for kind, output in ((HeadKind.YOLOV8_SEG, raw), (HeadKind.END2END_SEG, rows))
    ]

    assert found[0].outline(0) == found[1].outline(0) is not None
    assert found[0].mask(0) == found[1].mask(0)


LARGE = (640, 640)


def large_ellipse(middle: tuple[int, int], axes: tuple[int, int]) -> Prototypes:
    """Return prototypes of a larger input, of which the first shows an ellipse."""
    image = np.zeros(LARGE, np.uint8)
    cv2.ellipse(image, middle, axes, 30, 0, 360, 1, cv2.FILLED)
    return prototypes_of(image)


def among_large(box: NDArray[np.float32], others: int = 12) -> NDArray[np.float32]:
    """Return a box (1, 4) and behind it others as large as the input, (n, 4)."""
    return np.concatenate([box, np.array([[0, 0, *LARGE]] * others, np.float32).reshape(-1, 4)])


@pytest.mark.parametrize(("side", "step"), [(256, 1), (300, 2), (401, 2), (613, 4)])
def test_fewer_points_of_a_large_mask_come_to_the_same(side: int, step: int) -> None:
    """Area and middle as pixel by pixel, also where the box cuts the object; the outline within few pixels of it."""
    prototypes = large_ellipse((20 + side // 2, 15 + side // 2), (side * 5 // 8, side // 3))
    box = np.array([[19.3, 14.6, 19.3 + side, 14.6 + side]], np.float32)
    edges = edges_of(box[0].astype(np.float64), prototypes)
    left_top, mask = edges[:2], mask_at(edges, of_first()[0], prototypes, 1)
    inside = np.argwhere(mask)
    boxes = among_large(box)
    masks = masks_of(boxes, of_first(len(boxes)), prototypes)
    corners = np.array(masks.outlines[0]).reshape(-1, 2)
    enclosed = cv2.contourArea(corners.astype(np.float32))

    assert steps_of(np.ceil(box).astype(np.intp)).tolist() == [1]  # alone each has all of its pixels
    assert steps_of(np.ceil(boxes).astype(np.intp))[0] == step
    assert masks.figures[0, 0] == pytest.approx(len(inside), rel=0.005)
    np.testing.assert_allclose(masks.figures[0, 1:], inside.mean(axis=0)[::-1] + 0.5 + left_top, atol=0.3)
    assert enclosed == pytest.approx(len(inside), rel=0.03)
    assert (corners.min(axis=0) >= left_top).all()
    assert (corners.max(axis=0) <= left_top + mask.shape[::-1]).all()


@pytest.mark.parametrize("side", [250, 333, 640])
def test_a_large_mask_that_fills_its_box_is_as_large_as_it(side: int) -> None:
    """Points at the edges count as far as they lie within."""
    edges = np.array([[3, 2, 3 + side, 2 + side]], np.float32).clip(0, 640)
    boxes = among_large(edges)
    masks = masks_of(boxes, of_first(len(boxes)), np.ones((COEFFICIENTS, 160, 160), np.float32))
    left, top, right, bottom = edges[0].tolist()

    assert masks.figures[0].tolist() == [(right - left) * (bottom - top), (left + right) / 2, (top + bottom) / 2]
    assert masks.outlines[0] is not None
    assert sorted(zip(masks.outlines[0][::2], masks.outlines[0][1::2], strict=True)) == [
        (left, top),
        (left, bottom),
        (right, top),
        (right, bottom),
    ]


def squares(*sides: int) -> NDArray[np.intp]:
    """Return the edges of square boxes."""
    return np.array([[5, 5, 5 + side, 5 + side] for side in sides], np.intp)


def points_of(edges: NDArray[np.intp], steps: NDArray[np.intp]) -> int:
    """Return at how many points the masks of these boxes are computed."""
    computed = steps > 0
    across = (-(-edges[computed, 2:] // steps[computed, None])) - edges[computed, :2] // steps[computed, None]
    return int(across.prod(axis=1).sum())


@pytest.mark.parametrize(
    "sides", [[1280] * 300, [640] * 300, [100] * 300, [41] * 300, [640, 40, 200, 90] * 75, [4000], [3] * 300, []]
)
def test_the_masks_of_a_frame_are_computed_at_a_bounded_number_of_points(sides: list[int]) -> None:
    """However many there are, and however large."""
    edges = squares(*sides).reshape(-1, 4)

    assert points_of(edges, steps_of(edges)) <= FRAME_POINTS
    assert len(steps_of(edges)) == len(sides)


def test_in_a_crowd_large_masks_become_coarser_and_small_ones_do_not() -> None:
    """A small object has few points anyway, and would lose its shape."""
    few = steps_of(squares(200, 40))
    crowd = steps_of(squares(*[200] * 40, 40))

    assert few.tolist() == [1, 1]
    assert crowd.tolist() == [2] * 40 + [1]


def test_what_is_beyond_has_no_mask_and_keeps_its_box() -> None:
    """The best come first; a small one that fits behind has its mask. None is no mask without a pixel."""
    prototypes = large_ellipse((320, 320), (200, 100))
    sides = np.array([640.0] * 60 + [8.0], np.float32)
    boxes = np.stack([0 * sides, 0 * sides, sides, sides], axis=1)
    masks = masks_of(boxes, of_first(len(boxes)), prototypes)
    found = Detections(boxes, np.full(61, 0.9, np.float32), np.zeros(61, np.int32), masks=masks)
    known = [found.mask(row) is not None for row in range(61)]
    fit = known.index(False)

    assert 30 < fit < 60
    assert known == [True] * fit + [False] * (60 - fit) + [True]
    assert masks.left_out == 60 - fit
    assert found.outline(fit) is None
    assert found.mask(60) == MaskFigures(0, 4, 4)
    assert in_frame(found, Letterbox((640, 640), LARGE)).mask(fit) is None
