# SPDX-License-Identifier: AGPL-3.0-or-later
"""How much two rotated boxes overlap."""

from __future__ import annotations

import pytest

from vision_line.records.outlines import is_rectangle, overlap_of, rectangle_around

SQUARE = (0.0, 0.0, 4.0, 0.0, 4.0, 4.0, 0.0, 4.0)
#: The same square, turned by 45 degrees around its centre.
TURNED = (2.0, 2 - 8**0.5, 2 + 8**0.5, 2.0, 2.0, 2 + 8**0.5, 2 - 8**0.5, 2.0)


@pytest.mark.parametrize(
    ("other", "overlap"),
    [
        (SQUARE, 1.0),
        (TURNED, 0.5**0.5),
        ((2.0, 0.0, 6.0, 0.0, 6.0, 4.0, 2.0, 4.0), 1 / 3),
        ((1.0, 1.0, 3.0, 1.0, 3.0, 3.0, 1.0, 3.0), 1 / 4),
        ((4.0, 0.0, 8.0, 0.0, 8.0, 4.0, 4.0, 4.0), 0.0),
        ((9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0), 0.0),
    ],
)
def test_overlaps_are_of_what_the_corners_enclose(other: tuple[float, ...], overlap: float) -> None:
    """Whichever corner is first, whichever way they go around, and whichever box is asked."""
    backwards = tuple(value for n in range(6, -1, -2) for value in other[n : n + 2])
    for seen in (other, (*other[2:], *other[:2]), backwards):
        assert overlap_of(SQUARE, seen) == pytest.approx(overlap)
        assert overlap_of(seen, SQUARE) == pytest.approx(overlap)


def test_boxes_without_extent_overlap_nothing() -> None:
    assert overlap_of((1.0,) * 8, (1.0,) * 8) == 0.0


def test_polygons_around_masks_overlap_by_what_they_enclose() -> None:
    """Also where they are not convex: what lies in a bay of one is not shared."""
    horseshoe = (0.0, 0.0, 30.0, 0.0, 30.0, 30.0, 20.0, 30.0, 20.0, 10.0, 10.0, 10.0, 10.0, 30.0, 0.0, 30.0)
    bay = (11.0, 12.0, 19.0, 12.0, 19.0, 30.0, 11.0, 30.0)
    whole = (0.0, 0.0, 30.0, 0.0, 30.0, 30.0, 0.0, 30.0)

    assert overlap_of(horseshoe, horseshoe) == 1
    assert overlap_of(horseshoe, bay) < 0.02
    assert overlap_of(horseshoe, whole) == pytest.approx(7 / 9, abs=0.02)
    assert overlap_of(whole, horseshoe) == overlap_of(horseshoe, whole)
    assert overlap_of(horseshoe, tuple(value + 30 for value in horseshoe)) == 0, "they touch at a corner"
    assert not is_rectangle(horseshoe)
    assert is_rectangle(rectangle_around(horseshoe))
    assert rectangle_around(bay) == bay
