# SPDX-License-Identifier: AGPL-3.0-or-later
"""When a part is accepted, rejected, or not inspected."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.fakes.lane_scenes import make_belt_plan, make_fact, make_machine, make_plan, make_trigger, watch

from vision_line.frames import Verdict
from vision_line.lanes.crossing_line import CrossingLine, CrossingRule
from vision_line.lanes.lane_machine import MOST_OPEN, DecidedPart, LaneMachine, LastPart
from vision_line.lanes.lane_plan import CameraNeed
from vision_line.lanes.plc_door import Trigger
from vision_line.lanes.sights import InspectedFacts
from vision_line.parts.part import PartCause, PartVerdict


def said(decided: list[DecidedPart]) -> list[tuple[int, PartVerdict, PartCause]]:
    return [(one.decision.sequence, one.decision.verdict, one.decision.cause) for one in decided]


NOT = PartVerdict.NOT_INSPECTED


def test_a_part_is_accepted_at_the_first_frame_behind_its_window() -> None:
    machine = make_machine()
    machine.trigger(make_trigger(10.0))

    (decided,) = watch(machine, 9.5, 12.0)

    assert decided.decision.verdict is PartVerdict.ACCEPT
    assert decided.decision.decided_s == pytest.approx(11.15)
    assert decided.inspections == {"a": 11}
    assert (machine.parts, machine.rejects, machine.not_inspected) == (1, 0, 0)


def test_every_camera_must_have_come_past_the_window() -> None:
    machine = make_machine(make_plan(("a", "b")))
    machine.trigger(make_trigger(10.0))
    watch(machine, 9.5, 11.0)

    machine.inspected(InspectedFacts("a", 11.1), 11.15)
    assert machine.decide(11.15) == []
    machine.inspected(InspectedFacts("b", 11.1), 11.16)
    assert said(machine.decide(11.16)) == [(1, PartVerdict.ACCEPT, PartCause.NONE)]


def test_a_reject_in_the_window_is_shown_at_once() -> None:
    machine = make_machine()
    machine.trigger(make_trigger(10.0))
    watch(machine, 9.5, 10.3)

    machine.event(make_fact(10.0, 10.2))
    assert said(machine.decide(10.3)) == [(1, PartVerdict.REJECT, PartCause.NONE)]
    assert watch(machine, 10.3, 12.5) == []


@pytest.mark.parametrize(("first_s", "last_s"), [(9.0, 9.9), (11.1, 11.5)])
def test_an_event_outside_of_the_window_is_another_parts(first_s: float, last_s: float) -> None:
    machine = make_machine()
    machine.trigger(make_trigger(10.0))
    machine.event(make_fact(first_s, last_s, is_over=True))

    assert said(watch(machine, 9.5, 12.0)) == [(1, PartVerdict.ACCEPT, PartCause.NONE)]


def test_an_event_that_is_still_seen_in_the_window_counts_though_nothing_new_is_said_of_it() -> None:
    machine = make_machine()
    machine.event(make_fact(9.0, 9.2))
    machine.trigger(make_trigger(10.0))

    (decided,) = watch(machine, 9.5, 10.5, classes="spur")
    assert decided.decision.verdict is PartVerdict.REJECT


def test_an_event_counts_for_each_part_in_whose_window_it_was_seen() -> None:
    machine = make_machine()
    machine.trigger(make_trigger(10.0))
    machine.trigger(make_trigger(10.7))
    machine.event(make_fact(10.8, 10.9))

    assert [one.decision.verdict for one in machine.decide(11.0)] == [PartVerdict.REJECT] * 2


def test_a_warning_waits_until_it_could_have_become_a_reject() -> None:
    machine = make_machine()
    machine.trigger(make_trigger(10.0))
    machine.event(make_fact(10.7, 10.9, Verdict.WARN))

    (decided,) = watch(machine, 9.5, 12.0)
    assert (decided.decision.verdict, decided.events) == (PartVerdict.WARN, ("e1",))
    assert decided.decision.decided_s == pytest.approx(11.35)  # three frames behind the window, not one


def test_what_is_seen_and_not_confirmed_is_waited_for() -> None:
    """It may be confirmed behind the window, and then was seen in it."""
    machine = make_machine()
    machine.trigger(make_trigger(10.0))
    watch(machine, 9.5, 10.8)
    assert watch(machine, 10.8, 11.3, classes="spur") == []

    machine.event(make_fact(10.8, 11.2))
    assert said(machine.decide(11.3)) == [(1, PartVerdict.REJECT, PartCause.NONE)]


def test_what_is_never_confirmed_is_no_defect() -> None:
    machine = make_machine()
    machine.trigger(make_trigger(10.0))
    watch(machine, 9.5, 10.8)
    assert said(watch(machine, 10.8, 12.0, classes="spur")) == [(1, PartVerdict.ACCEPT, PartCause.NONE)]


def test_what_cannot_be_confirmed_in_time_is_not_accepted() -> None:
    machine = make_machine(make_plan(deadline_s=1.3))
    machine.trigger(make_trigger(10.0))
    watch(machine, 9.5, 10.9)
    decided = watch(machine, 10.9, 12.0, classes="spur")
    assert said(decided) == [(1, NOT, PartCause.LATE)]


@pytest.mark.parametrize("is_over", [True, False])
def test_a_warning_that_may_still_become_a_reject_is_not_let_pass_for_want_of_time(*, is_over: bool) -> None:
    machine = make_machine(make_plan(deadline_s=1.3))
    machine.trigger(make_trigger(10.0))
    machine.event(make_fact(10.7, 10.9, Verdict.WARN, is_over=is_over))
    decided = [*watch(machine, 9.5, 11.2), *machine.decide(11.295)]

    assert said(decided) == [(1, PartVerdict.WARN, PartCause.NONE) if is_over else (1, NOT, PartCause.LATE)]


def test_a_verdict_never_falls_when_older_news_come_behind() -> None:
    """A decision overtakes the results before it; the part is told when both have come."""
    machine = make_machine()
    machine.event(make_fact(9.0, 9.4))
    machine.event(make_fact(9.0, 9.2, Verdict.WARN))
    machine.trigger(make_trigger(9.3))
    assert said(machine.decide(9.5)) == [(1, PartVerdict.REJECT, PartCause.NONE)]


def test_a_part_that_was_in_sight_while_its_camera_saw_nothing_is_not_accepted_once_it_sees_again() -> None:
    """The light was out in the first half of its window: the frames of that half were inspected, and showed nothing."""
    machine = make_machine()
    machine.trigger(make_trigger(10.0))
    machine.trigger(make_trigger(10.6))
    watch(machine, 9.5, 10.4)
    machine.saw_nothing(10.5)

    decided = watch(machine, 10.4, 13.0)
    assert said(decided) == [(1, NOT, PartCause.CAMERA), (2, PartVerdict.ACCEPT, PartCause.NONE)]


def test_a_reject_is_one_though_the_camera_saw_nothing_later() -> None:
    machine = make_machine()
    machine.trigger(make_trigger(10.0))
    watch(machine, 9.5, 10.3)
    machine.saw_nothing(10.9)
    machine.event(make_fact(10.0, 10.2))
    assert said(machine.decide(11.0)) == [(1, PartVerdict.REJECT, PartCause.NONE)]


def test_nothing_is_accepted_from_the_deadline_on() -> None:
    machine = make_machine()
    machine.trigger(make_trigger(10.0))
    for at_s in (10.1, 10.3, 10.5, 10.7, 10.9, 11.1):
        machine.inspected(InspectedFacts("a", at_s), 12.0)

    assert said(machine.decide(12.0)) == [(1, NOT, PartCause.LATE)]


def test_the_time_to_record_a_part_is_kept_free() -> None:
    machine = make_machine()
    machine.trigger(make_trigger(10.0))
    for at_s in (10.1, 10.3, 10.5, 10.7, 10.9, 11.1):
        machine.inspected(InspectedFacts("a", at_s), 11.9)

    assert said(machine.decide(11.9, room_s=0.2)) == [(1, NOT, PartCause.LATE)]
    assert machine.next_check_s(0.2) == float("inf")


def test_a_reject_that_comes_too_late_corrects_what_was_sent() -> None:
    machine = make_machine()
    machine.trigger(make_trigger(10.0))
    assert said(watch(machine, 9.5, 12.0)) == [(1, PartVerdict.ACCEPT, PartCause.NONE)]

    machine.event(make_fact(10.5, 10.8))
    machine.event(make_fact(10.5, 10.9))
    (found,) = machine.take_late_finds()
    assert (found.part.sequence, found.part.verdict, found.events) == (1, PartVerdict.ACCEPT, ("e1",))
    assert machine.take_late_finds() == []
    assert machine.decide(13.0) == []


def test_a_reject_known_only_at_the_deadline_is_diverted_and_entered() -> None:
    machine = make_machine()
    machine.trigger(make_trigger(10.0))
    machine.event(make_fact(10.5, 10.8))
    assert said(machine.decide(12.5))[0][1] is NOT
    assert [one.events for one in machine.take_late_finds()] == [("e1",)]


def test_too_few_inspections() -> None:
    machine = make_machine()
    machine.trigger(make_trigger(10.0))
    assert said(watch(machine, 9.9, 12.0, step_s=0.6)) == [(1, NOT, PartCause.TOO_FEW_INSPECTIONS)]


def test_a_gap() -> None:
    machine = make_machine()
    machine.trigger(make_trigger(10.0))
    decided = [*watch(machine, 9.5, 10.4), *watch(machine, 10.7, 12.0)]
    assert said(decided) == [(1, NOT, PartCause.GAP)]


def test_a_gap_at_the_windows_end() -> None:
    machine = make_machine()
    machine.trigger(make_trigger(10.0))
    decided = [*watch(machine, 9.5, 10.7), *watch(machine, 11.1, 12.0)]
    assert said(decided) == [(1, NOT, PartCause.GAP)]


def test_a_gap_of_which_only_the_end_lies_in_the_window_is_one() -> None:
    machine = make_machine()
    watch(machine, 9.0, 9.85)
    machine.trigger(make_trigger(10.0))
    assert said(watch(machine, 10.12, 12.0)) == [(1, NOT, PartCause.GAP)]


def test_a_gap_of_which_only_the_begin_lies_in_the_window_is_one() -> None:
    machine = make_machine()
    machine.trigger(make_trigger(10.0))
    decided = [*watch(machine, 9.5, 10.88), *watch(machine, 11.15, 12.0)]
    assert said(decided) == [(1, NOT, PartCause.GAP)]


def test_a_camera_that_shows_nothing() -> None:
    machine = make_machine()
    machine.trigger(make_trigger(10.0))
    assert said(machine.decide(11.9)) == []
    assert said(machine.decide(11.995)) == [(1, NOT, PartCause.CAMERA)]
    assert machine.state(12.0).cause is PartCause.CAMERA


def test_a_line_that_goes_takes_its_parts_with_it() -> None:
    machine = make_machine()
    machine.trigger(make_trigger(10.0))
    watch(machine, 9.5, 10.9)
    machine.line_went()
    assert said(machine.decide(10.95)) == [(1, NOT, PartCause.LINE_AWAY)]


def test_a_part_that_began_before_the_line_came_is_not_accepted() -> None:
    machine = make_machine()
    machine.line_went()
    machine.trigger(make_trigger(10.0))
    machine.line_came(10.01)
    assert said(watch(machine, 10.05, 12.0)) == [(1, NOT, PartCause.LINE_AWAY)]


def test_a_part_that_began_before_this_process_is_not_accepted() -> None:
    machine = LaneMachine(make_plan(), 10.5, LastPart(41))
    machine.line_came(10.5)
    machine.trigger(make_trigger(10.4))
    assert said(watch(machine, 10.5, 12.0)) == [(42, NOT, PartCause.RESTART)]


def test_the_end_leaves_no_part_undecided() -> None:
    machine = make_machine()
    machine.trigger(make_trigger(10.0))
    assert said(machine.end(PartCause.RESTART, 10.2)) == [(1, NOT, PartCause.RESTART)]


@pytest.mark.parametrize("cause", [PartCause.LOG, PartCause.CHALLENGE, PartCause.LINE_AWAY])
def test_what_stops_acceptance_is_the_cause(cause: PartCause) -> None:
    machine = make_machine()
    machine.stops = {cause: "because"}
    machine.trigger(make_trigger(10.0))
    assert said(watch(machine, 9.5, 12.0)) == [(1, NOT, cause)]
    assert machine.state(12.0).fault == "because"


def test_a_recipe_that_nobody_has_is_a_fault() -> None:
    """Who asks, or polls the registers, sees why no part is accepted."""
    machine = LaneMachine(replace(make_plan(), recipes={"fine": {}}), 0.0, LastPart())
    machine.line_came(0.0)
    watch(machine, 9.5, 12.0)
    states = {}
    for machine.recipe in (None, "", "fine", "fien"):
        states[machine.recipe] = machine.state(12.0).cause
    assert states == {None: "", "": "", "fine": "", "fien": PartCause.RECIPE}
    assert "recipe fien was asked for" in machine.state(12.0).fault


def test_a_lane_that_is_off_diverts_at_once() -> None:
    machine = make_machine()
    machine.enable(is_enabled=False)
    machine.trigger(make_trigger(10.0))
    assert said(machine.decide(10.0)) == [(1, NOT, PartCause.LANE_OFF)]


def test_frames_of_a_recipe_that_nobody_asked_the_lane_for() -> None:
    """Another lane of the same camera did: by its classes and thresholds this one's parts are not judged."""
    machine = make_machine()
    machine.trigger(make_trigger(10.0))
    for number in range(25):
        at_s = 9.5 + number / 10
        machine.inspected(InspectedFacts("a", at_s, frozenset(), recipe="board-9"), at_s)
    (decided,) = machine.decide(12.0)
    assert (decided.decision.verdict, decided.decision.cause) == (PartVerdict.NOT_INSPECTED, PartCause.RECIPE)


