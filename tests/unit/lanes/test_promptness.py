# SPDX-License-Identifier: AGPL-3.0-or-later
"""What waited while the process did nothing is never taken for new."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vision_line.lanes.promptness import ASLEEP_S, Promptness


def test_who_comes_by_in_time_is_prompt_and_who_was_late_is_again_from_the_next_time_on() -> None:
    made = Promptness(10.0)
    assert made.is_prompt(10.0)
    made.came_by(10.1)
    assert made.is_prompt(10.2)
    assert not made.is_prompt(10.2 + ASLEEP_S)
    made.came_by(10.5)
    assert not made.is_prompt(10.5)  # what came since 10.1 may be read only now
    made.came_by(10.501)
    assert not made.is_prompt(10.502)  # it may come by for another reason at once, and nothing was read between
    made.came_by(10.6)
    assert made.is_prompt(10.6)


@given(st.lists(st.floats(0.001, 1.0), min_size=1, max_size=20), st.floats(0.0, 1.0))
def test_the_loop_went_on_while_anything_waited_that_is_prompt(steps_s: list[float], later_s: float) -> None:
    """From the last time but one that it came by until now, no step took longer."""
    made, now_s = Promptness(10.0), 10.0
    for step_s in steps_s:
        now_s += step_s
        made.came_by(now_s)
    if made.is_prompt(now_s + later_s):
        assert max(steps_s[-1], later_s) <= ASLEEP_S + 1e-9
