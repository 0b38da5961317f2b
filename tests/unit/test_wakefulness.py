# SPDX-License-Identifier: AGPL-3.0-or-later
"""A break of ours is nobody else's silence."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from vision_line.wakefulness import Wakefulness


@given(st.lists(st.floats(0.0, 1.0), max_size=50))
def test_a_loop_that_comes_by_in_time_was_awake_all_along(steps_s: list[float]) -> None:
    """However irregularly it does."""
    wakefulness, now_s = Wakefulness(1.0), 100.0
    for step_s in steps_s:
        now_s += step_s * 0.999
        assert wakefulness.since_s(now_s) == -inf


def test_after_a_break_all_waiting_starts_anew() -> None:
    """Until the next break."""
    wakefulness = Wakefulness(1.0)
    assert [wakefulness.since_s(at_s) for at_s in (10.0, 10.5, 18.5, 19.0, 30.0)] == [-inf, -inf, 18.5, 18.5, 30.0]