def test_frames_of_another_recipe() -> None:
    machine = make_machine()
    machine.trigger(make_trigger(10.0), recipe="7")
    assert said(watch(machine, 9.5, 12.0)) == [(1, NOT, PartCause.RECIPE)]


def test_lost_results_rule_out_what_is_on_its_way() -> None:
    machine = make_machine()
    machine.trigger(make_trigger(10.0))
    machine.lost_results(10.2)
    assert said(machine.decide(10.1)) == [(1, NOT, PartCause.GAP)]


def test_a_machine_that_slept_knows_nothing_of_what_was_on_its_way() -> None:
    machine = make_machine()
    machine.trigger(make_trigger(10.0))
    machine.slept(10.2)
    assert said(machine.decide(10.1)) == [(1, NOT, PartCause.LATE)]


def test_the_same_number_again_is_the_same_part() -> None:
    machine = make_machine()
    assert machine.trigger(make_trigger(10.0, 7)) == machine.trigger(make_trigger(10.2, 7)) == 1
    assert machine.on_their_way == 1


def test_a_message_that_comes_twice_is_one_part_also_when_it_is_decided() -> None:
    machine = make_machine()
    machine.trigger(make_trigger(10.0, 7))
    watch(machine, 9.5, 12.0)
    assert machine.trigger(make_trigger(10.0, 7)) == 1
    assert machine.on_their_way == 0


