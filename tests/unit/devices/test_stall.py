# SPDX-License-Identifier: AGPL-3.0-or-later
"""An engine that never answers is noticed; one that was stopped with the whole program is not blamed for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.devices.stall import ASKED_EVERY_S, STALL_S, StallWatch
from vision_line.errors import RunError

STEP_S = 0.5


def _asked(watch: StallWatch, from_s: float, to_s: float, submitted_s: float) -> float:
    """Ask again and again; return when the engine was said to have failed, infinite: it was not."""
    now_s = from_s
    while now_s <= to_s:
        try:
            watch.check(now_s, submitted_s)
        except RunError:
            return now_s
        now_s += STEP_S
    return float("inf")


def test_an_engine_that_never_answers_is_noticed() -> None:
    """And who waits for it is told how long it has been."""
    watch = StallWatch("cpu: the engine")
    found_s = _asked(watch, 0.0, 2 * STALL_S, submitted_s=0.0)
    assert STALL_S < found_s <= STALL_S + STEP_S
    with pytest.raises(RunError, match=r"^cpu: the engine has not answered for 30 s$"):
        watch.check(found_s + STEP_S, 0.0)


@given(stop_s=st.floats(ASKED_EVERY_S + STEP_S, 1e6))
def test_a_stop_of_the_program_is_no_failure_of_the_engine(stop_s: float) -> None:
    """What was in flight was stopped too, and is answered soon; if not, that is noticed all the same."""
    watch = StallWatch("cpu: the engine")
    assert _asked(watch, 0.0, 10.0, submitted_s=9.0) == float("inf")
    goes_on_s = 10.0 + stop_s
    found_s = _asked(watch, goes_on_s, goes_on_s + 2 * STALL_S, submitted_s=9.0)
    assert goes_on_s + STALL_S - 1e-6 < found_s <= goes_on_s + STALL_S + STEP_S + 1e-6


def test_nothing_in_flight_is_no_failure() -> None:
    """Hours without a frame are not counted against the next one."""
    watch = StallWatch("cpu: the engine")
    watch.check(0.0, 0.0)
    watch.check(3600.0, 3599.9)
