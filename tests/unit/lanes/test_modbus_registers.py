# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a PLC reads and writes: an accept is there until it would be too late, and never for another part."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from vision_line.config.lane_settings import LaneSettings
from vision_line.errors import ConfigError
from vision_line.lanes import modbus_map as plc
from vision_line.lanes.modbus_registers import THE_PLC, PlcRegisters
from vision_line.lanes.modbus_wire import ExceptionCode, RefusedError
from vision_line.lanes.plc_door import LaneState, PartDecision, Trigger
from vision_line.lanes.promptness import ASLEEP_S
from vision_line.parts.part import PartCause, PartVerdict

LANES = [
    LaneSettings(name=name, cameras=["cam1"], window_ms=[0.0, 300.0], ejector_ms=800.0, plc_scan_ms=20.0)
    for name in ("a", "b")
]
WELL = LaneState(is_enabled=True, fault="", cause=PartCause.NONE, parts=70_000, rejects=3, not_inspected=1)


@dataclass
class Heard:
    """A lane control that keeps what it is told."""

    triggers: list[Trigger] = field(default_factory=list)
    said: list[tuple[object, ...]] = field(default_factory=list)
    is_b_off: bool = False

    def trigger(self, trigger: Trigger) -> int:
        if "'" in trigger.part_id:
            raise ConfigError("no id")
        self.triggers.append(trigger)
        return len(self.triggers)

    def encoder(self, lane: str, count: int, at_s: float) -> None:
        self.said.append(("encoder", lane, count, at_s))

    def begin_anew(self, lane: str) -> None:
        self.said.append(("begin_anew", lane))

    def enable(self, lane: str, *, is_enabled: bool, by: str) -> None:
        self.said.append(("enable", lane, is_enabled))

    def release(self, by: str) -> None: ...

    def is_off(self, lane: str, *, by: str) -> bool:
        return (lane, by) == ("b", THE_PLC) and self.is_b_off

    def counted(self, lane: str, parts: int, rejects: int) -> None:
        self.said.append(("counted", lane, parts, rejects))


class Site:
    """Registers of two lanes with a clock that stands until it is set."""

    def __init__(self, *, accepts_writes: bool = True, begins: bool = True) -> None:
        self.now_s, self.asleep_s = 100.0, 7.0
        self.heard = Heard()
        self.registers = PlcRegisters(
            LANES, lambda: self.now_s, lambda: self.asleep_s, accepts_writes=accepts_writes, classes=["open"]
        )
        self.registers.begin(self.heard)
        self.registers.show({"a": WELL, "b": WELL}, is_line_well=True)
        if begins:
            self.write(trigger=0)
            self.write(of=1, trigger=0)

    def lane(self, number: int = 0) -> dict[str, int | str]:
        words = self.registers.read_inputs(plc.LANE_AT + plc.LANE_WORDS * number, plc.LANE_WORDS)
        return plc.decode(plc.LANE, words)

    def recent(self, number: int = 0) -> list[tuple[int, int]]:
        words = self.registers.read_inputs(plc.RESULTS_AT + plc.LANE_WORDS * number, plc.LANE_WORDS)
        return [(trigger, verdict) for trigger, verdict in zip(words[::2], words[1::2], strict=True) if trigger]

    def head(self) -> dict[str, int | str]:
        return plc.decode(plc.HEAD, self.registers.read_inputs(0, 16))

    def write(self, *, of: int = 0, **values: int | str) -> None:
        """Write the whole block, as a PLC does."""
        empty: dict[str, int | str] = {each.name: "" if each.kind == "text" else 0 for each in plc.HANDSHAKE}
        words = plc.encode(plc.HANDSHAKE, empty | {"enable": 1} | values, plc.size(plc.HANDSHAKE))
        self.registers.write(plc.HANDSHAKE_AT + of * plc.HANDSHAKE_WORDS, words)

    def decide(self, number: int | None, verdict: PartVerdict, sequence: int = 1, deadline_s: float = 101.0) -> None:
        cause = PartCause.GAP if verdict is PartVerdict.NOT_INSPECTED else PartCause.NONE
        name, score = ("open", 0.75) if verdict is PartVerdict.REJECT else ("", 0.0)
        self.registers.decide(
            PartDecision("a", sequence, Trigger("a", 99.5, number), verdict, cause, name, score, self.now_s, deadline_s)
        )


