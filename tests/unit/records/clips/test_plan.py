# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which clips events ask for: every wanted event in one, none too long, none twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.frames import DefectEvent, EventPhase, Verdict
from vision_line.records.clips.plan import ClipPlan, ClipPlanner, verdicts_from
from vision_line.records.entries import CameraLabels

PRE_S, POST_S, MAX_S = 5.0, 4.0, 30.0
LABELS = CameraLabels("press 4", "recipe A")


def change(
    name: str,
    first_s: float,
    last_s: float,
    phase: EventPhase = EventPhase.NEW,
    verdict: Verdict = Verdict.REJECT,
    camera: str = "cam01",
) -> DefectEvent:
    return DefectEvent(
        *(name, phase, camera, 0, "open", verdict, 0.9, 0.9, (0, 0, 9, 9), 1, 3, first_s, first_s, last_s, last_s)
    )


def planner(least: Verdict = Verdict.WARN) -> ClipPlanner:
    return ClipPlanner(PRE_S, POST_S, MAX_S, verdicts_from(least))


def lived(made: ClipPlanner, name: str, first_s: float, last_s: float) -> ClipPlan | None:
    """Have an event begin and end; return the plan that it began."""
    begun = made.note(change(name, first_s, first_s), LABELS)
    made.note(change(name, first_s, last_s, EventPhase.END), LABELS)
    return begun


def test_a_clip_reaches_from_before_the_first_sight_to_after_the_last() -> None:
    """Until the event has ended its end is not known: then the clip is as long as one may be."""
    made = planner()
    plan = made.note(change("e", 100.0, 100.5), LABELS)
    assert plan is not None
    assert (plan.begins_s, made.ends_s(plan)) == (95.0, 125.0)

    made.note(change("e", 100.0, 103.0, EventPhase.END), LABELS)
    assert made.ends_s(plan) == 107.0


def test_events_that_overlap_share_a_clip() -> None:
    """Those of one camera, as long as what follows their first sight fits into it."""
    made = planner()
    plan = lived(made, "a", 100.0, 101.0)
    assert plan is not None
    assert lived(made, "b", 109.0, 110.0) is None
    other = made.note(change("c", 109.5, 110.0, camera="cam02"), LABELS)
    assert (plan.events, made.ends_s(plan)) == (["a", "b"], 114.0)
    assert other is not None
    assert lived(made, "later", 119.5, 120.0) is not None  # its pre-roll begins after the end of the first


def test_no_event_is_at_the_very_end_of_the_longest_clip() -> None:
    """What does not fit into it has its own, with what came before it."""
    made = planner()
    made.note(change("long", 100.0, 100.0), LABELS)  # goes on: at most up to 125
    assert made.note(change("in", 120.0, 120.5), LABELS) is None
    own = made.note(change("own", 121.5, 122.0), LABELS)
    assert own is not None
    assert own.begins_s == 116.5


def test_a_verdict_that_rises_begins_a_clip() -> None:
    """From then on; milder ones have none."""
    made = planner()
    assert made.note(change("e", 100.0, 100.0, verdict=Verdict.ACCEPT), LABELS) is None
    plan = made.note(change("e", 100.0, 101.0, EventPhase.UPDATE, Verdict.WARN), LABELS)
    assert plan is not None
    assert plan.begins_s == 95.0
    assert made.note(change("f", 130.0, 130.0, EventPhase.END, Verdict.ACCEPT), LABELS) is None


def test_an_event_that_outlasts_its_clip_has_no_other() -> None:
    """Its later changes begin none."""
    made = planner()
    plan = made.note(change("e", 100.0, 100.0), LABELS)
    assert plan is not None
    made.close(plan)
    assert made.note(change("e", 100.0, 140.0, EventPhase.UPDATE), LABELS) is None
    assert made.note(change("e", 100.0, 150.0, EventPhase.END), LABELS) is None
    assert made.note(change("f", 151.0, 151.0), LABELS) is not None


@pytest.mark.parametrize(("least", "count"), [(Verdict.ACCEPT, 3), (Verdict.WARN, 2), (Verdict.REJECT, 1)])
def test_verdicts(least: Verdict, count: int) -> None:
    """Accept is the mildest, reject the gravest."""
    assert len(verdicts_from(least)) == count
    assert Verdict.REJECT in verdicts_from(least)


EVENTS = st.lists(
    st.tuples(
        st.floats(0.0, 20.0), st.floats(0.0, 50.0), st.sampled_from(list(Verdict)), st.sampled_from(["cam01", "cam02"])
    ),
    max_size=30,
)


@given(EVENTS)
def test_every_event_is_in_one_clip_that_shows_it(events: list[tuple[float, float, Verdict, str]]) -> None:
    """Whatever comes: a wanted event is in exactly one clip, which has its pre-roll and is not too long."""
    made, at_s = planner(), 0.0
    plans: list[ClipPlan] = []
    open_plans: list[ClipPlan] = []
    changes = []
    for number, (wait_s, long_s, verdict, camera) in enumerate(events):
        at_s += wait_s
        new = change(f"e{number}", at_s, at_s, verdict=verdict, camera=camera)
        changes += [(at_s, new), (at_s + long_s, replace(new, phase=EventPhase.END, last_seen_s=at_s + long_s))]
    for now_s, event in sorted(changes, key=lambda pair: (pair[0], pair[1].phase is EventPhase.END)):
        for plan in [plan for plan in open_plans if made.ends_s(plan) < now_s]:
            made.close(plan)
            open_plans.remove(plan)
        if begun := made.note(event, LABELS):
            plans.append(begun)
            open_plans.append(begun)

    wanted = [event for _, event in changes if event.phase is EventPhase.NEW and event.verdict is not Verdict.ACCEPT]
    assert sorted(name for plan in plans for name in plan.events) == sorted(event.event_id for event in wanted)
    by_name = {name: plan for plan in plans for name in plan.events}
    for event in wanted:
        plan = by_name[event.event_id]
        assert plan.camera == event.camera
        assert plan.begins_s <= event.first_seen_s - PRE_S
        assert made.ends_s(plan) >= min(event.first_seen_s + POST_S, plan.begins_s + MAX_S)
        assert made.ends_s(plan) - plan.begins_s <= MAX_S + 1e-9
    assert len({plan.clip_id for plan in plans}) == len(plans)
