# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whatever comes in whatever order: no late acceptance, and none of a part that was not inspected."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.fakes.lane_scenes import NEED, make_fact, make_machine, make_plan, make_trigger

from vision_line.frames import Verdict
from vision_line.lanes.lane_machine import DecidedPart
from vision_line.lanes.sights import EventFacts, InspectedFacts
from vision_line.parts.part import PartCause, PartVerdict

ACCEPTED = {PartVerdict.ACCEPT, PartVerdict.WARN}
CAMERAS = ("a", "b")
moments = st.integers(0, 600).map(lambda each: each / 100)


@dataclass(frozen=True)
class Step:
    """Something that happens at `at_s`, beside the frames of a good line."""

    at_s: float
    what: str
    camera: str = "a"
    age_s: float = 0.0
    verdict: Verdict = Verdict.REJECT
    span_s: float = 0.0
    number: int = 0


def steps_of(*what: str) -> st.SearchStrategy[Step]:
    """Return steps of these kinds."""
    return st.builds(
        Step,
        at_s=moments,
        what=st.sampled_from(what),
        camera=st.sampled_from(CAMERAS),
        age_s=st.sampled_from([0.0, 0.02, 0.1, 0.6]),
        verdict=st.sampled_from(Verdict),
        span_s=st.sampled_from([0.0, 0.1, 0.5]),
        number=st.integers(0, 3),
    )


@st.composite
def stories(draw: st.DrawFn) -> list[Step]:
    """Two cameras at 10 a second, perhaps with frames that are missing; parts; and a few things that go wrong."""
    lags = {camera: draw(st.sampled_from([0.01, 0.05, 0.3])) for camera in CAMERAS}
    missing = draw(st.lists(st.tuples(st.sampled_from(CAMERAS), st.integers(0, 59)), max_size=4))
    frames = [
        Step(number / 10 + lags[camera], "frame", camera, lags[camera])
        for camera in CAMERAS
        for number in range(60)
        if not any(camera == who and 0 <= number - first < 3 for who, first in missing)
    ]
    parts = draw(st.lists(steps_of("trigger"), min_size=1, max_size=5))
    seen = draw(st.lists(steps_of("event", "spot"), max_size=3))
    faults = draw(st.lists(steps_of("went", "came", "lost", "stop", "go", "off", "on"), max_size=3))
    return sorted([*frames, *parts, *seen, *faults], key=lambda step: step.at_s)


@dataclass
class History:
    """What a reader of the whole story can say, without the machine's own state."""

    frames: list[InspectedFacts] = field(default_factory=list)
    events: list[EventFacts] = field(default_factory=list)
    went_s: list[float] = field(default_factory=list)
    came_s: list[float] = field(default_factory=list)
    stopped: bool = False
    enabled: bool = True
    triggers: int = 0

    def inspected(self, camera: str, begin_s: float, end_s: float) -> bool:
        """Whether a camera saw a window often enough, without a gap, and a frame behind it."""
        mine = sorted(frame.at_s for frame in self.frames if frame.camera == camera)
        inside = [at_s for at_s in mine if begin_s <= at_s <= end_s]
        before, after = [at_s for at_s in mine if at_s < begin_s], [at_s for at_s in mine if at_s > end_s]
        edges = [*(before[-1:] or [begin_s]), *inside, *after[:1]]
        has_gap = any(later - earlier > NEED.gap_s + 1e-9 for earlier, later in pairwise(edges))
        return len(inside) >= NEED.inspections and not has_gap and bool(after)


def check(history: History, decided: DecidedPart) -> None:
    """Hold a decision to the whole story up to it."""
    decision = decided.decision
    begin_s, end_s = decision.trigger.at_s, decision.trigger.at_s + 1.0
    rejecting = [e for e in history.events if e.verdict is Verdict.REJECT and e.is_within(begin_s, end_s)]
    assert (decision.verdict is PartVerdict.NOT_INSPECTED) == (decision.cause is not PartCause.NONE)
    if decision.verdict in ACCEPTED:
        assert decision.decided_s < decision.deadline_s
        assert all(history.inspected(camera, begin_s, end_s) for camera in CAMERAS)
        assert not rejecting
        assert not history.stopped
        assert history.enabled
        assert not [at_s for at_s in history.went_s if begin_s <= at_s]
        assert not [at_s for at_s in history.came_s if begin_s < at_s]  # all that is inspected from then on comes
    if decision.verdict is PartVerdict.REJECT:
        assert decision.decided_s < decision.deadline_s
        # One that is not over may have been seen for longer than was said.
        assert any(event.verdict is Verdict.REJECT and event.first_s <= end_s for event in history.events)