def test_a_decision_is_read_with_all_that_belongs_to_it() -> None:
    site = Site()
    site.decide(17, PartVerdict.REJECT, sequence=70_001)
    found = site.lane()
    expected = {"verdict": 3, "trigger": 17, "result": 70_001 - 65_536, "sequence": 70_001, "class_code": 1}
    assert expected.items() <= found.items()
    assert {"score": 750, "took_ms": 500, "parts": 70_000 - 65_536, "lane_state": 3}.items() <= found.items()


def test_an_accept_is_gone_when_the_plc_cannot_make_use_of_it() -> None:
    site = Site()
    site.decide(17, PartVerdict.ACCEPT, deadline_s=100.5)
    site.now_s = 100.5 + 0.019
    assert site.lane()["verdict"] == 1
    site.now_s = 100.5 + 0.021
    assert (site.lane()["verdict"], site.recent()) == (0, [(17, 0)])


def test_an_accept_grows_old_while_the_machine_sleeps() -> None:
    site = Site()
    site.decide(17, PartVerdict.ACCEPT, deadline_s=100.5)
    site.asleep_s += 0.4
    assert site.lane()["verdict"] == 1
    site.asleep_s += 30.0
    assert (site.lane()["verdict"], site.recent()) == (0, [(17, 0)])


def test_a_trigger_that_waited_while_the_machine_slept_is_refused() -> None:
    site = Site()
    site.asleep_s += 30.0
    with pytest.raises(RefusedError):
        site.write(trigger=17)


def test_a_reject_stays() -> None:
    site = Site()
    site.decide(17, PartVerdict.REJECT)
    site.decide(18, PartVerdict.NOT_INSPECTED)
    site.now_s = 10_000.0
    assert site.recent() == [(18, 4), (17, 3)]


def test_an_accept_for_a_number_is_forgotten_when_that_number_is_another_part() -> None:
    site = Site()
    site.write(trigger=17)
    site.decide(17, PartVerdict.ACCEPT)
    site.write(trigger=18)
    assert site.recent() == [(17, 1)]
    site.write(trigger=17)
    assert site.recent() == []
    assert site.lane()["verdict"] == 0
    assert [each.number for each in site.heard.triggers] == [17, 18, 17]


def test_a_plc_that_begins_anew_writes_0_and_finds_nothing() -> None:
    site = Site()
    site.write(trigger=17)
    site.decide(17, PartVerdict.ACCEPT)
    site.write(trigger=0)
    assert site.recent() == []
    assert site.lane()["trigger_taken"] == 0
    assert site.heard.said[-2:] == [("encoder", "a", 0, 100.0), ("begin_anew", "a")]
    site.write(trigger=17)
    assert [each.number for each in site.heard.triggers] == [17, 17]


def test_what_is_decided_of_an_earlier_part_is_no_answer_to_a_number_that_is_triggered_again() -> None:
    """Its acceptance was being recorded when the PLC began anew, or counted round."""
    site = Site()
    site.write(trigger=17)
    site.write(trigger=0)
    site.decide(17, PartVerdict.ACCEPT, sequence=1)
    assert site.recent() == []
    site.write(trigger=17)
    site.decide(17, PartVerdict.ACCEPT, sequence=1)
    assert site.recent() == []
    site.write(trigger=18)
    site.write(trigger=17)
    site.decide(17, PartVerdict.ACCEPT, sequence=2)
    assert site.recent() == []
    site.decide(17, PartVerdict.ACCEPT, sequence=4)
    assert site.recent() == [(17, 1)]


def test_a_block_that_is_written_on_after_this_process_began_is_no_new_part() -> None:
    """Its part passed before: with a window from now on, its verdict would be another part's."""
    site = Site(begins=False)
    for _ in range(2):
        site.write(trigger=17)
    assert (site.heard.triggers, site.lane()["trigger_taken"]) == ([], 17)
    site.write(trigger=18)
    assert [each.number for each in site.heard.triggers] == [18]


def test_a_number_that_is_written_again_is_the_same_part() -> None:
    site = Site()
    for _ in range(3):
        site.write(trigger=17)
    assert len(site.heard.triggers) == 1
    assert site.lane()["trigger_taken"] == 17