def test_a_plc_that_counts_anew_leaves_its_old_parts_undecided() -> None:
    machine = make_machine()
    machine.trigger(make_trigger(10.0, 900))
    machine.trigger(make_trigger(10.5, 1))
    assert said(machine.decide(10.5)) == [(1, NOT, PartCause.RESTART)]
    assert said(watch(machine, 10.4, 12.0)) == [(2, PartVerdict.ACCEPT, PartCause.NONE)]


def test_numbers_that_wrap_around_go_on() -> None:
    machine = make_machine()
    machine.trigger(make_trigger(10.0, 65535))
    machine.trigger(make_trigger(10.5, 0))
    assert machine.decide(10.5) == []


def test_a_plc_that_keeps_0_for_none_has_missed_nothing() -> None:
    machine = make_machine()
    machine.trigger(make_trigger(10.0, 65535))
    machine.trigger(make_trigger(10.5, 1))
    assert machine.decide(10.5) == []


def test_parts_that_nobody_triggered_are_entered() -> None:
    machine = make_machine(last=LastPart(41, 17))
    machine.trigger(make_trigger(10.0, 20))
    decided = machine.decide(10.0)
    assert said(decided) == [(42, NOT, PartCause.RESTART), (43, NOT, PartCause.RESTART)]
    assert [one.decision.trigger.number for one in decided] == [18, 19]


