# SPDX-License-Identifier: AGPL-3.0-or-later
"""A part that is told after its window began is judged by all of its window."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.lane_scenes import NEED, make_belt_plan, make_fact, make_machine, make_plan

from vision_line.frames import Verdict
from vision_line.lanes.lane_machine import DecidedPart, LaneMachine
from vision_line.lanes.lane_plan import LanePlan
from vision_line.lanes.plc_door import Trigger
from vision_line.lanes.sights import EventFacts, InspectedFacts
from vision_line.parts.part import PartCause, PartVerdict

ACCEPTED = {PartVerdict.ACCEPT, PartVerdict.WARN}
COUNTS_EVERY_S = 0.04
TRIGGERED_S = 3.0


@dataclass(frozen=True)
class Belt:
    """A belt that moves at 500 mm/s, and stands once."""

    stands_from_s: float
    stands_for_s: float

    def position_mm(self, at_s: float) -> float:
        """Return where it is."""
        stood_s = min(max(at_s - self.stands_from_s, 0.0), self.stands_for_s)
        return 500.0 * (at_s - stood_s)

    def count(self, at_s: float) -> int:
        """Return what its encoder says."""
        return round(10 * self.position_mm(at_s))


@dataclass(frozen=True)
class Story:
    """One camera at ten frames a second, and one part."""

    window_s: tuple[float, float]
    late_s: float
    missing: tuple[int, ...]
    other_recipe: tuple[int, ...]
    spotted: tuple[int, ...]
    confirmed_after_s: float | None
    belt: Belt | None = None
    says_count: bool = True

    @property
    def frames(self) -> list[InspectedFacts]:
        """What the camera shows in ten seconds."""
        return [
            InspectedFacts(
                "a",
                number / 10 + 0.003,
                frozenset({"spur"} if number in self.spotted else ()),
                "fine" if number in self.other_recipe else "",
            )
            for number in range(100)
            if number not in self.missing
        ]

    @property
    def plan(self) -> LanePlan:
        """What the lane asks for."""
        if self.belt is None:
            return make_plan(window=self.window_s, deadline_s=4.0)
        begin, end = (500.0 * edge for edge in self.window_s)
        return make_belt_plan(window_mm=(begin, end), ejector_mm=2000.0)

    def trigger(self) -> Trigger:
        """Return what is said of the part."""
        count = self.belt.count(TRIGGERED_S) if self.belt is not None and self.says_count else None
        return Trigger("l1", TRIGGERED_S, 1, encoder=count)

    def truly_in(self, at_s: float) -> int:
        """Return -1 before the part's window, 0 within, 1 behind."""
        begin, end = self.window_s
        after_s = at_s - TRIGGERED_S
        if self.belt is not None:
            after_s = (self.belt.position_mm(at_s) - self.belt.position_mm(TRIGGERED_S)) / 500.0
        return -1 if after_s < begin - 1e-9 else int(after_s > end + 1e-9)


@st.composite
def stories(draw: st.DrawFn, *, has_belt: bool) -> Story:
    """Most is good, and a few things go wrong, mostly near the part.

    The belt never stands exactly at an edge of the window: what is seen then is of both sides.
    """
    begin_s = draw(st.sampled_from([-1.03, -0.53, 0.03, 0.23]))
    first = draw(st.integers(15, 45))

    def some(most: int) -> tuple[int, ...]:
        begins = draw(st.integers(15, 45))
        return tuple(range(begins, begins + draw(st.sampled_from([0, 0, 1, 2, most]))))

    return Story(
        window_s=(begin_s, begin_s + draw(st.sampled_from([0.5, 1.0]))),
        late_s=draw(st.sampled_from([0.0, 0.05, 0.3, 0.7, 1.2, 2.0])),
        missing=some(4),
        other_recipe=some(15),
        spotted=tuple(range(first, first + draw(st.sampled_from([0, 2, 3])))),
        confirmed_after_s=draw(st.sampled_from([None, 0.05, 0.25])),
        belt=Belt(draw(st.integers(15, 50)) / 10 + 0.057, draw(st.sampled_from([0.0, 0.3, 1.0]))) if has_belt else None,
        says_count=draw(st.booleans()),
    )


def outcome(story: Story, late_s: float) -> tuple[DecidedPart, LaneMachine]:
    """Return how the part is decided where it is told so late."""
    machine = make_machine(story.plan)
    frames = story.frames
    items: list[tuple[float, int, int | Trigger | InspectedFacts | EventFacts]] = [
        (frame.at_s + 0.01, 2, frame) for frame in frames
    ]
    items.append((TRIGGERED_S + late_s, 3, story.trigger()))
    spots = [frame.at_s for frame in frames if "spur" in frame.classes]
    if spots and story.confirmed_after_s is not None:
        event = make_fact(spots[0], spots[-1], Verdict.REJECT)
        items.append((spots[-1] + story.confirmed_after_s, 1, event))
    if (belt := story.belt) is not None:
        moments = [step * COUNTS_EVERY_S for step in range(int(10 / COUNTS_EVERY_S))]
        items += [(at_s, 0, belt.count(at_s)) for at_s in moments]
    decided: list[DecidedPart] = []
    for now_s, _, item in sorted(items, key=lambda each: each[:2]):
        match item:
            case int():
                machine.encoder(item, now_s)
            case Trigger():
                machine.trigger(item)
            case InspectedFacts():
                machine.inspected(item, now_s)
            case EventFacts():
                machine.event(item)
        decided += machine.decide(now_s)
    (only,) = decided
    return only, machine


