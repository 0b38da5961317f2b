# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where the belt is, and parts whose window is a way of it."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.lane_scenes import NEED, make_belt_plan, make_fact, make_machine, make_trigger

from vision_line.lanes.belt import Belt
from vision_line.lanes.lane_machine import DecidedPart, LaneMachine
from vision_line.lanes.sights import InspectedFacts
from vision_line.parts.part import PartCause, PartVerdict

WRAP = 2**32


def run_belt(machine: LaneMachine, count: float, from_s: float, to_s: float, mm_per_s: float) -> list[DecidedPart]:
    """Move the belt from `count` on, 0.1 mm each, with a frame every 50 ms; return what was decided."""
    decided = []
    for step in range(round((to_s - from_s) / 0.01)):
        now_s = from_s + step * 0.01
        machine.encoder(round(count + (now_s - from_s) * mm_per_s * 10) % WRAP, now_s)
        if step % 5 == 0:
            machine.inspected(InspectedFacts("a", now_s - 0.02), now_s)
        decided += machine.decide(now_s)
    return decided


@pytest.mark.parametrize("first", [0, 5000, WRAP - 1000])
def test_a_part_is_seen_where_the_belt_brings_it(first: int) -> None:
    """Also where the counter wraps around: 100 to 300 mm at 400 mm/s is 250 to 750 ms behind the trigger."""
    machine = make_machine(make_belt_plan())
    machine.encoder((first - 10) % WRAP, 9.99)
    machine.trigger(make_trigger(10.0, 1, first))
    (decided,) = run_belt(machine, first, 10.01, 12.0, 400.0)

    assert decided.decision.verdict is PartVerdict.ACCEPT
    assert decided.window_s == pytest.approx((10.25, 10.76), abs=0.025)
    assert decided.decision.deadline_s == pytest.approx(10 + 2.0 - 0.1, abs=0.4)


def test_a_belt_that_stands_moves_window_and_deadline_on() -> None:
    machine = make_machine(make_belt_plan())
    machine.trigger(make_trigger(10.0, 1, 0))
    assert run_belt(machine, 0, 10.01, 10.5, 400.0) == []
    assert run_belt(machine, 1960, 10.5, 40.0, 0.0) == []
    (decided,) = run_belt(machine, 1960, 40.0, 42.0, 400.0)

    assert decided.decision.verdict is PartVerdict.ACCEPT
    assert decided.inspections["a"] > 500
    assert decided.decision.decided_s > 40.0


def test_an_event_counts_where_the_belt_was_when_it_was_seen() -> None:
    machine = make_machine(make_belt_plan())
    machine.trigger(make_trigger(10.0, 1, 0))
    run_belt(machine, 0, 10.01, 10.3, 400.0)
    machine.event(make_fact(10.27, 10.32))  # the count of that moment has not come yet
    assert machine.decide(10.3) == []
    (decided,) = run_belt(machine, 1160, 10.3, 10.35, 400.0)
    assert decided.decision.verdict is PartVerdict.REJECT


def test_an_encoder_that_is_silent_lets_nothing_be_accepted() -> None:
    machine = make_machine(make_belt_plan())
    machine.trigger(make_trigger(10.0, 1, 0))
    for step in range(40):
        machine.inspected(InspectedFacts("a", 10.0 + step * 0.05), 10.05 + step * 0.05)
    (decided,) = machine.decide(11.6)
    assert decided.decision.cause is PartCause.LATE


def test_an_encoder_that_begins_anew_leaves_its_parts_not_inspected() -> None:
    machine = make_machine(make_belt_plan())
    machine.trigger(make_trigger(10.0, 1, 90_000))
    run_belt(machine, 90_000, 10.01, 10.2, 400.0)
    machine.encoder(0, 10.21)
    (decided,) = machine.decide(10.21)
    assert decided.decision.cause is PartCause.RESTART


@pytest.mark.parametrize(
    ("every_s", "jump_mm", "goes_on"),
    [
        (0.01, 25.0, True),
        (0.01, 30.0, False),
        (0.1, 70.0, True),
        (0.1, 90.0, False),
        (10.0, 70.0, True),
        (10.0, 90.0, False),
    ],
)
def test_what_the_belt_cannot_have_moved_is_an_encoder_that_begins_anew(
    every_s: float, jump_mm: float, *, goes_on: bool
) -> None:
    """At 500 mm/s, by steps of 10 ms or 100 ms; after a longer silence nothing more is believed."""
    belt = Belt(0.1, 500.0, 0.1)
    for step in range(5):
        belt.add(0, step * every_s)
    assert belt.add(round(jump_mm * 10), 5 * every_s) is goes_on


