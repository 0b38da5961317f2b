# SPDX-License-Identifier: AGPL-3.0-or-later
"""When an output is on: what diverts wins, and what could not be told in time is never told."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.config.modbus_settings import CoilSettings
from vision_line.lanes.coil_door import PROMPT_S, CoilPulse
from vision_line.parts.part import PartVerdict

ACCEPT, WARN, REJECT, NOT_INSPECTED = PartVerdict


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
    made.decide(verdict, 10.0)
    assert made.is_on(10.0) is is_on


def test_it_is_on_for_its_time() -> None:
    made = pulse("reject")
    made.decide(REJECT, 10.0)
    assert made.is_on(10.01)
    made.delivered(10.01)
    assert (made.is_on(10.29), made.is_on(10.31)) == (True, False)


def test_what_could_not_be_sent_in_time_is_not_sent() -> None:
    made = pulse("good")
    made.decide(ACCEPT, 10.0)
    assert not made.is_on(10.0 + PROMPT_S + 0.001)


def test_what_was_sent_of_an_earlier_decision_does_not_count_for_a_later_one() -> None:
    made = pulse("good")
    made.decide(ACCEPT, 10.0)
    assert made.is_on(10.0)
    made.decide(ACCEPT, 10.05)
    made.delivered(10.0)
    assert not made.is_on(10.05 + PROMPT_S + 0.001)


def test_a_reject_ends_what_lets_pass_and_an_accept_does_not_end_a_reject() -> None:
    lets_pass, diverts = pulse("good"), pulse("reject")
    for made in (lets_pass, diverts):
        made.decide(ACCEPT if made is lets_pass else REJECT, 10.0)
        made.delivered(10.0)
        made.decide(REJECT if made is lets_pass else ACCEPT, 10.1)
    assert (lets_pass.is_on(10.1), diverts.is_on(10.1)) == (False, True)


@given(st.lists(st.tuples(st.sampled_from(list(PartVerdict)), st.floats(0, 1)), max_size=20), st.floats(0, 2))
def test_an_output_that_lets_pass_is_on_only_after_a_good_part_that_was_the_newest(
    steps: list[tuple[PartVerdict, float]], later_s: float
) -> None:
    made, now_s = pulse("good"), 10.0
    for verdict, step_s in steps:
        now_s += step_s
        made.decide(verdict, now_s)
    if made.is_on(now_s + later_s):
        assert steps[-1][0] in {ACCEPT, WARN}
        assert later_s <= PROMPT_S