def test_triggers_closer_than_parts_can_be() -> None:
    machine = make_machine()
    machine.trigger(make_trigger(10.0))
    machine.trigger(make_trigger(10.02))
    assert said(machine.decide(10.02)) == [(1, NOT, PartCause.OVERLAP), (2, NOT, PartCause.OVERLAP)]


def test_a_part_that_is_known_late_and_came_too_close_to_one_that_is_decided() -> None:
    machine = make_machine(make_plan(deadline_s=5.0))
    machine.trigger(make_trigger(10.0))
    assert said(watch(machine, 9.5, 12.0)) == [(1, PartVerdict.ACCEPT, PartCause.NONE)]
    machine.trigger(make_trigger(10.02))
    assert said(machine.decide(12.0)) == [(2, NOT, PartCause.OVERLAP)]


def test_more_parts_than_can_be_kept_apart() -> None:
    machine = make_machine()
    for number in range(MOST_OPEN + 1):
        machine.trigger(make_trigger(10.0 + number))
    assert [one.decision.cause for one in machine.decide(10.0)] == [PartCause.OVERLAP]


def test_a_second_defect_of_a_class_is_waited_for_as_the_first_one() -> None:
    """The first one is over when the second one is seen, a moment before the window closes."""
    machine = make_machine()
    machine.trigger(make_trigger(10.0))
    watch(machine, 9.5, 10.3)
    machine.event(make_fact(10.1, 10.2, Verdict.WARN, is_over=True))
    watch(machine, 10.3, 10.9)
    assert watch(machine, 10.9, 11.3, classes="spur") == []
    machine.event(make_fact(10.9, 11.2, name="e2"))
    assert said(machine.decide(11.3)) == [(1, PartVerdict.REJECT, PartCause.NONE)]