@settings(max_examples=25, deadline=None)
@given(stories())
def test_no_acceptance_is_late_or_of_a_part_that_was_not_inspected(story: list[Step]) -> None:
    machine = make_machine(make_plan(CAMERAS, deadline_s=1.6))
    history = History()
    now_s, decided = 0.0, list[DecidedPart]()
    for step in story:
        now_s = step.at_s
        match step.what:
            case "frame" | "spot":
                seen = frozenset({"spur"} if step.what == "spot" else ())
                frame = InspectedFacts(step.camera, now_s - step.age_s, seen)
                history.frames.append(frame)
                machine.inspected(frame, now_s)
            case "event":
                last_s = now_s - step.age_s
                name = f"e{step.number}"
                event = make_fact(last_s - step.span_s, last_s, step.verdict, name=name, camera=step.camera)
                history.events.append(event)
                machine.event(event)
            case "trigger":
                history.triggers += 1
                machine.trigger(make_trigger(now_s + step.age_s - 2 * step.span_s))  # also one that is told late
            case "went":
                history.went_s.append(now_s)
                machine.line_went()
            case "came":
                machine.line_came(now_s)
                history.came_s.append(now_s)
            case "lost":
                machine.lost_results(now_s)
            case "stop" | "go":
                history.stopped = step.what == "stop"
                machine.stops = {PartCause.LOG: "disk full"} if history.stopped else {}
            case _:
                history.enabled = step.what == "on"
                machine.enable(is_enabled=history.enabled)
        for one in machine.decide(now_s):
            check(history, one)
            decided.append(one)
    decided += machine.end(PartCause.RESTART, now_s)

    sequences = [one.decision.sequence for one in decided]
    assert len(sequences) == len(set(sequences))  # each once
    assert set(sequences) == set(range(1, len(sequences) + 1))  # and none forgotten
    assert machine.parts == len(decided)
    assert machine.not_inspected + machine.rejects <= machine.parts


@settings(max_examples=25, deadline=None)
@given(
    offset_s=st.floats(0.0, 0.099),
    lag_s=st.floats(0.0, 0.3),
    seen_s=moments,
    late_s=st.floats(0.0, 1.2),
)
def test_a_reject_is_never_accepted_unless_it_came_too_late(
    offset_s: float, lag_s: float, seen_s: float, late_s: float
) -> None:
    """A good camera, a part at 2 s, and one certain defect somewhere in 6 s, known `late_s` after it was seen."""
    machine = make_machine(make_plan(deadline_s=1.8))
    machine.trigger(make_trigger(2.0))
    waiting = [(offset_s + step * 0.1 + lag_s, InspectedFacts("a", offset_s + step * 0.1)) for step in range(60)]
    news: list[tuple[float, InspectedFacts | EventFacts]] = [
        *waiting,
        (seen_s + late_s, make_fact(seen_s, seen_s, is_over=True)),
    ]
    decided: list[DecidedPart] = []
    for now_s, item in sorted(news, key=lambda each: each[0]):
        if isinstance(item, EventFacts):
            machine.event(item)
        else:
            machine.inspected(item, now_s)
        decided += machine.decide(now_s)

    (only,) = decided
    assume(seen_s + late_s != only.decision.decided_s)  # which came first, nobody can say
    if 2.0 <= seen_s <= 3.0:
        known_by_then = seen_s + late_s <= only.decision.decided_s
        assert only.decision.verdict is (PartVerdict.REJECT if known_by_then else PartVerdict.ACCEPT)
        assert bool(machine.take_late_finds()) is not known_by_then
    else:
        assert only.decision.verdict is PartVerdict.ACCEPT