def test_an_accept_that_was_acknowledged_says_nothing_any_more() -> None:
    site = Site()
    site.decide(17, PartVerdict.ACCEPT, sequence=1)
    site.decide(18, PartVerdict.ACCEPT, sequence=2)
    site.write(acknowledged=1)
    assert site.recent() == [(18, 1), (17, 0)]


def test_the_newest_results_are_read_and_no_more() -> None:
    site = Site()
    for number in range(1, 11):
        site.decide(number, PartVerdict.REJECT, sequence=number)
    assert [trigger for trigger, _ in site.recent()] == [10, 9, 8, 7, 6, 5, 4, 3]


def test_a_trigger_says_all_that_was_written_with_it() -> None:
    site = Site()
    site.write(of=1, trigger=5, part_id="B-17", lot="L9", recipe=7, age_ms=40, encoder=70_000)
    assert site.heard.triggers == [Trigger("b", 99.96, 5, "B-17", lot="L9", recipe="7")]
    assert ("encoder", "b", 70_000, 99.96) in site.heard.said


def test_single_words_are_taken_as_they_come_and_the_age_counts_for_its_own_write_only() -> None:
    site = Site()
    at = plc.HANDSHAKE_AT
    site.registers.write(at + plc.offset(plc.HANDSHAKE, "age_ms"), [30])
    site.registers.write(at + plc.offset(plc.HANDSHAKE, "part_id"), [0x4142, 0x4300])
    site.registers.write(at + plc.offset(plc.HANDSHAKE, "trigger"), [1])
    assert site.heard.triggers == [Trigger("a", 100.0, 1, "ABC")]
    assert site.registers.read_holdings(at + 8, 2) == [0x4142, 0x4300]


def test_a_refused_block_leaves_no_lane_on_that_the_plc_takes_for_off() -> None:
    site = Site()
    site.write(enable=0)
    with pytest.raises(RefusedError):
        site.write(enable=1, trigger=17, part_id="it's")
    site.write(enable=0)
    assert [each for each in site.heard.said if each[0] == "enable"][-1] == ("enable", "a", False)


def test_enabling_and_counts_are_handed_over() -> None:
    site = Site()
    site.write(enable=0, machine_parts=9, machine_rejects=2)
    site.write(enable=0)
    assert [each for each in site.heard.said if each[:2] == ("enable", "a")][1:] == [("enable", "a", False)] * 2
    assert ("counted", "a", 9, 2) in site.heard.said


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"part_id": "\x01"}, ExceptionCode.ILLEGAL_VALUE),
        ({"part_id": "it's"}, ExceptionCode.ILLEGAL_VALUE),
        ({"enable": 2}, ExceptionCode.ILLEGAL_VALUE),
        ({"age_ms": 5001}, ExceptionCode.ILLEGAL_VALUE),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(values: dict[str, int | str], code: ExceptionCode) -> None:
    site = Site()
    before = site.registers.read_holdings(plc.HANDSHAKE_AT, 41)
    with pytest.raises(RefusedError) as refused:
        site.write(of=0, **values | {"trigger": 17})
    assert refused.value.code is code
    assert site.registers.read_holdings(plc.HANDSHAKE_AT, 41) == before
    assert (site.heard.triggers, site.lane()["trigger_taken"], site.head()["refused"]) == ([], 0, 1)


@pytest.mark.parametrize(("address", "count"), [(0, 49), (48, 1), (999, 1), (1000, 33), (1032, 1), (60_000, 1)])
def test_registers_that_are_not_there_are_refused(address: int, count: int) -> None:
    with pytest.raises(RefusedError) as refused:
        Site().registers.read_inputs(address, count)
    assert refused.value.code is ExceptionCode.ILLEGAL_ADDRESS


@pytest.mark.parametrize(("address", "count"), [(999, 1), (1041, 1), (1040, 2), (1128, 1), (0, 1)])
def test_what_cannot_be_written_is_refused(address: int, count: int) -> None:
    with pytest.raises(RefusedError) as refused:
        Site().registers.write(address, [0] * count)
    assert refused.value.code is ExceptionCode.ILLEGAL_ADDRESS