def test_a_part_needs_what_its_recipe_asks_for() -> None:
    plan = replace(make_plan(), recipes={"fine": {"a": CameraNeed(20, 0.25, 3)}})
    machine = make_machine(plan)
    machine.trigger(make_trigger(10.0), recipe="fine")
    assert said(watch(machine, 9.5, 12.0)) == [(1, NOT, PartCause.TOO_FEW_INSPECTIONS)]


def test_after_the_plc_began_anew_a_number_is_another_part() -> None:
    machine = make_machine()
    assert machine.trigger(make_trigger(10.0, number=17)) == 1
    machine.begin_anew()
    assert machine.trigger(make_trigger(10.4, number=17)) == 2
    assert said(watch(machine, 9.5, 12.5)) == [(1, NOT, PartCause.RESTART), (2, PartVerdict.ACCEPT, PartCause.NONE)]


@pytest.mark.parametrize(
    ("changed_s", "classes", "cause"),
    [
        (10.45, "", PartCause.RECIPE),
        (11.05, "", PartCause.NONE),  # between two parts
        (11.15, "spur", PartCause.RECIPE),  # behind its window, and before what it shows can be confirmed
    ],
)
def test_two_settings_of_a_camera_do_not_make_one_verdict(changed_s: float, classes: str, cause: PartCause) -> None:
    """Half of a defect's hits before the change and half behind it confirm nothing."""
    machine = make_machine()
    machine.trigger(make_trigger(10.0))
    decided = []
    for number in range(25):
        at_s = 9.5 + number * 0.1
        shown = frozenset(classes.split() if at_s > 10.75 else ())
        machine.inspected(InspectedFacts("a", at_s, shown, criteria=1 if at_s < changed_s else 2), at_s + 0.05)
        decided += machine.decide(at_s + 0.05)
    assert [one.decision.cause for one in decided] == [cause]


def make_optical_machine(window: tuple[float, float] = (-1.0, 0.0)) -> LaneMachine:
    """Return a lane that sees its parts itself."""
    rule = CrossingRule("a", frozenset({"bottle"}), CrossingLine((0.5, 0.0), (0.5, 1.0), "right"), 3, 5, 0.25, 2.0)
    return make_machine(replace(make_plan(window=window, deadline_s=2.0), optical=rule))


