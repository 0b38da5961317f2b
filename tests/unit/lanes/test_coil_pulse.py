# SPDX-License-Identifier: AGPL-3.0-or-later
"""When an output is on: what diverts wins, and what could not be told in time is never told."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.config.modbus_settings import CoilSettings
from vision_line.lanes.coil_pulse import PROMPT_S, CoilPulse
from vision_line.parts.part import PartVerdict

ACCEPT, WARN, REJECT, NOT_INSPECTED = PartVerdict
#: A deadline that is far away.
LATER_S = 100.0


def pulse(energised: Literal["good", "reject"]) -> CoilPulse:
    return CoilPulse(CoilSettings(lane="a", address="127.0.0.1:502", energised=energised, pulse_ms=300))


@pytest.mark.parametrize(
    ("energised", "verdict", "is_on"),
    [
        ("reject", ACCEPT, False),
        ("reject", WARN, False),
        ("reject", REJECT, True),
        ("reject", NOT_INSPECTED, True),
        ("good", ACCEPT, True),
        ("good", WARN, True),
        ("good", REJECT, False),
        ("good", NOT_INSPECTED, False),
    ],
)
def test_what_each_verdict_switches(energised: Literal["good", "reject"], verdict: PartVerdict, *, is_on: bool) -> None:
    made = pulse(energised)
    made.decide(verdict, 10.0, LATER_S)
    assert made.is_on(10.0) is is_on


def test_it_is_on_for_its_time() -> None:
    made = pulse("reject")
    made.decide(REJECT, 10.0, LATER_S)
    assert made.is_on(10.01)
    made.delivered(10.01)
    assert (made.is_on(10.29), made.is_on(10.31)) == (True, False)


def test_what_could_not_be_sent_in_time_is_not_sent() -> None:
    made = pulse("good")
    made.decide(ACCEPT, 10.0, LATER_S)
    assert not made.is_on(10.0 + PROMPT_S + 0.001)


def test_what_was_sent_of_an_earlier_decision_does_not_count_for_a_later_one() -> None:
    made = pulse("good")
    made.decide(ACCEPT, 10.0, LATER_S)
    assert made.is_on(10.0)
    made.decide(ACCEPT, 10.05, LATER_S)
    made.delivered(10.0)
    assert not made.is_on(10.05 + PROMPT_S + 0.001)


def test_a_reject_ends_what_lets_pass_and_an_accept_does_not_end_a_reject() -> None:
    lets_pass, diverts = pulse("good"), pulse("reject")
    for made in (lets_pass, diverts):
        made.decide(ACCEPT if made is lets_pass else REJECT, 10.0, LATER_S)
        made.delivered(10.0)
        made.decide(REJECT if made is lets_pass else ACCEPT, 10.1, LATER_S)
    assert (lets_pass.is_on(10.1), diverts.is_on(10.1)) == (False, True)


def test_what_lets_pass_is_not_switched_from_its_deadline_on() -> None:
    made = pulse("good")
    made.decide(ACCEPT, 9.99, 10.0)
    assert made.is_on(9.995)
    assert made.patience_s(9.995) == pytest.approx(0.005)
    assert not made.is_on(10.001)


def test_what_a_slow_module_would_switch_behind_the_deadline_is_not_begun() -> None:
    made = pulse("good")
    made.decide(ACCEPT, 10.0, 10.06)
    assert not made.is_on(10.0, write_s=0.08)
    assert not made.is_on(10.0)  # nor later, though it were faster


def test_what_diverts_is_switched_behind_the_deadline_too() -> None:
    """However slow the module is: later than it should, it still is the safe side."""
    made = pulse("reject")
    made.decide(NOT_INSPECTED, 10.0, 10.0)
    assert made.is_on(10.05, write_s=0.08)
    assert made.patience_s(10.05) == PROMPT_S


def test_what_was_switched_in_time_stays_on_behind_the_deadline() -> None:
    made = pulse("good")
    made.decide(ACCEPT, 9.9, 10.0)
    made.delivered(9.91)
    assert made.is_on(10.1, write_s=0.08)
    assert made.patience_s(10.1) == PROMPT_S


@given(
    st.lists(st.tuples(st.sampled_from(list(PartVerdict)), st.floats(0, 1), st.floats(-0.1, 1)), max_size=20),
    st.floats(0, 2),
    st.floats(0, 0.2),
)
def test_an_output_that_lets_pass_is_on_only_after_a_good_part_that_was_the_newest_and_before_its_deadline(
    steps: list[tuple[PartVerdict, float, float]], later_s: float, write_s: float
) -> None:
    made, now_s = pulse("good"), 10.0
    for verdict, step_s, left_s in steps:
        now_s += step_s
        made.decide(verdict, now_s, now_s + left_s)
    asked_s = now_s + later_s
    if made.is_on(asked_s, write_s):
        verdict, _, left_s = steps[-1]
        assert verdict in {ACCEPT, WARN}
        assert asked_s + write_s <= now_s + min(PROMPT_S, left_s)
        assert asked_s + made.patience_s(asked_s) <= now_s + min(PROMPT_S, left_s) + 1e-9
