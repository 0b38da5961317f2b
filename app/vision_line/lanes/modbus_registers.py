# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a PLC reads and writes, kept between the lanes and its requests. No socket; the clock comes from outside.

Each read is made from what is known at that moment, so that the words of one request belong together. An accept is
there until the PLC cannot make use of it any more, and no longer: nobody can take it for another part.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from vision_line.config.lane_settings import LaneSettings
from vision_line.errors import ConfigError
from vision_line.lanes import modbus_map as plc
from vision_line.lanes.modbus_wire import ExceptionCode, RefusedError
from vision_line.lanes.plc_door import LaneControl, LaneState, PartDecision, Trigger
from vision_line.lanes.promptness import Promptness
from vision_line.parts.part import PartCause

#: In whose name the PLC has a lane divert everything.
THE_PLC = "the PLC"
MAX_AGE_MS = 5000
_TRIGGER_AT = plc.offset(plc.HANDSHAKE, "trigger")
_WRITABLE = plc.size(plc.HANDSHAKE)
_AWAY = LaneState(is_enabled=False, fault="", cause=PartCause.LINE_AWAY, parts=0, rejects=0, not_inspected=0)


@dataclass(slots=True)
class _Result:
    """A decision as it is read; a good one until `good_until_s`, of the time that passed with the machine's sleep."""

    words: dict[str, int]
    good_until_s: float

    def as_of(self, passed_s: float) -> dict[str, int]:
        """Return what is read of it now."""
        is_over = self.words["verdict"] in plc.GOOD and passed_s >= self.good_until_s
        return self.words | {"verdict": plc.NO_VERDICT} if is_over else self.words


_RESULT_FIELDS = ("sequence", "class_code", "score", "took_ms", "result_cause", "verdict", "trigger", "result")
_NO_RESULT = _Result(dict.fromkeys(_RESULT_FIELDS, 0), -math.inf)


@dataclass(slots=True)
class _Lane:
    settings: LaneSettings
    state: LaneState = _AWAY
    #: The newest number that was triggered; None until the PLC has written one since this process, or this map, began.
    taken: int | None = None
    #: The newest part of each number, and the newest of all before the PLC began anew.
    sequences: dict[int, int] = field(default_factory=dict)
    dropped_until: int = 0
    #: The number that is being handed over: its part may be decided before its sequence is known.
    beginning: int | None = None
    results: deque[_Result] = field(default_factory=lambda: deque(maxlen=plc.RESULTS))
    handshake: list[int] = field(default_factory=lambda: [1, *[0] * (plc.HANDSHAKE_WORDS - 1)])

    def drop_results(self, trigger: int | None = None) -> None:
        """Let go of what was answered to a trigger number, or of everything."""
        kept = [] if trigger is None else [each for each in self.results if each.words["trigger"] != trigger]
        self.results = deque(kept, maxlen=plc.RESULTS)

    def drop_earlier(self) -> None:
        """Let go of everything: what is decided of earlier parts is no answer any more."""
        self.dropped_until = max(self.sequences.values(), default=self.dropped_until)
        self.sequences.clear()
        self.drop_results()

    def is_of_before(self, decision: PartDecision) -> bool:
        """Whether the number of a decision is another part's by now."""
        newest = self.sequences.get(decision.trigger.number or 0, 0)
        return decision.sequence <= self.dropped_until or decision.sequence < newest

    def number_of(self, decision: PartDecision) -> int:
        """Return the trigger number that a decision answers, 0: the PLC must not take it for one of its parts.

        Where the PLC triggers, a part that came by another door may have its number, or one that is more than 16 bits.
        """
        number = decision.trigger.number
        if number is None:
            return 0
        if not self.taken and self.beginning is None:
            return number % 65536
        is_own = number == self.beginning or decision.sequence == self.sequences.get(number)
        return number if is_own or (number < 65536 and plc.VERDICTS[decision.verdict] not in plc.GOOD) else 0

    def acknowledge(self, result: int) -> None:
        """Let a good one that the PLC has taken say nothing any more."""
        for each in self.results:
            if each.words["result"] == result:
                each.good_until_s = -math.inf

    def block(self, passed_s: float) -> list[int]:
        """Return the words of its block."""
        state = self.state
        can_accept = state.is_enabled and not state.fault and not state.cause
        newest = self.results[0] if self.results else _NO_RESULT
        values = newest.as_of(passed_s) | {
            "lane_state": plc.ENABLED * state.is_enabled | plc.CAN_ACCEPT * can_accept,
            "lane_cause": plc.CAUSES[state.cause],
            "parts": state.parts,
            "rejects": state.rejects,
            "not_inspected": state.not_inspected,
            "trigger_taken": self.taken or 0,
        }
        return plc.encode(plc.LANE, values, plc.LANE_WORDS)

    def recent(self, passed_s: float) -> list[int]:
        """Return the words of its newest results."""
        found = [each.as_of(passed_s) for each in self.results]
        words = [word for each in found for word in (each["trigger"], each["verdict"])]
        return [*words, *[0] * (plc.LANE_WORDS - len(words))]


