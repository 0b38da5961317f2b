# SPDX-License-Identifier: AGPL-3.0-or-later
"""How many cameras a box inspects: the search, and what is asked of a run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vision_line.selftest.camera_count import CameraKind, is_kept, largest
from vision_line.selftest.device_under_test import LoadResult


@given(st.integers(0, 300), st.integers(1, 300), st.integers(1, 256))
def test_the_largest_number_that_holds_is_found(truth: int, guess: int, most: int) -> None:
    """From whatever guess, with few tries, none of them twice."""
    tried: list[int] = []

    def holds(number: int) -> bool:
        tried.append(number)
        return number <= truth

    assert largest(holds, guess, most) == min(truth, most)
    assert len(tried) == len(set(tried)) <= 18
    assert all(1 <= number <= most for number in tried)


def test_what_is_due_must_be_inspected_and_in_time() -> None:
    """One late result of a hundred is borne, and one that is missing; a run without results is none."""
    assert is_kept(LoadResult(1.0, 100, 99, (*[10.0] * 98, 900.0), ()), 180.0) is False  # 99th of 99
    assert is_kept(LoadResult(1.0, 100, 100, (*[10.0] * 99, 900.0), ()), 180.0)
    assert not is_kept(LoadResult(1.0, 100, 98, (10.0,) * 98, ()), 180.0)
    assert not is_kept(LoadResult(1.0, 0, 0, (), ()), 180.0)


def test_of_how_many_frames_one_is_inspected() -> None:
    """A whole number: what is measured is then said as it is."""
    kind = CameraKind((1920, 1080), 25.0, "h264", 5.0, 180.0)
    assert kind.inspect_every == 5
    assert CameraKind((1920, 1080), 25.0, "h264", 25.0, 180.0).inspect_every == 1