def check(story: Story, decided: DecidedPart) -> None:
    """Hold an acceptance to what truly was seen of the part until then."""
    if decided.decision.verdict not in ACCEPTED:
        return
    known = [frame for frame in story.frames if frame.at_s + 0.01 <= decided.decision.decided_s + 1e-9]
    places = [(frame, story.truly_in(frame.at_s)) for frame in known]
    inside = [frame for frame, place in places if place == 0]
    before = [frame.at_s for frame, place in places if place < 0][-1:]
    after = [frame.at_s for frame, place in places if place > 0][:1]
    assert len(inside) >= NEED.inspections
    assert {frame.recipe for frame in inside} == {""}
    moments = [*before, *(frame.at_s for frame in inside), *after]
    assert before
    assert after
    assert max(later - earlier for earlier, later in pairwise(moments)) <= NEED.gap_s + 1e-9
    has_spot = any("spur" in frame.classes for frame in inside)
    soon = story.confirmed_after_s is not None and story.confirmed_after_s <= 0.05
    assert not (has_spot and soon), "it is confirmed by one more frame, which is to be waited for"


@settings(max_examples=100, deadline=None)
@given(stories(has_belt=False))
def test_however_late_a_trigger_is_its_whole_window_counts(story: Story) -> None:
    late, _ = outcome(story, story.late_s)
    check(story, late)
    at_once, machine = outcome(story, min(story.window_s[0], 0.0))  # no later than its window begins
    if late.decision.verdict in ACCEPTED:
        assert at_once.decision.verdict in ACCEPTED
        assert late.inspections == at_once.inspections
    elif at_once.decision.verdict in ACCEPTED:  # by then a reject was known
        assert late.decision.verdict is PartVerdict.REJECT
        assert machine.take_late_finds()


@settings(max_examples=100, deadline=None)
@given(stories(has_belt=True))
def test_however_late_a_trigger_is_its_whole_way_on_the_belt_counts(story: Story) -> None:
    late, _ = outcome(story, story.late_s)
    check(story, late)


@pytest.mark.parametrize("late_s", [-0.5, 0.0, 0.2])
@pytest.mark.parametrize("has_belt", [False, True])
def test_a_good_part_is_accepted_however_late_its_trigger_is(late_s: float, *, has_belt: bool) -> None:
    """Also where all of its window lies before its trigger."""
    belt = Belt(0.0, 0.0) if has_belt else None
    story = Story((-0.8, 0.0), max(late_s, 0.0) if has_belt else late_s, (), (), (), None, belt)
    decided, _ = outcome(story, story.late_s)
    assert (decided.decision.verdict, decided.inspections["a"] >= 7) == (PartVerdict.ACCEPT, True)


def test_a_window_that_began_before_all_that_is_remembered_is_a_gap() -> None:
    """Nobody knows any more how it was inspected."""
    machine = make_machine(make_plan(window=(0.0, 30.0), deadline_s=100.0))
    for number in range(4000):
        machine.inspected(InspectedFacts("a", number / 100), number / 100)
        machine.decide(number / 100)
    machine.trigger(Trigger("l1", 5.0, 1))
    (forgotten,) = machine.decide(40.0)
    assert forgotten.decision.cause is PartCause.GAP


def test_inspections_between_two_places_that_a_part_may_have_are_not_counted() -> None:
    """Its trigger fell between two counts: the window surely ends where the earlier place leaves it."""
    machine = make_machine(make_belt_plan(window_mm=(100.0, 160.0)))
    machine.encoder(0, 0.0)
    machine.encoder(0, 1.0)
    machine.encoder(500, 1.1)
    machine.trigger(Trigger("l1", 1.05, 1))  # it is at 0 to 50 mm: its window surely is from 150 to 160 mm
    for step in range(1, 60):
        now_s = 1.1 + step / 100
        machine.encoder(500 + 50 * step, now_s)
        machine.inspected(InspectedFacts("a", now_s - 0.001), now_s)
        decided = machine.decide(now_s)
        if decided:
            break
    (only,) = decided
    assert only.decision.cause in {PartCause.TOO_FEW_INSPECTIONS, PartCause.CAMERA}
    assert only.inspections["a"] <= 3
