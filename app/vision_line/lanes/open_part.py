# SPDX-License-Identifier: AGPL-3.0-or-later
"""A part on its way: what each camera saw of it, and what can be said of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from vision_line.frames import Verdict
from vision_line.lanes.lane_plan import CameraNeed
from vision_line.lanes.plc_door import Trigger
from vision_line.lanes.sights import RANK, EventFacts, InspectedFacts
from vision_line.parts.part import PartCause, PartVerdict

_VERDICTS = {Verdict.ACCEPT: PartVerdict.ACCEPT, Verdict.WARN: PartVerdict.WARN, Verdict.REJECT: PartVerdict.REJECT}


@dataclass(frozen=True, slots=True)
class Window:
    """When a part is where it must be inspected: as wide as it may be, and what of it is sure. In seconds."""

    begin_s: float
    end_s: float = inf  # nobody knows yet where it ends
    surely_from_s: float = -inf
    surely_to_s: float = inf

    def is_surely_in(self, at_s: float) -> bool:
        """Whether a moment within the window is so wherever between two counts its edges are."""
        return self.surely_from_s <= at_s <= self.surely_to_s


@dataclass(slots=True)
class CameraView:
    """What one camera saw of a part. `after` counts the frames behind its window: one of them closes it.

    `inspections` are the frames that surely lie in the window: where it is known between two counts of an encoder only,
    a frame between them may show the part beside it.

    `before_s` is the newest frame before the window, None: not known. A gap is measured from frame to frame, also where
    the window lies within it: so the ledger does, and what it calls not inspected is not accepted.
    """

    need: CameraNeed
    before_s: float | None = None
    inspections: int = 0
    after: int = 0
    longest_gap_s: float = 0.0
    last_s: float | None = None
    recipes: set[str] = field(default_factory=set)
    criteria: set[int] = field(default_factory=set)
    criteria_after: set[int] = field(default_factory=set)
    classes: dict[str, float] = field(default_factory=dict)  # of its boxes, and when each was seen last

    def take(self, frame: InspectedFacts, window: Window) -> None:
        """Take a frame that lies before a part's window, in it, or behind."""
        begin_s, end_s = window.begin_s, window.end_s
        if frame.at_s < begin_s:
            self.before_s = frame.at_s if self.before_s is None else max(self.before_s, frame.at_s)
            return
        if frame.at_s > end_s:
            if not self.after:
                self._stretch(frame.at_s, begin_s)
            self.after += 1
            self.criteria_after.add(frame.criteria)
            return
        self._stretch(frame.at_s, begin_s)
        self.last_s = frame.at_s if self.last_s is None else max(self.last_s, frame.at_s)
        self.inspections += window.is_surely_in(frame.at_s)
        self.recipes.add(frame.recipe)
        self.criteria.add(frame.criteria)
        for name in frame.classes:
            self.classes[name] = max(frame.at_s, self.classes.get(name, frame.at_s))

    def _stretch(self, at_s: float, begin_s: float) -> None:
        before_s = begin_s if self.before_s is None else self.before_s
        self.longest_gap_s = max(self.longest_gap_s, at_s - (before_s if self.last_s is None else self.last_s))

    def cause(self, recipe: str | None) -> PartCause:
        """Return why the part was not inspected by this camera as it must be, NONE if it was."""
        if not self.inspections:
            return PartCause.CAMERA
        if self.inspections < self.need.inspections:
            return PartCause.TOO_FEW_INSPECTIONS
        if self.longest_gap_s > self.need.gap_s:
            return PartCause.GAP
        if len(self.criteria) > 1 or self.recipes != {recipe or ""}:  # where nobody asked, no frame may be under any
            return PartCause.RECIPE
        return PartCause.NONE if self.after else PartCause.LATE


@dataclass(slots=True)
class OpenPart:
    """A part from its trigger on, also for a while behind its decision.

    `begin_s` and `end_s` are its window's edges, None while the encoder has not come there; by an encoder they are
    where they may be at the most, and the window is sure from `surely_from_s` to `surely_to_s`. `position_mm` is where
    the belt was at its trigger. `ruled_out` is why it cannot be accepted any more: one that is decided can until it is
    told. `recipe` is None where nobody asks.
    """

    sequence: int
    trigger: Trigger
    recipe: str | None
    views: Mapping[str, CameraView]
    begin_s: float | None = None
    end_s: float | None = None
    surely_from_s: float = -inf
    surely_to_s: float = inf
    position_mm: tuple[float, float] | None = None
    ruled_out: PartCause = PartCause.NONE
    events: dict[str, EventFacts] = field(default_factory=dict)
    verdict: PartVerdict | None = None
    decided_s: float = 0.0
    is_corrected: bool = False

    def take(self, frame: InspectedFacts) -> None:
        """Take a frame of one of its cameras; until its window is known, none: it gets them all then."""
        if self.begin_s is not None:
            end_s = inf if self.end_s is None else self.end_s
            self.views[frame.camera].take(frame, Window(self.begin_s, end_s, self.surely_from_s, self.surely_to_s))

    def note(self, event: EventFacts) -> None:
        """Take an event as it is known now: it belongs to every part in whose window it was seen."""
        if self.begin_s is not None and event.is_within(self.begin_s, inf if self.end_s is None else self.end_s):
            self.events[event.event_id] = event

    def rule_out(self, cause: PartCause) -> None:
        """Note why it cannot be accepted any more; the first cause counts."""
        self.ruled_out = self.ruled_out or cause

    @property
    def worst(self) -> EventFacts | None:
        """The event that decides."""
        return max(self.events.values(), key=lambda event: (RANK[event.verdict], event.score), default=None)

    @property
    def is_rejected(self) -> bool:
        """Whether an event rejects it."""
        return any(event.verdict is Verdict.REJECT for event in self.events.values())

    @property
    def verdict_of_events(self) -> PartVerdict:
        """What its events say, were it inspected as it must be."""
        worst = self.worst
        return PartVerdict.ACCEPT if worst is None else _VERDICTS[worst.verdict]

    def cause(self) -> PartCause:
        """Return why its cameras did not inspect it as they must, NONE if they did."""
        causes = (view.cause(self.recipe) for view in self.views.values())
        found = next((cause for cause in causes if cause), PartCause.NONE)
        return found or (PartCause.RECIPE if any(map(self._is_cut_off, self.views)) else PartCause.NONE)

    def is_settled(self) -> bool:
        """Whether nothing more is to be expected: its window has closed, and what was seen in it had its time."""
        return all(self._has_settled(camera) for camera in self.views)

    def _has_settled(self, camera: str) -> bool:
        view = self.views[camera]
        if not view.after:
            return False
        return view.after >= view.need.confirming or not (self._unexplained(camera) or self._may_rise(camera))

    def _is_cut_off(self, camera: str) -> bool:
        """Whether other settings came before what was seen could be confirmed: nothing is judged by both."""
        view = self.views[camera]
        return not view.criteria_after <= view.criteria and bool(self._unexplained(camera))

    def _may_rise(self, camera: str) -> bool:
        mine = (event for event in self.events.values() if event.camera == camera)
        return any(not event.is_over for event in mine)

    def _unexplained(self, camera: str) -> list[str]:
        """Return the classes of boxes that were seen when no event of that class was."""
        known: dict[str, float] = {}
        for event in self.events.values():
            if event.camera == camera:
                known[event.class_name] = max(event.last_s, known.get(event.class_name, event.last_s))
        return [name for name, at_s in self.views[camera].classes.items() if known.get(name, -inf) < at_s]