def test_a_belt_that_trembles_for_long_does_not_make_a_jump_believed() -> None:
    belt = Belt(0.1, 500.0, 0.1)
    assert all(belt.add(100 - step % 3, step * 0.01) for step in range(1000))
    assert belt.horizon_s == pytest.approx(9.99)
    assert not belt.add(1000, 10.0)


def test_parts_behind_a_jump_of_the_encoder_are_not_accepted() -> None:
    """The belt stands, the part before its camera; the count goes on by less than the belt does in that time."""
    machine = make_machine(make_belt_plan())
    machine.trigger(make_trigger(10.0, 1, 0))
    run_belt(machine, 0, 10.01, 10.2, 400.0)
    assert run_belt(machine, 800, 10.2, 12.0, 0.0) == []
    machine.encoder(800 + 1500, 12.5)
    (decided,) = run_belt(machine, 2300, 12.51, 13.5, 400.0)
    assert decided.decision.cause is PartCause.RESTART


@settings(max_examples=60)
@given(st.lists(st.floats(0.0, 500.0), min_size=80, max_size=80), st.integers(3, 70), st.floats(-300.0, 300.0))
def test_what_is_accepted_behind_a_wrong_count_was_near_its_window(
    speeds_mm_per_s: list[float], wrong_from: int, wrong_by_mm: float
) -> None:
    """By what the belt moves in a quarter of the window at its fastest and a bit, not by what was miscounted."""
    machine, near_mm = make_machine(make_belt_plan()), 80.0
    true_mm = list(accumulate((speed * 0.05 for speed in speeds_mm_per_s), initial=0.0))
    for step, at_mm in enumerate(true_mm):
        at_s, count = 10.0 + step * 0.05, round(10 * (1000 + at_mm + wrong_by_mm * (step >= wrong_from)))
        machine.encoder(count, at_s)
        if step == 2:
            machine.trigger(make_trigger(at_s, 1, count))
        machine.inspected(InspectedFacts("a", at_s), at_s)
        for decided in machine.decide(at_s):
            if decided.decision.verdict is PartVerdict.ACCEPT:
                seen_mm = [each - true_mm[2] for each in true_mm[: step + 1]]
                assert sum(100 - near_mm <= each <= 300 + near_mm for each in seen_mm) >= NEED.inspections


def test_a_trigger_whose_count_is_wrong_is_not_inspected() -> None:
    """It is told late, and says that the part was 1 m behind where the belt was then."""
    machine = make_machine(make_belt_plan())
    run_belt(machine, 0, 9.0, 10.5, 400.0)
    machine.trigger(make_trigger(10.2, 1, 4800 + 10_000))
    machine.trigger(make_trigger(10.3, 2, 5200))
    decided = run_belt(machine, 6000, 10.5, 16.0, 400.0)
    causes = {one.decision.trigger.number: one.decision.cause for one in decided}
    assert causes == {1: PartCause.RESTART, 2: PartCause.NONE}


def test_two_parts_at_one_place_of_a_belt_that_stood_between_them_overlap() -> None:
    machine = make_machine(make_belt_plan())
    run_belt(machine, 0, 9.9, 10.0, 400.0)
    machine.trigger(make_trigger(10.0, 1, 400))
    run_belt(machine, 400, 10.01, 13.0, 0.0)
    machine.trigger(make_trigger(13.0, 2, 400))
    decided = run_belt(machine, 400, 13.01, 15.0, 400.0)
    assert [one.decision.cause for one in decided] == [PartCause.OVERLAP] * 2


def test_a_belt_that_trembles_is_where_it_was() -> None:
    belt = Belt(0.1, 500.0, 0.1)
    assert [belt.add(count, at_s) for at_s, count in enumerate((0, 100, 90, 100, 110))] == [True] * 5
    assert belt.position_mm == 11.0


def test_a_count_that_is_older_than_the_last_is_passed_over() -> None:
    belt = Belt(0.1, 500.0, 0.1)
    belt.add(100, 2.0)
    belt.add(50, 1.0)
    assert (belt.position_mm, belt.horizon_s) == (0.0, 2.0)