class PlcRegisters:
    """The registers of all lanes. Used in one thread."""

    def __init__(
        self,
        lanes: Sequence[LaneSettings],
        clock: Callable[[], float],
        asleep: Callable[[], float],
        *,
        accepts_writes: bool = False,
        classes: Sequence[str] = (),
    ) -> None:
        """Begin with nothing decided.

        `clock` is monotonic, `asleep` says how long this machine slept in all; both in seconds. `classes` are the names
        that have a code.
        """
        self._lanes = {lane.name: _Lane(lane) for lane in lanes}
        self._by_number = list(self._lanes.values())
        self._clock = clock
        self._asleep = asleep
        self._accepts_writes = accepts_writes
        self._codes = {name: number for number, name in enumerate(classes, start=1)} | {"": 0}
        self._control: LaneControl | None = None
        self._began_s = clock()
        self._promptness = Promptness(self._passed_s())
        self._heartbeat = self._refused = 0
        self._is_line_well = False

    def begin(self, control: LaneControl) -> None:
        """Hand over to `control` what the PLC writes from now on."""
        self._control = control
        for name, lane in self._lanes.items():  # what the PLC wrote before this process is read back as it is
            lane.handshake[0] = int(not control.is_off(name, by=THE_PLC))
        self._promptness = Promptness(self._passed_s())

    def end(self) -> None:
        """Say that nothing is decided any more."""
        self._control = None
        self._is_line_well = False
        for lane in self._by_number:
            lane.state = _AWAY
            lane.drop_results()

    # From the lanes.

    def decide(self, decision: PartDecision) -> None:
        """Have a decision read from now on."""
        lane = self._lanes.get(decision.lane)
        if lane is None or lane.is_of_before(decision):  # a lane without registers, it came later than the map
            return
        words = {
            "sequence": decision.sequence,
            "class_code": self._codes.get(decision.class_name, plc.OTHER_CLASS),
            "score": round(1000 * decision.score),
            "took_ms": min(max(0, round(1000 * (decision.decided_s - decision.trigger.at_s))), 65535),
            "result_cause": plc.CAUSES[decision.cause],
            "verdict": plc.VERDICTS[decision.verdict],
            "trigger": lane.number_of(decision),
            "result": decision.sequence % 65536,
        }
        good_until_s = decision.deadline_s + self._asleep() + lane.settings.plc_scan_ms / 1000
        lane.results.appendleft(_Result(words, good_until_s))

    def show(self, states: Mapping[str, LaneState], *, is_line_well: bool) -> None:
        """Have read how the lanes are; the heartbeat goes on with each call."""
        for name, lane in self._lanes.items():
            lane.state = states.get(name, _AWAY)
        self._is_line_well = is_line_well
        self._heartbeat += 1
        self._promptness.came_by(self._passed_s())

    # From the PLC.

    def read_inputs(self, address: int, count: int) -> list[int]:
        """Return input registers.

        Raises:
            RefusedError: they are not all there.
        """
        passed_s = self._passed_s()
        if address + count <= plc.LANE_AT:
            return self._head()[address : address + count]
        if address >= plc.RESULTS_AT:
            words = [word for lane in self._by_number for word in lane.recent(passed_s)]
            return _part_of(words, address - plc.RESULTS_AT, count)
        words = self._head() + [word for lane in self._by_number for word in lane.block(passed_s)]
        return _part_of(words, address, count)

    def read_holdings(self, address: int, count: int) -> list[int]:
        """Return holding registers as they were written.

        Raises:
            RefusedError: they are not all there.
        """
        words = [word for lane in self._by_number for word in lane.handshake]
        return _part_of(words, address - plc.HANDSHAKE_AT, count)

    def write(self, address: int, words: Sequence[int]) -> None:
        """Take holding registers of one lane, and hand over what they say; all of them, or none.

        Raises:
            RefusedError: they cannot be written, or what is written cannot be.
        """
        try:
            self._write(address, words)
        except RefusedError:
            self._refused += 1
            raise

    def _write(self, address: int, words: Sequence[int]) -> None:
        if not self._accepts_writes:
            raise RefusedError(ExceptionCode.ILLEGAL_FUNCTION, "accept_writes is false")
        number, first = divmod(address - plc.HANDSHAKE_AT, plc.HANDSHAKE_WORDS)
        if not 0 <= number < len(self._by_number) or first + len(words) > _WRITABLE:
            raise RefusedError(ExceptionCode.ILLEGAL_ADDRESS, f"{address} to {address + len(words) - 1}")
        if self._control is None or not self._promptness.is_prompt(self._passed_s()):
            raise RefusedError(ExceptionCode.BUSY, "nothing is decided now")
        lane = self._by_number[number]
        written = [*lane.handshake[:first], *words, *lane.handshake[first + len(words) :]]
        try:
            self._take(self._control, lane, written, plc.fields_in(plc.HANDSHAKE, first, len(words)))
        except ConfigError as exc:  # also of a lane that could not begin yet: the others of this connection go on
            raise RefusedError(ExceptionCode.ILLEGAL_VALUE, str(exc)) from None
        lane.handshake = written

    def _take(self, control: LaneControl, lane: _Lane, words: list[int], touched: frozenset[str]) -> None:
        """Hand over what was written: a part last, when what goes with it is known."""
        before, values = plc.decode(plc.HANDSHAKE, lane.handshake[:_WRITABLE]), _checked(words)
        name, age_ms = lane.settings.name, int(values["age_ms"]) if "age_ms" in touched else 0
        at_s = self._clock() - age_ms / 1000
        if "enable" in touched:
            control.enable(name, is_enabled=bool(values["enable"]), by=THE_PLC)
        if touched & {"machine_parts", "machine_rejects"}:
            control.counted(name, int(values["machine_parts"]), int(values["machine_rejects"]))
        if touched & {"encoder"}:
            control.encoder(name, int(values["encoder"]), at_s)
        if values["acknowledged"] != before["acknowledged"]:
            lane.acknowledge(int(values["acknowledged"]))
        if "trigger" in touched:
            self._take_trigger(control, lane, values, at_s)

    def _take_trigger(self, control: LaneControl, lane: _Lane, values: plc.Values, at_s: float) -> None:
        number = int(values["trigger"])
        if number == 0 != lane.taken:
            control.begin_anew(lane.settings.name)
            lane.drop_earlier()
        elif lane.taken is not None and number != lane.taken:
            # What was answered to this number before belongs to another part.
            lane.drop_results(number)
            lane.beginning = number
            try:
                lane.sequences[number] = control.trigger(_trigger(lane.settings, values, at_s))
            finally:
                lane.beginning = None
        elif lane.taken is None:
            # It may be that of a block that is written again: nobody knows when its part passed, nothing answers it.
            lane.drop_results()
        lane.taken = number

    def _passed_s(self) -> float:
        """Return the time that passed, this machine's sleep with it."""
        return self._clock() + self._asleep()

    def _head(self) -> list[int]:
        lanes = [lane.state for lane in self._by_number]
        causes = [state.cause for state in lanes if state.cause or state.fault]
        values = {
            "map_version": plc.MAP_VERSION,
            "state": self._state_bits(causes),
            "heartbeat": self._heartbeat,
            "lanes": len(lanes),
            "lanes_in_fault": len(causes),
            "cause": plc.CAUSES[causes[0]] if causes else 0,
            "uptime_s": int(self._clock() - self._began_s),
            "refused": self._refused,
        }
        return plc.encode(plc.HEAD, values, plc.LANE_AT)

    def _state_bits(self, causes: Sequence[PartCause]) -> int:
        are_enabled = all(lane.state.is_enabled for lane in self._by_number)
        bits = plc.LINE * self._is_line_well | plc.WRITES * self._accepts_writes | plc.FAULT * bool(causes)
        bits |= plc.READY * (self._is_line_well and are_enabled and not causes)
        for cause in causes:
            bits |= plc.CAUSE_BITS.get(cause, 0)
        return bits


def _part_of(words: list[int], first: int, count: int) -> list[int]:
    if first < 0 or first + count > len(words):
        raise RefusedError(ExceptionCode.ILLEGAL_ADDRESS, f"{count} words from {first}")
    return words[first : first + count]


def _checked(words: Sequence[int]) -> plc.Values:
    """Return the values of a handshake block."""
    try:
        values = plc.decode(plc.HANDSHAKE, words[:_WRITABLE])
    except ValueError as exc:
        raise RefusedError(ExceptionCode.ILLEGAL_VALUE, str(exc)) from None
    if int(values["enable"]) > 1 or int(values["age_ms"]) > MAX_AGE_MS:
        raise RefusedError(ExceptionCode.ILLEGAL_VALUE, "enable or age_ms")
    return values


def _trigger(lane: LaneSettings, values: plc.Values, at_s: float) -> Trigger:
    return Trigger(
        lane=lane.name,
        at_s=at_s,
        number=int(values["trigger"]),
        part_id=str(values["part_id"]),
        lot=str(values["lot"]) or None,
        recipe=str(values["recipe"]) if values["recipe"] else None,
        encoder=int(values["encoder"]) if lane.mm_per_count is not None else None,
    )
