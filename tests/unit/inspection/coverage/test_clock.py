# SPDX-License-Identifier: AGPL-3.0-or-later
"""The wall clock against the monotonic one: steps are found, drift is followed, sleep is no step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.inspection.coverage.wall_clock import JITTER_S, STEP_S, WallClock


@given(jumps=st.lists(st.one_of(st.just(0.0), st.floats(-1e5, 1e5)), max_size=30))
def test_every_step_is_found_once_and_labels_follow(jumps: list[float]) -> None:
    """Whatever the clock does: what is found adds up to what it did, and labels are its own to the jitter."""
    clock = WallClock(0.0, 1e9)
    utc_off_s = reported_s = 0.0
    for number, jump_s in enumerate(jumps, 1):
        utc_off_s += jump_s
        now_s = number * 0.2
        _, step = clock.read(now_s, 1e9 + now_s + utc_off_s, 0.0)
        reported_s += 0.0 if step is None else step.step_s

        assert (step is None) or abs(step.step_s) > STEP_S
        assert clock.utc_of(now_s) == pytest.approx(1e9 + now_s + utc_off_s, abs=JITTER_S + 1e-5)
    assert reported_s == pytest.approx(utc_off_s, abs=(STEP_S + JITTER_S) * len(jumps) + 1e-5)


@given(rate=st.floats(-0.001, 0.001))
def test_a_clock_that_is_slewed_is_followed(rate: float) -> None:
    """An hour at the fastest rate that NTP slews by is no step, though it comes to seconds."""
    clock = WallClock(0.0, 1e9)
    steps = [clock.read(at_s, 1e9 + at_s * (1 + rate), 0.0)[1] for at_s in range(1, 3600)]

    assert steps == [None] * len(steps)
    assert clock.utc_of(3599.0) == pytest.approx(1e9 + 3599 * (1 + rate), abs=JITTER_S + 1e-5)


def test_sleep_is_no_step() -> None:
    """A machine that slept for an hour shows an hour more; nobody has set its clock."""
    clock = WallClock(0.0, 1e9, 0.0)

    assert clock.read(1.0, 1e9 + 3601.0, 3600.0) == (3600.0, None)
    assert clock.read(2.0, 1e9 + 3602.0, 3600.0) == (0.0, None)
    slept_s, step = clock.read(3.0, 1e9 + 10.0, 7200.0)
    assert slept_s == 3600.0
    assert step is not None
    assert step.step_s == pytest.approx(10.0 - 7203.0)


def test_what_the_machine_slept_before_is_no_sleep_of_this_run() -> None:
    """It counts from the machine's start; the first reading says where it stands."""
    clock = WallClock(0.0, 1e9)

    assert clock.read(0.2, 1e9 + 0.2, 5000.0) == (0.0, None)
    assert clock.read(0.4, 1e9 + 60.4, 5060.0) == (60.0, None)
