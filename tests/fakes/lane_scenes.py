# SPDX-License-Identifier: AGPL-3.0-or-later
"""A lane on a bench: one or two cameras at a steady rate, parts, events; moments are plain seconds."""

from __future__ import annotations

from collections.abc import Iterable

from vision_line.frames import Verdict
from vision_line.lanes.lane_machine import DecidedPart, LaneMachine, LastPart
from vision_line.lanes.lane_plan import CameraNeed, LanePlan
from vision_line.lanes.plc_door import Trigger
from vision_line.lanes.sights import EventFacts, InspectedFacts

NEED = CameraNeed(inspections=3, gap_s=0.25, confirming=3)


def make_plan(
    cameras: Iterable[str] = ("a",),
    *,
    window: tuple[float, float] = (0.0, 1.0),
    deadline_s: float = 2.0,
    delay_s: float = 0.0,
) -> LanePlan:
    """Return the plan of a lane without an encoder; nothing is spared for the machine."""
    return LanePlan(
        name="l1",
        cameras=dict.fromkeys(cameras, NEED),
        window=window,
        mm_per_count=None,
        camera_delay_s=delay_s,
        ejector_s=deadline_s,
        ejector_mm=None,
        belt_mm_per_s=None,
        spare_s=0.0,
    )


def make_belt_plan(*, window_mm: tuple[float, float] = (100.0, 300.0), ejector_mm: float = 800.0) -> LanePlan:
    """Return the plan of a lane with an encoder: 0.1 mm a count, at most 500 mm/s."""
    return LanePlan(
        name="l1",
        cameras={"a": NEED},
        window=window_mm,
        mm_per_count=0.1,
        camera_delay_s=0.0,
        ejector_s=None,
        ejector_mm=ejector_mm,
        belt_mm_per_s=500.0,
        spare_s=0.1,
    )


def make_machine(plan: LanePlan | None = None, last: LastPart | None = None) -> LaneMachine:
    """Return a lane that has been there since 0, and its line as well."""
    machine = LaneMachine(plan or make_plan(), 0.0, last or LastPart())
    machine.line_came(0.0)
    return machine


def make_trigger(at_s: float, number: int | None = None, encoder: int | None = None) -> Trigger:
    """Return a part's trigger."""
    return Trigger("l1", at_s, number, encoder=encoder)


def make_fact(
    first_s: float,
    last_s: float,
    verdict: Verdict = Verdict.REJECT,
    *,
    name: str = "e1",
    camera: str = "a",
    is_over: bool = False,
) -> EventFacts:
    """Return what is said of an event."""
    return EventFacts(camera, name, "spur", verdict, 0.9, first_s, last_s, is_over)


def watch(
    machine: LaneMachine, from_s: float, to_s: float, *, step_s: float = 0.1, lag_s: float = 0.05, classes: str = ""
) -> list[DecidedPart]:
    """Let each camera see frames, told `lag_s` later; return what was decided meanwhile."""
    decided = []
    for number in range(round((to_s - from_s) / step_s)):
        at_s = from_s + number * step_s
        for camera in machine.plan.cameras:
            machine.inspected(InspectedFacts(camera, at_s, frozenset(classes.split())), at_s + lag_s)
        decided += machine.decide(at_s + lag_s)
    return decided