def test_a_belt_that_stood_for_long_still_knows_when_it_stopped() -> None:
    belt = Belt(1.0, 500.0, 0.1)
    belt.add(0, 0.0)
    belt.add(10, 1.0)
    for step in range(20_000):
        belt.add(10, 2.0 + step * 0.01)
    belt.add(20, 210.0)
    assert belt.reached_s(10.0) == (0.0, 1.0)
    assert belt.reached_s(20.0) == pytest.approx((201.99, 210.0))
    assert belt.reached_s(30.0) is None
    assert belt.earliest_s(520.0) == 211.0


def test_a_window_that_began_before_the_encoder_did_is_not_inspected() -> None:
    """The camera stands before the photo-eye: the first part was in its view when nobody counted yet."""
    machine = make_machine(make_belt_plan(window_mm=(-100.0, 100.0)))
    for step in range(20):
        machine.inspected(InspectedFacts("a", 9.0 + step * 0.05), 9.02 + step * 0.05)
    machine.trigger(make_trigger(10.0, 1, 0))
    (decided,) = run_belt(machine, 0, 10.01, 12.0, 400.0)
    assert (decided.decision.verdict, decided.decision.cause) == (PartVerdict.NOT_INSPECTED, PartCause.RESTART)


@settings(max_examples=60)
@given(
    st.lists(st.floats(0.01, 0.2), min_size=40, max_size=60),
    st.lists(st.floats(0.1, 0.2), min_size=20, max_size=40),
)
def test_what_is_accepted_was_inspected_in_its_true_window(counts_s: list[float], frames_s: list[float]) -> None:
    """However rarely counts and frames come: 100 to 300 mm at 400 mm/s is 250 to 750 ms behind the trigger."""
    machine = make_machine(make_belt_plan())
    machine.encoder(0, 9.0)
    machine.trigger(make_trigger(10.0, 1, 4000))
    counts = [(at_s, "count") for at_s in accumulate(counts_s, initial=9.05)]
    frames = [(at_s, "frame") for at_s in accumulate(frames_s, initial=9.05)]
    for at_s, what in sorted(counts + frames):
        if what == "count":
            machine.encoder(round((at_s - 9.0) * 4000), at_s)
        else:
            machine.inspected(InspectedFacts("a", at_s), at_s)
        for decided in machine.decide(at_s):
            if decided.decision.verdict is PartVerdict.ACCEPT:
                assert sum(10.25 <= frame_s <= 10.75 for frame_s, _ in frames) >= NEED.inspections


def test_a_frame_between_two_counts_is_no_inspection() -> None:
    """The belt was counted 80 ms before and behind an edge: where it was between nobody knows."""
    machine = make_machine(make_belt_plan())
    machine.encoder(0, 9.99)
    machine.trigger(make_trigger(10.0, 1, 40))
    for at_s in (10.0 + step * 0.08 for step in range(1, 15)):
        machine.encoder(40 + round((at_s - 10.0) * 4000), at_s)
    frames_s = [10.0 + step * 0.05 for step in range(1, 24)]
    for at_s in frames_s:
        machine.inspected(InspectedFacts("a", at_s), at_s + 0.01)
    machine.encoder(40 + 4800, 11.2)
    (decided,) = machine.decide(11.3)

    assert decided.window_s == pytest.approx((10.24, 10.8), abs=0.001)
    assert decided.inspections["a"] == sum(10.32 <= at_s <= 10.72 for at_s in frames_s)


@given(st.floats(0.0, 0.039))
def test_a_part_without_a_count_of_its_own_is_between_two_of_the_belts(into_s: float) -> None:
    """What nobody knows counts against it: the deadline is that of the sooner place, the sure window is narrower."""
    machine = make_machine(make_belt_plan(window_mm=(100.0, 300.0), ejector_mm=800.0))
    for step in range(200):
        at_s = 10.0 + 0.04 * step
        machine.encoder(round(0.04 * step * 5000), at_s)  # 500 mm/s, 0.1 mm a count
        if step == 26:
            crossed_s = 11.0 + into_s
            machine.trigger(make_trigger(crossed_s))
            (part,) = machine._open.values()
    true_mm = (crossed_s - 10.0) * 500.0
    assert machine.deadline_s(part) <= 10.0 + (true_mm + 800.0) / 500.0 - 0.1 + 1e-9
    assert part.begin_s is not None
    assert part.end_s is not None
    assert part.begin_s <= 10.0 + (true_mm + 100.0) / 500.0 + 1e-9
    assert part.surely_from_s >= 10.0 + (true_mm + 100.0) / 500.0 - 1e-9
    assert part.surely_to_s <= 10.0 + (true_mm + 300.0) / 500.0 + 1e-9
    assert part.end_s >= 10.0 + (true_mm + 300.0) / 500.0 - 1e-9
