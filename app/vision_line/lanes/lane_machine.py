# SPDX-License-Identifier: AGPL-3.0-or-later
"""Decides the parts of one lane: on time, or not inspected. Pure: no clock, no socket, no file.

A part is rejected as soon as an event that was seen in its window is a reject. It is accepted only when its window has
closed for every camera, each inspected it often enough and without a gap, by the right recipe, what was seen of it had
time to be confirmed, nothing stops acceptance, and its deadline has not come. Everything else is not inspected.

Moments are seconds of the monotonic clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf

from vision_line.lanes.lane_plan import LanePlan
from vision_line.lanes.lane_view import LaneView
from vision_line.lanes.open_part import CameraView, OpenPart
from vision_line.lanes.plc_door import LaneState, PartDecision, Trigger
from vision_line.lanes.sights import EventFacts, InspectedFacts
from vision_line.lanes.trigger_numbers import number_step
from vision_line.parts.part import PartCause, PartVerdict

#: Parts on their way at the same time; one more cannot be told apart.
MOST_OPEN = 256
#: Triggers that are closer than this share of the window are one part or two: nobody can tell.
SAME_PART_SHARE = 0.1
#: How long a decided part is kept, for what is found of it too late, in seconds; and how many of a lane.
KEPT_S = 60.0
MOST_KEPT = 1000
#: So long before nothing can be accepted any more a part is decided by what is known, in seconds.
LAST_CALL_S = 0.01
#: A camera without a result for its gap and so much longer is away, in seconds.
_CAMERA_ROOM_S = 0.5


@dataclass(frozen=True, slots=True)
class LastPart:
    """The newest part of a lane: its sequence, and what the PLC called it."""

    sequence: int = 0
    number: int | None = None


@dataclass(frozen=True, slots=True)
class DecidedPart:
    """A part with its decision, and what led to it."""

    part: OpenPart
    decision: PartDecision
    window_s: tuple[float, float]
    inspections: Mapping[str, int]
    events: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LateFind:
    """A decided part that would have been a reject: by what was found of it afterwards."""

    part: OpenPart
    events: tuple[str, ...]


class LaneMachine:
    """One lane. What comes in is taken by its methods; `decide` says what follows from it."""

    def __init__(self, plan: LanePlan, began_s: float, last: LastPart) -> None:
        """Decide what is triggered from `began_s` on; `last` is the newest part before."""
        self.plan = plan
        self.is_enabled = True
        #: What stops acceptance now, worst first, in words.
        self.stops: dict[PartCause, str] = {}
        #: The recipe that was asked for last, None where nobody asked. A part whose trigger names another needs that.
        self.recipe: str | None = None
        self.parts = self.rejects = self.not_inspected = self.late_finds = 0
        self._began_s = began_s
        self._sequence = last.sequence
        self._number = last.number
        self._open: dict[int, OpenPart] = {}
        self._decided: deque[OpenPart] = deque(maxlen=MOST_KEPT)
        self._missed: list[OpenPart] = []
        self._late_finds: list[LateFind] = []
        self._came_s: dict[str, float] = {}  # when each camera's newest result came
        self._line_since_s = inf
        #: Until when what was seen is not all known, and why: also for parts that are known later.
        self._unknown: tuple[float, PartCause] = (-inf, PartCause.NONE)
        self._view = LaneView(plan)

    # What comes from the machine that sorts.

    def trigger(self, trigger: Trigger, *, recipe: str | None = None) -> int:
        """Take a part that begins to pass, with its recipe, None where any will do; return its sequence.

        One that was taken before keeps its own: the same number while that part is on its way, or the same moment.
        """
        if (known := self._known(trigger)) is not None:
            return known.sequence
        if trigger.number is not None:
            self._step(trigger, trigger.number, recipe)
        part = self._new_part(trigger, recipe)
        if trigger.encoder is not None:
            self.encoder(trigger.encoder, trigger.at_s)
        self._view.place(part)
        self._rule_out_neighbours(part)
        if len(self._open) >= MOST_OPEN:
            part.rule_out(PartCause.OVERLAP)
        self._open[part.sequence] = part
        self._deliver()
        return part.sequence

    def miss(self, trigger: Trigger, cause: PartCause, *, recipe: str | None = None) -> int:
        """Take a part that cannot be inspected any more, and why; return its sequence."""
        part = self._new_part(trigger, recipe)
        part.rule_out(cause)
        self._missed.append(part)
        return part.sequence

    def begin_anew(self) -> None:
        """Note that the machine that sorts has forgotten what is on its way."""
        self._rule_out_untold(PartCause.RESTART)

    def enable(self, *, is_enabled: bool) -> None:
        """Decide, or divert everything: also what is decided, and is not told yet."""
        self.is_enabled = is_enabled
        if not is_enabled:
            self._rule_out_untold(PartCause.LANE_OFF)

    def encoder(self, count: int, at_s: float) -> None:
        """Take the belt's count; one that begins anew leaves nobody knowing where parts are."""
        if not self._view.count(count, at_s):
            self._rule_out_untold(PartCause.RESTART)
        self._deliver()

    # What comes from the line.

    def line_came(self, now_s: float) -> None:
        """Note that from now on all results come."""
        self._line_since_s = now_s
        self._came_s.clear()

    def line_went(self) -> None:
        """Note that the run is gone: what it had found of parts on their way, nobody knows."""
        self._line_since_s = inf
        self._rule_out_open(PartCause.LINE_AWAY)
        self._view.clear()

    def lost_results(self, now_s: float) -> None:
        """Note that inspected frames were not told: parts may have been in them."""
        self._lose_until(now_s, PartCause.GAP)

    def saw_nothing(self, now_s: float) -> None:
        """Note that up to now a camera's frames showed nothing, though they are inspected: nor did parts in them."""
        self._unknown = max(self._unknown, (now_s, PartCause.CAMERA))

    def slept(self, now_s: float) -> None:
        """Note that this machine slept: the belt may have moved, and the clock has not."""
        self._lose_until(now_s, PartCause.LATE)
        self._rule_out_untold(PartCause.LATE)

    def inspected(self, frame: InspectedFacts, now_s: float) -> None:
        """Take an inspected frame of one of the lane's cameras, behind its events."""
        self._came_s[frame.camera] = now_s
        self._hold(frame.at_s, frame)

    def event(self, event: EventFacts) -> None:
        """Take what is said of an event of one of the lane's cameras; it may come twice."""
        self._hold(event.last_s, event)

    # What follows.

    def decide(self, now_s: float, room_s: float = 0.0) -> list[DecidedPart]:
        """Return the parts that are decided now; an acceptance needs `room_s` until it is told."""
        missed, self._missed = self._missed, []
        decided = [self._close(part, part.ruled_out, now_s) for part in missed]
        found = [self._decision(part, now_s, room_s) for part in list(self._open.values())]
        decided += [each for each in found if each is not None]
        self._let_go(now_s)
        return decided

    def end(self, cause: PartCause, now_s: float) -> list[DecidedPart]:
        """Return all parts on their way as not inspected: nothing is decided any more."""
        self._rule_out_untold(cause)
        return self.decide(now_s)

    def next_check_s(self, room_s: float = 0.0) -> float:
        """Return when `decide` must be asked again although nothing came, infinite without a part on its way."""
        return min((self.deadline_s(part) - room_s - LAST_CALL_S for part in self._open.values()), default=inf)

    def take_late_finds(self) -> list[LateFind]:
        """Return what was found too late since the last call."""
        found, self._late_finds = self._late_finds, []
        return found

    def deadline_s(self, part: OpenPart) -> float:
        """Return by when a part must be decided."""
        return self._view.deadline_s(part)

    def state(self, now_s: float) -> LaneState:
        """Return how the lane is now."""
        cause, fault = self._fault(now_s)
        return LaneState(
            is_enabled=self.is_enabled,
            fault=fault,
            cause=cause,
            parts=self.parts,
            rejects=self.rejects,
            not_inspected=self.not_inspected,
        )

    def sent_otherwise(self, part: OpenPart, verdict: PartVerdict) -> None:
        """Note that another verdict was told of a part than was decided: a severer one."""
        part.verdict = verdict
        self.rejects += verdict is PartVerdict.REJECT
        self.not_inspected += verdict is PartVerdict.NOT_INSPECTED

    @property
    def last(self) -> LastPart:
        """The newest part, recorded or not."""
        return LastPart(self._sequence, self._number)

    @property
    def has_line(self) -> bool:
        """Whether results come."""
        return self._line_since_s < inf

    @property
    def on_their_way(self) -> int:
        """How many parts are not decided."""
        return len(self._open)

    # Triggers.

    def _known(self, trigger: Trigger) -> OpenPart | None:
        for part in (*self._open.values(), *reversed(self._decided)):
            mine = part.trigger
            same_number = mine.number == trigger.number
            if mine.number is not None and same_number and part.verdict is None and not part.ruled_out:
                return part
            same_part = (mine.part_id, mine.crossing) == (trigger.part_id, trigger.crossing)
            if same_number and same_part and mine.at_s == trigger.at_s:
                return part
        return None

    def _step(self, trigger: Trigger, number: int, recipe: str | None) -> None:
        """Follow the PLC's numbers: a new beginning rules out what is on its way, a gap is parts that nobody told."""
        step = number_step(self._number, number)
        if step.begins_anew:
            self._rule_out_untold(PartCause.RESTART)
        for missed in step.missed:
            untold = Trigger(trigger.lane, trigger.at_s, missed, lot=trigger.lot, recipe=trigger.recipe)
            self.miss(untold, PartCause.RESTART, recipe=recipe)
        self._number = number

    def _new_part(self, trigger: Trigger, recipe: str | None) -> OpenPart:
        self._sequence += 1
        views = {camera: CameraView(need) for camera, need in self.plan.needs(recipe).items()}
        return OpenPart(self._sequence, trigger, recipe, views)

    def _rule_out_neighbours(self, part: OpenPart) -> None:
        """Rule out a part and those to which it came closer than anything can come, where they are not decided.

        One may be told late: then those count too that are decided, but not those that nobody told.
        """
        for other in (*self._open.values(), *(each for each in self._decided if each.begin_s is not None)):
            if self._are_too_close(part, other):
                other.rule_out(PartCause.OVERLAP)
                part.rule_out(PartCause.OVERLAP)

    def _are_too_close(self, one: OpenPart, other: OpenPart) -> bool:
        """Whether two came closer than anything can come: in time, or on a belt that stood between them."""
        (begin_s, end_s), (begin, end) = self.plan.window_after_s, self.plan.window
        if abs(one.trigger.at_s - other.trigger.at_s) < SAME_PART_SHARE * (end_s - begin_s):
            return True
        if one.position_mm is None or other.position_mm is None:
            return False
        return abs(one.position_mm[1] - other.position_mm[1]) < SAME_PART_SHARE * (end - begin)

    # Frames and events.

    def _hold(self, at_s: float, item: InspectedFacts | EventFacts) -> None:
        if not self._view.hold(at_s, item):
            self._lose_until(at_s, PartCause.GAP)
        self._deliver()

    def _deliver(self) -> None:
        if self._view.deliver(self._open.values(), self._decided):
            for part in self._decided:
                self._correct(part)

    def _correct(self, part: OpenPart) -> None:
        """Note, once, that a decided part would have been a reject."""
        if part.is_rejected and part.verdict is not PartVerdict.REJECT and not part.is_corrected:
            part.is_corrected = True
            self.late_finds += 1
            self._late_finds.append(LateFind(part, tuple(part.events)))

    # Decisions.

    def _decision(self, part: OpenPart, now_s: float, room_s: float) -> DecidedPart | None:
        deadline_s = self.deadline_s(part)
        if part.is_rejected and now_s < deadline_s:
            return self._close(part, PartCause.NONE, now_s)
        cause, accepts_until_s = self._cause(part), deadline_s - room_s
        if part.ruled_out or not self.is_enabled or now_s >= accepts_until_s:
            return self._close(part, cause or PartCause.LATE, now_s)
        if part.is_settled():
            return self._close(part, cause, now_s)
        is_last_call = now_s >= accepts_until_s - LAST_CALL_S
        return self._close(part, cause or PartCause.LATE, now_s) if is_last_call else None

    def _cause(self, part: OpenPart) -> PartCause:
        """Return why a part cannot be accepted, NONE if it can."""
        if part.ruled_out or not self.is_enabled:
            return part.ruled_out or PartCause.LANE_OFF
        return next(iter(self.stops), PartCause.NONE) or self._cause_of_window(part)

    def _cause_of_window(self, part: OpenPart) -> PartCause:
        if part.begin_s is None or part.end_s is None:
            return PartCause.LATE  # the encoder has not come there
        if part.begin_s < self._began_s:
            return PartCause.RESTART
        if part.begin_s < self._unknown[0]:
            return self._unknown[1]
        return PartCause.LINE_AWAY if part.begin_s < self._line_since_s else part.cause()

    def _close(self, part: OpenPart, cause: PartCause, now_s: float) -> DecidedPart:
        self._open.pop(part.sequence, None)
        part.verdict = PartVerdict.NOT_INSPECTED if cause else part.verdict_of_events
        part.decided_s = now_s
        self._decided.append(part)
        self._correct(part)
        self.parts += 1
        self.rejects += part.verdict is PartVerdict.REJECT
        self.not_inspected += part.verdict is PartVerdict.NOT_INSPECTED
        decided = self._as_decided(part, cause)
        if part.begin_s is not None and part.end_s is None:
            part.end_s = max(part.begin_s, now_s)  # what comes later is another part's
        return decided

    def _as_decided(self, part: OpenPart, cause: PartCause) -> DecidedPart:
        worst, trigger = part.worst, part.trigger
        decision = PartDecision(
            lane=self.plan.name,
            sequence=part.sequence,
            trigger=trigger,
            verdict=part.verdict or PartVerdict.NOT_INSPECTED,
            cause=cause,
            class_name="" if worst is None else worst.class_name,
            score=0.0 if worst is None else worst.score,
            decided_s=part.decided_s,
            deadline_s=self.deadline_s(part),
        )
        begin_s = trigger.at_s if part.begin_s is None else part.begin_s
        window_s = begin_s, max(begin_s, part.decided_s if part.end_s is None else part.end_s)
        inspections = {camera: view.inspections for camera, view in part.views.items()}
        return DecidedPart(part, decision, window_s, inspections, tuple(part.events))

    def _lose_until(self, until_s: float, cause: PartCause) -> None:
        self._unknown = max(self._unknown, (until_s, cause))
        self._rule_out_open(cause)

    def _rule_out_open(self, cause: PartCause) -> None:
        for part in self._open.values():
            part.rule_out(cause)

    def _rule_out_untold(self, cause: PartCause) -> None:
        """Rule out all that the machine that sorts has not heard yet; of what it has, nothing changes any more."""
        for part in self._kept():
            part.rule_out(cause)

    def _fault(self, now_s: float) -> tuple[PartCause, str]:
        if self.stops:
            cause = next(iter(self.stops))
            return cause, self.stops[cause]
        for camera, need in self.plan.cameras.items():
            if camera not in self._came_s:
                return PartCause.CAMERA, f"nothing was inspected of camera {camera} yet"
            silent_s = now_s - self._came_s[camera]
            if silent_s > need.gap_s + _CAMERA_ROOM_S:
                return PartCause.CAMERA, f"camera {camera} was not inspected for {silent_s:.1f} s"
        if self.recipe and self.recipe not in self.plan.recipes:
            return PartCause.RECIPE, f"recipe {self.recipe} was asked for, and the configuration has none of that name"
        return PartCause.NONE, ""

    def _let_go(self, now_s: float) -> None:
        """Let go of parts that are long decided, and of events that no part can have."""
        while self._decided and self._decided[0].decided_s < now_s - KEPT_S:
            self._decided.popleft()
        begins = (part.begin_s for part in self._kept() if part.begin_s is not None)
        oldest_s = min((*begins, now_s - KEPT_S))
        self._view.drop_before(oldest_s)

    def _kept(self) -> Iterator[OpenPart]:
        yield from self._open.values()
        yield from self._decided
