# SPDX-License-Identifier: AGPL-3.0-or-later
"""Parts that no trigger told of, by the numbers of those before and after."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vision_line.lanes.trigger_numbers import MOST_MISSED, number_step


@given(st.integers(0, (1 << 32) - 2 - MOST_MISSED) | st.integers(65_400, 65_600), st.integers(0, MOST_MISSED))
def test_a_counter_of_32_bits_misses_what_lies_between(last: int, missed: int) -> None:
    """Also across the number at which one of 16 bits would begin again."""
    step = number_step(last, last + missed + 1)

    assert (step.begins_anew, list(step.missed)) == (False, list(range(last + 1, last + missed + 1)))


@given(st.integers(1, 20), st.integers(0, 20))
def test_a_counter_of_16_bits_goes_on_at_0_or_1(before: int, after: int) -> None:
    """0 is no part's number for many, so none is missed by it."""
    step = number_step(65_536 - before, after)

    expected = [*range(65_537 - before, 65_536), *range(1, after)]
    assert (step.begins_anew, list(step.missed)) == (False, expected)


def test_any_other_step_back_begins_anew() -> None:
    """A PLC that was restarted counts from 0 or 1."""
    assert number_step(1000, 1).begins_anew
    assert number_step(70_000, 5).begins_anew