def test_writes_are_refused_unless_they_are_wanted() -> None:
    site = Site(accepts_writes=False, begins=False)
    with pytest.raises(RefusedError) as refused:
        site.write(trigger=1)
    assert refused.value.code is ExceptionCode.ILLEGAL_FUNCTION
    assert not int(site.head()["state"]) & plc.WRITES


@pytest.mark.parametrize("number", [17, 65_536 + 17])
def test_a_part_that_another_door_triggered_with_the_number_of_a_plcs_part_is_no_answer_to_it(number: int) -> None:
    site = Site()
    site.write(trigger=17)
    site.decide(number, PartVerdict.ACCEPT, sequence=2)
    assert site.recent() == []
    assert (site.lane()["verdict"], site.lane()["trigger"]) == (1, 0)
    site.decide(17, PartVerdict.ACCEPT, sequence=1)
    assert site.recent() == [(17, 1)]


def test_what_was_answered_to_another_door_is_no_answer_to_the_first_number_that_a_plc_writes() -> None:
    """It is no part: it may have been written long ago."""
    site = Site(begins=False)
    site.decide(17, PartVerdict.ACCEPT)
    assert site.recent() == [(17, 1)]  # a PLC that only reads knows the parts of others by their numbers
    site.write(trigger=17)
    site.decide(17, PartVerdict.ACCEPT, sequence=2)
    assert site.recent() == []


def test_what_waited_while_the_process_slept_is_no_trigger() -> None:
    site = Site()
    site.now_s += ASLEEP_S + 0.01
    with pytest.raises(RefusedError) as refused:
        site.write(trigger=1)
    assert refused.value.code is ExceptionCode.BUSY
    site.registers.show({}, is_line_well=True)
    with pytest.raises(RefusedError):  # it may have waited just as well, and be read in the loop's next step
        site.write(trigger=1)
    site.now_s += 0.1
    site.registers.show({}, is_line_well=True)
    site.write(trigger=1)
    assert len(site.heard.triggers) == 1


def test_the_head_says_how_the_lanes_are() -> None:
    site = Site()
    assert site.head()["state"] == plc.READY | plc.LINE | plc.WRITES
    stopped = LaneState(is_enabled=True, fault="disk full", cause=PartCause.LOG, parts=0, rejects=0, not_inspected=0)
    site.registers.show({"a": WELL, "b": stopped}, is_line_well=False)
    assert site.head() == {
        "map_version": 1,
        "state": plc.FAULT | plc.LOG | plc.WRITES,
        "heartbeat": 2,
        "lanes": 2,
        "lanes_in_fault": 1,
        "cause": 6,
        "uptime_s": 0,
        "refused": 0,
    }
    assert site.lane(1)["lane_state"] == plc.ENABLED


def test_a_lane_that_ended_accepts_nothing_and_one_that_came_later_has_no_registers() -> None:
    site = Site()
    site.registers.show({"a": WELL, "c": WELL}, is_line_well=True)
    assert (site.lane(0)["lane_state"], site.lane(1)["lane_state"], site.lane(1)["lane_cause"]) == (3, 0, 4)
    site.registers.decide(
        PartDecision("c", 1, Trigger("c", 99.5, 17), PartVerdict.ACCEPT, PartCause.NONE, "", 0.0, 100.0, 101.0)
    )
    assert (site.recent(0), site.recent(1)) == ([], [])


def test_the_heartbeat_wraps_around() -> None:
    site = Site()
    for _ in range(65_536):
        site.registers.show({}, is_line_well=True)
    assert site.head()["heartbeat"] == 1


def test_after_the_end_nothing_can_be_accepted() -> None:
    site = Site()
    site.decide(17, PartVerdict.ACCEPT)
    site.registers.end()
    assert (site.recent(), int(site.head()["state"]) & plc.READY) == ([], 0)
    with pytest.raises(RefusedError):
        site.write(trigger=18)


def test_a_lane_that_the_plc_switched_off_before_is_read_as_off() -> None:
    """Else a PLC that writes only what reads otherwise than it wants would never switch it on."""
    site = Site()
    site.heard.is_b_off = True
    site.registers.begin(site.heard)
    enable = plc.HANDSHAKE_AT + plc.offset(plc.HANDSHAKE, "enable")

    assert [site.registers.read_holdings(enable + lane * plc.HANDSHAKE_WORDS, 1) for lane in (0, 1)] == [[1], [0]]
