# SPDX-License-Identifier: AGPL-3.0-or-later
"""All lanes together: takes triggers and what the line says, and lets decisions leave. In the event loop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from math import inf

from vision_line.errors import ConfigError
from vision_line.feed.protocol import FeedMessage, Header
from vision_line.lanes.counts_check import CountsCheck
from vision_line.lanes.crossing_watch import Crossing
from vision_line.lanes.feed_facts import event_facts, events_of_result, inspected_facts
from vision_line.lanes.lane_machine import DecidedPart, LaneMachine, LastPart
from vision_line.lanes.lane_plan import LanePlan
from vision_line.lanes.lanes_off import LanesOff
from vision_line.lanes.line_condition import LineCondition
from vision_line.lanes.optical_lane import OpticalLane
from vision_line.lanes.part_records import RecordFrame
from vision_line.lanes.parts_recorder import PartsRecorder
from vision_line.lanes.plc_door import LaneState, PlcDoor, Trigger
from vision_line.lanes.sleeping import asleep_s
from vision_line.lanes.telling import Telling
from vision_line.lanes.watch_before import WatchBefore
from vision_line.parts.orders import checked_id
from vision_line.parts.part import PartCause

logger = logging.getLogger(__name__)

#: What is kept free for recording an acceptance: half more than the slowest of 100, and not less or more than this.
LEAST_ROOM_S, MOST_ROOM_S = 0.01, 0.2
#: Triggers may be so old, and so far ahead, in seconds.
OLDEST_S, AHEAD_S = 600.0, 1.0
#: By so much the clock that counts sleep runs ahead of the other when this machine slept, in seconds.
_SLEPT_S = 0.05
_ALARMS = 20
#: Why an object that crossed a lane's line is a part that was not inspected.
_CROSSING_WORDS = {
    PartCause.CROSSING: "the camera did not see it cross the line",
    PartCause.GAP: "the camera was not inspected for so long that parts can have crossed unseen",
    PartCause.CAMERA: "the camera was not inspected for so long that parts can have crossed unseen",
    PartCause.LINE_AWAY: "it crossed, or may have, while no run was there",
    PartCause.RESTART: "it was beyond or at the line when the lane began, or ended",
    PartCause.LATE: "this machine slept: it may have crossed meanwhile",
}


class Deciding:
    """The lanes of one record directory. Doors call it as a `LaneControl`, the line as a `LineListener`."""

    def __init__(self, recorder: PartsRecorder, doors: Sequence[PlcDoor], off: LanesOff, *, is_simulated: bool) -> None:
        self._recorder = recorder
        self._off = off
        self._doors = doors
        self._is_simulated = is_simulated
        self._line = LineCondition()
        self._machines: dict[str, LaneMachine] = {}
        self._since_utc: dict[str, float] = {}  # from when on a lane's counts count
        self._optical: dict[str, OpticalLane] = {}  # of the lanes that see their parts themselves
        self._watched: dict[str, WatchBefore] = {}  # what those left that ended
        self._classes: Sequence[str] | None = None  # of the run's model, None without a run
        self._last: dict[str, LastPart] = {}  # of lanes that ended: what is not recorded yet counts too
        self.awaited: Collection[str] = ()  # the lanes that are to be decided, also those that could not begin yet
        self._checks: dict[str, tuple[CountsCheck, CountsCheck]] = {}
        self._telling = Telling(recorder, doors, self._frame, self._otherwise, self._notice_sleep)
        self._alarms: deque[tuple[float, str]] = deque(maxlen=_ALARMS)
        self._timer: asyncio.TimerHandle | None = None
        self._asleep_s = asleep_s()
        self._faults: dict[str, PartCause] = {}
        self._room_s = LEAST_ROOM_S

    @property
    def plans(self) -> dict[str, LanePlan]:
        """The lanes that are decided."""
        return {name: machine.plan for name, machine in self._machines.items()}

    def add(self, plan: LanePlan) -> None:
        """Decide a lane from now on.

        Raises:
            RunError: what was recorded of it cannot be read.
        """
        last = self._last.get(plan.name) or self._recorder.last_part(plan.name)
        machine = LaneMachine(plan, time.monotonic(), last)
        if names := self._off.names(plan.name):
            machine.enable(is_enabled=False)
            logger.warning("lane %s begins off, by %s: everything is diverted", plan.name, ", ".join(sorted(names)))
        self._since_utc[plan.name] = round(time.time(), 3)
        self._machines[plan.name] = machine
        if plan.optical is not None:
            before = self._watched.pop(plan.name, None)
            self._optical[plan.name] = OpticalLane(plan.optical, plan.camera_delay_s, before)
            if self._classes is not None:
                self._optical[plan.name].line_came(self._classes)
        self._checks[plan.name] = CountsCheck("parts"), CountsCheck("rejects")

    def remove(self, name: str, cause: PartCause = PartCause.RESTART) -> None:
        """Decide a lane no more: what is on its way was not inspected."""
        machine, now_s = self._machines.pop(name), time.monotonic()
        if (optical := self._optical.pop(name, None)) is not None:
            self._take_crossings(machine, optical.end(now_s))
            self._watched[name] = optical.left()
        self._last[name] = machine.last
        for decided in machine.end(cause, now_s):
            self._telling.leave(decided)

    # What doors say.

    def trigger(self, trigger: Trigger) -> int:
        """Take a part that begins to pass; return its sequence.

        Raises:
            ConfigError: there is no such lane, it sees its parts itself, an id is none, or its moment is far away.
        """
        machine = self._machine(trigger.lane)
        if trigger.lane in self._optical:
            raise ConfigError(f"lane: {trigger.lane} sees its parts itself (optical), nobody else can trigger one")
        for text, what in ((trigger.part_id, "part_id"), (trigger.lot, "lot"), (trigger.recipe, "recipe")):
            checked_id(text or "", what)
        _check_moment(trigger.at_s)
        in_force = self._recorder.orders(trigger.lane, trigger.at_s).recipe
        sequence = machine.trigger(trigger, recipe=in_force if trigger.recipe is None else trigger.recipe)
        self._settle([machine])
        return sequence

    def encoder(self, lane: str, count: int, at_s: float) -> None:
        """Take the belt's count.

        Raises:
            ConfigError: there is no such lane, or its moment is far away.
        """
        machine = self._machine(lane)
        _check_moment(at_s)
        machine.encoder(count, at_s)
        self._settle([machine])

    def begin_anew(self, lane: str) -> None:
        """Hear that the machine has forgotten the parts on their way.

        Raises:
            ConfigError: there is no such lane.
        """
        machine = self._machine(lane)
        machine.begin_anew()
        self._settle([machine])

    def enable(self, lane: str, *, is_enabled: bool, by: str) -> None:
        """Have a lane divert everything, or end that; it decides where nobody has it divert.

        It counts also for a lane that could not begin yet: who switches it off does not ask again.

        Raises:
            ConfigError: there is no such lane, nor will there be.
        """
        machine = self._machines.get(lane) if lane in self.awaited else self._machine(lane)
        self._off.switch(lane, by, is_off=not is_enabled)
        names = self._off.names(lane)
        if machine is not None and machine.is_enabled is bool(names):
            machine.enable(is_enabled=not names)
            words = f"off, by {', '.join(sorted(names))}: everything is diverted" if names else "on"
            logger.info("lane %s is %s", lane, words)
            self._settle([machine])

    def is_off(self, lane: str, *, by: str) -> bool:
        """Whether a lane diverts everything in one's name."""
        return by in self._off.names(lane)

    def release(self, by: str) -> None:
        """Have no lane divert any more in one's name: it has gone. Nor one that is decided again later."""
        for name in self._off.lanes:
            if name in self._machines:
                self.enable(name, is_enabled=True, by=by)
            else:
                self._off.switch(name, by, is_off=False)

    def counted(self, lane: str, parts: int, rejects: int) -> None:
        """Take what the machine counted.

        Raises:
            ConfigError: there is no such lane.
        """
        machine, now_s = self._machine(lane), time.monotonic()
        counts = (parts, machine.parts), (rejects, machine.rejects)
        for check, (theirs, ours) in zip(self._checks[lane], counts, strict=True):
            if problem := check.compare(theirs, ours, now_s):
                self._alarm(f"lane {lane}: {problem}")

    # What the line says.

    def line_came(self, run_id: str, classes: Sequence[str]) -> None:
        """Hear that from now on all results come, and the classes of the run's model."""
        now_s, self._classes = time.monotonic(), classes
        for optical in self._optical.values():
            optical.line_came(classes)
        self._line.came(run_id, now_s)
        for machine in self._machines.values():
            if not machine.has_line:
                machine.line_came(now_s)

    def line_went(self, why: str) -> None:
        """Hear that the run is gone."""
        self._classes = None
        for optical in self._optical.values():
            optical.line_went()
        self._watched = {name: each.without_tracks() for name, each in self._watched.items()}
        for machine in self._machines.values():
            machine.line_went()
        self._settle(self._machines.values())  # first: what is on its way was this run's
        self._line.went(why)
        self.show()

    def line_said(self, message: FeedMessage) -> None:
        """Hear a message of the run."""
        now_s = time.monotonic()
        self._line.heard(now_s)
        header, machines = message.header, list(self._machines.values())
        match message.kind:
            case "result":
                machines = self._of_camera(header)
                for machine in machines:
                    if (optical := self._optical.get(machine.plan.name)) is not None:
                        self._take_crossings(machine, optical.result(header))
                    for event in events_of_result(header, machine.plan.camera_delay_s):
                        machine.event(event)
                    machine.inspected(inspected_facts(header, machine.plan.camera_delay_s), now_s)
            case "decision":
                machines = self._of_camera(header)
                for machine in machines:
                    machine.event(event_facts(str(header["camera"]), header, machine.plan.camera_delay_s))
            case "snapshot":
                self._line.snapshot(header)
            case "dropped" if self._line.dropped(header):
                self._alarm("results came too fast to be read: parts on their way are not inspected")
                for machine in machines:
                    machine.lost_results(now_s)
        self._settle(machines)

    # What follows.

    def tick(self) -> None:
        """Follow what time brings: a line that is silent, a machine that slept; comes by each 20 ms."""
        self._settle(self._machines.values())
        now_s = time.monotonic()
        faults = {name: machine.state(now_s).cause for name, machine in self._machines.items()}
        if faults != self._faults:
            self._faults = faults
            self.show()

    def show(self) -> None:
        """Tell every door how the lanes are; comes by each 100 ms."""
        now_s = time.monotonic()
        self._room_s = min(max(1.5 * self._recorder.commit_s(0.99), LEAST_ROOM_S), MOST_ROOM_S)
        states = self._states(now_s)
        for door in self._doors:
            door.show(states, is_line_well=self._line.is_well(now_s))

    def end(self) -> None:
        """Decide all that is on its way: this process ends."""
        if self._timer is not None:
            self._timer.cancel()
        for name in list(self._machines):
            self.remove(name)
        self._telling.end()

    def status(self) -> Header:
        """Return how the lanes are, as `status` on their socket."""
        now_s = time.monotonic()
        states = self._states(now_s)
        return {
            "kind": "status",
            "run": self._line.run_id,
            "is_line_well": self._line.is_well(now_s),
            "told_p99_ms": round(1000 * self._telling.took_s(0.99), 2),
            "recorded_p99_ms": round(1000 * self._recorder.commit_s(0.99), 2),
            "waiting_to_be_recorded": self._recorder.waiting,
            "never_recorded": self._recorder.lost,
            "recording_problem": self._recorder.problem,
            "alarms": [{"age_s": round(now_s - at_s, 1), "text": text} for at_s, text in self._alarms],
            "lanes": [self._lane_status(name, state) for name, state in states.items()],
        }

    def _lane_status(self, name: str, state: LaneState) -> Header:
        machine, orders, optical = self._machines[name], self._recorder.orders(name), self._optical.get(name)
        return {
            "name": name,
            "is_enabled": state.is_enabled,
            "off_by": sorted(self._off.names(name)),
            "fault": state.fault,
            "cause": state.cause,
            "since_utc": self._since_utc[name],
            "parts": state.parts,
            "rejects": state.rejects,
            "not_inspected": state.not_inspected,
            "late_rejects": machine.late_finds,
            "on_their_way": machine.on_their_way,
            "lot": orders.lot,
            "recipe": orders.recipe or "",
            **({} if optical is None else optical.status()),
        }

    def _take_crossings(self, machine: LaneMachine, crossings: Iterable[Crossing]) -> None:
        """Take what crossed a lane's line as its parts, and what nobody saw cross as parts that were not inspected."""
        lane = machine.plan.name
        for crossing in crossings:
            trigger = Trigger(lane, crossing.at_s, crossing=crossing.number)
            recipe = self._recorder.orders(lane, crossing.at_s).recipe
            if crossing.cause:
                sequence = machine.miss(trigger, crossing.cause, recipe=recipe)
                logger.warning("lane %s, part %d: not inspected: %s", lane, sequence, _CROSSING_WORDS[crossing.cause])
            else:
                machine.trigger(trigger, recipe=recipe)

    def _settle(self, machines: Iterable[LaneMachine]) -> None:
        """Let every decision leave that follows by now."""
        self._notice_sleep()
        now_s = time.monotonic()
        for machine in machines:
            cameras, accepts_degraded = machine.plan.cameras, machine.plan.accepts_degraded
            machine.stops = self._line.stops(cameras, now_s, self._recorder.problem, accepts_degraded=accepts_degraded)
            if self._line.sees_nothing(cameras, accepts_degraded=accepts_degraded):
                machine.saw_nothing(now_s)
            if (optical := self._optical.get(machine.plan.name)) is not None:
                machine.stops |= optical.stops
            machine.recipe = self._recorder.orders(machine.plan.name).recipe
            for decided in machine.decide(now_s, self._room_s):
                self._telling.leave(decided)
            for find in machine.take_late_finds():
                self._telling.correct(find)
        self._set_timer()

    def _notice_sleep(self) -> None:
        before_s, self._asleep_s = self._asleep_s, max(self._asleep_s, asleep_s())
        slept_s = self._asleep_s - before_s
        if slept_s > _SLEPT_S:
            self._alarm(f"this machine slept for {slept_s:.1f} s: parts on their way are unknown")
            now_s = time.monotonic()
            for machine in self._machines.values():
                machine.slept(now_s)
            for watched in self._optical.values():
                watched.slept(slept_s)

    def _set_timer(self) -> None:
        due_s = min((machine.next_check_s(self._room_s) for machine in self._machines.values()), default=inf)
        if self._timer is not None:
            if self._timer.when() == due_s:
                return
            self._timer.cancel()
            self._timer = None
        if due_s < inf:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(due_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._settle(self._machines.values())

    def _frame(self) -> RecordFrame:
        return RecordFrame(self._line.run_id, self._is_simulated, time.time() - time.monotonic())

    def _otherwise(self, decided: DecidedPart) -> None:
        if (machine := self._machines.get(decided.decision.lane)) is not None:
            machine.sent_otherwise(decided.part, decided.decision.verdict)

    def _states(self, now_s: float) -> Mapping[str, LaneState]:
        return {name: machine.state(now_s) for name, machine in self._machines.items()}

    def _machine(self, lane: str) -> LaneMachine:
        if (machine := self._machines.get(lane)) is None:
            raise ConfigError(f"lane: found {ascii(lane)[:100]}, expected one of {', '.join(self._machines)}")
        return machine

    def _of_camera(self, header: Header) -> list[LaneMachine]:
        return [machine for machine in self._machines.values() if header["camera"] in machine.plan.cameras]

    def _alarm(self, text: str) -> None:
        logger.error("%s", text)
        self._alarms.append((time.monotonic(), text))


def _check_moment(at_s: float) -> None:
    """Raise where it is no moment at which something can have passed just now."""
    now_s = time.monotonic()
    if not now_s - OLDEST_S <= at_s <= now_s + AHEAD_S:
        raise ConfigError(f"at_s: expected a moment of this machine's monotonic clock, found {at_s:g}")
