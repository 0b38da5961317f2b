# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which box a name and a number are of."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vision_line.config.table_values import NAME
from vision_line.desk.boxes import PresentBoxes, box_of, name_in_box, own_number, present_boxes, shown_of

NAMES = st.from_regex(NAME, fullmatch=True)


@given(NAMES, NAMES)
def test_no_name_holds_what_stands_between_box_and_camera(box: str, camera: str) -> None:
    assert (box_of(f"{box}:{camera}"), name_in_box(f"{box}:{camera}")) == (box, camera)
    assert (box_of(camera), name_in_box(camera)) == ("", camera)


@given(st.integers(1, 8000), st.integers(1, 2**40 - 1))
def test_a_number_says_its_box(box: int, number: int) -> None:
    """A box's own desk has small numbers, and no names of boxes."""
    found = PresentBoxes({box: "hall-1"}).of_number(box * 2**40 + number)
    assert (found, own_number(box * 2**40 + number), own_number(number)) == ("hall-1", number, number)


def test_what_is_about_a_box_is_so_within_alone() -> None:
    with shown_of(PresentBoxes({1: "hall-1"}, "hall-1")):
        assert present_boxes().asked == {"box": "hall-1"}
    assert not present_boxes().is_central
