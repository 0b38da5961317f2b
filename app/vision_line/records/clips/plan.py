# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which clips events ask for: from before their first sight to after their last, overlapping ones in one. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from math import inf

from vision_line.frames import DefectEvent, EventPhase, Verdict
from vision_line.records.entries import CameraLabels

#: From the mildest on.
_SEVERITY = (Verdict.ACCEPT, Verdict.WARN, Verdict.REJECT)


def verdicts_from(least: Verdict) -> tuple[Verdict, ...]:
    """Return `least` and the verdicts above it."""
    return _SEVERITY[_SEVERITY.index(least) :]


@dataclass(slots=True)
class ClipPlan:
    """A clip that is asked for: `events` in the order in which they came, from `begins_s` on (monotonic).

    `unended` are those of them that go on; `seen_s` is when the last one was seen. `labels` are the first one's.
    """

    clip_id: str
    camera: str
    labels: CameraLabels
    begins_s: float
    seen_s: float
    events: list[str] = field(default_factory=list)
    unended: set[str] = field(default_factory=set)


class ClipPlanner:
    """The clips that are asked for and not over, from the changes of all events. Used by one thread."""

    def __init__(self, pre_s: float, post_s: float, max_s: float, verdicts: Collection[Verdict]) -> None:
        """Plan for events of these `verdicts`: `pre_s` before, `post_s` after, a clip at most `max_s` long."""
        self._pre_s = pre_s
        self._post_s = post_s
        self._max_s = max_s
        self._verdicts = frozenset(verdicts)
        self._newest: dict[str, ClipPlan] = {}  # by camera
        self._plan_of: dict[str, ClipPlan] = {}  # by event that goes on, also where its clip is over

    def note(self, event: DefectEvent, labels: CameraLabels) -> ClipPlan | None:
        """Take account of a change that came under these labels; return the plan that it begins, if it begins one."""
        plan = self._plan_of.get(event.event_id)
        begun = None
        if plan is None and event.verdict in self._verdicts:
            plan, begun = self._joined(event, labels)
        if plan is not None:
            plan.seen_s = max(plan.seen_s, event.last_seen_s)
            if event.phase is EventPhase.END:
                plan.unended.discard(event.event_id)
                self._plan_of.pop(event.event_id, None)
        return begun

    def ends_s(self, plan: ClipPlan) -> float:
        """Return when a clip ends, as far as it is known: while an event goes on, at its longest."""
        return min(plan.begins_s + self._max_s, inf if plan.unended else plan.seen_s + self._post_s)

    def close(self, plan: ClipPlan) -> None:
        """Take account of a clip that is over: events that come now have another."""
        if self._newest.get(plan.camera) is plan:
            del self._newest[plan.camera]

    def _joined(self, event: DefectEvent, labels: CameraLabels) -> tuple[ClipPlan, ClipPlan | None]:
        """Return the plan that an event without one belongs to, and again if it is new."""
        begins_s = event.first_seen_s - self._pre_s
        plan, begun = self._newest.get(event.camera), None
        if plan is None or not self._takes(plan, event):
            plan = begun = ClipPlan(event.event_id, event.camera, labels, begins_s, event.last_seen_s)
            self._newest[event.camera] = plan
        plan.begins_s = min(plan.begins_s, begins_s)
        plan.events.append(event.event_id)
        plan.unended.add(event.event_id)
        self._plan_of[event.event_id] = plan
        return plan, begun

    def _takes(self, plan: ClipPlan, event: DefectEvent) -> bool:
        """Whether the event's time overlaps with the clip's, and what follows its first sight still fits."""
        fits = event.first_seen_s + self._post_s - min(plan.begins_s, event.first_seen_s - self._pre_s) <= self._max_s
        return fits and event.first_seen_s - self._pre_s <= self.ends_s(plan)