def test_a_part_is_known_later_than_it_is_seen() -> None:
    """Its window lies before the moment when it crosses the line, and frames from behind it have come already."""
    machine = make_optical_machine()
    assert watch(machine, 0.0, 3.25) == []
    machine.event(make_fact(0.5, 0.9, name="before"))
    machine.trigger(Trigger("l1", 3.0, crossing=1))
    (good,) = machine.decide(3.3)
    assert (good.decision.verdict, good.inspections) == (PartVerdict.ACCEPT, {"a": 11})

    machine.event(make_fact(2.6, 2.7, name="within", is_over=True))
    machine.trigger(Trigger("l1", 3.11, crossing=2))
    (bad,) = machine.decide(3.3)
    assert bad.decision.verdict is PartVerdict.REJECT


def test_a_gap_before_a_part_is_known_rules_it_out() -> None:
    machine = make_optical_machine()
    watch(machine, 0.0, 1.8)
    watch(machine, 2.2, 3.3)
    machine.trigger(Trigger("l1", 3.05, crossing=1))
    (only,) = machine.decide(3.3)
    assert only.decision.cause is PartCause.GAP


def test_objects_that_cross_at_once_are_two_parts_of_which_none_is_known() -> None:
    machine = make_optical_machine((0.0, 1.0))
    assert [machine.trigger(Trigger("l1", 2.0, crossing=number)) for number in (1, 2, 1)] == [1, 2, 1]
    assert [each.decision.cause for each in machine.decide(2.1)] == [PartCause.OVERLAP] * 2
    machine.trigger(Trigger("l1", 2.05, crossing=3))  # it came as close to parts that are decided
    assert [each.decision.cause for each in machine.decide(2.2)] == [PartCause.OVERLAP]


def test_a_part_that_was_missed_is_said_with_its_cause() -> None:
    machine = make_optical_machine()
    watch(machine, 0.0, 3.0)
    assert machine.miss(Trigger("l1", 2.5, crossing=1), PartCause.CROSSING) == 1
    (missed,) = machine.decide(3.0)
    assert (missed.decision.verdict, missed.decision.cause) == (PartVerdict.NOT_INSPECTED, PartCause.CROSSING)
    assert (machine.parts, machine.not_inspected, machine.decide(3.1)) == (1, 1, [])


def test_what_was_lost_before_a_part_is_known_may_have_been_of_it() -> None:
    for lose, cause in ((LaneMachine.lost_results, PartCause.GAP), (LaneMachine.slept, PartCause.LATE)):
        machine = make_optical_machine()
        watch(machine, 0.0, 2.5)
        lose(machine, 2.5)
        watch(machine, 2.5, 3.25)
        machine.trigger(Trigger("l1", 3.0, crossing=1))
        machine.trigger(Trigger("l1", 4.0, crossing=2))
        assert [each.decision.cause for each in watch(machine, 3.25, 4.5)] == [cause, PartCause.NONE]


def test_a_reject_from_before_the_belt_stood_is_not_forgotten() -> None:
    """Its window is a way of the belt, and began minutes before the part crosses the line."""
    rule = CrossingRule("a", frozenset({"bottle"}), CrossingLine((0.5, 0.0), (0.5, 1.0), "right"), 3, 5, 0.25, 2.0)
    machine = make_machine(replace(make_belt_plan(window_mm=(-300.0, 0.0)), optical=rule))
    for step in range(1000):  # five frames a second; the belt stands from 5 to 195 s
        now_s = step / 5
        moving_s = min(now_s, 5.0) + max(now_s - 195.0, 0.0)
        machine.encoder(round(1000 * moving_s), now_s)
        machine.inspected(InspectedFacts("a", now_s), now_s)
        if step == 24:
            machine.event(make_fact(4.6, 4.7, is_over=True))
        assert machine.decide(now_s) == []
    machine.trigger(Trigger("l1", 196.0, crossing=1))
    (part,) = machine.decide(199.8)
    assert part.decision.verdict is PartVerdict.REJECT
