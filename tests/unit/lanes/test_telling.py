# SPDX-License-Identifier: AGPL-3.0-or-later
"""How a decision leaves: an acceptance only when it is on the disk, in time, and still true then."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.lane_scenes import make_fact, make_machine, make_plan, make_trigger, watch

from vision_line.lanes.lane_machine import DecidedPart, LaneMachine
from vision_line.lanes.lane_orders import LaneOrders
from vision_line.lanes.part_records import RecordFrame
from vision_line.lanes.parts_recorder import CorrectionEntry, PartEntry, PartsRecorder
from vision_line.lanes.plc_door import LaneControl, LaneState, PartDecision, Trigger
from vision_line.lanes.telling import Telling
from vision_line.parts.orders import LOT, RECIPE, Asked, ask_lot, enter
from vision_line.parts.part import PartCause, PartVerdict
from vision_line.parts.parts_check import check_parts
from vision_line.parts.parts_file import FILE_NAME

FRAME = RecordFrame("r1", False, 0.0)


class HeardDoor:
    """A machine that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[PartDecision] = []

    async def open(self, control: LaneControl) -> None: ...

    def decide(self, decision: PartDecision) -> None:
        self.heard.append(decision)

    def show(self, states: Mapping[str, LaneState], *, is_line_well: bool) -> None: ...

    async def close(self) -> None: ...


class Bench:
    """A lane, its recorder and a door; what the recorder says waits until the test hears it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE_NAME
        self.door = HeardDoor()
        self.said: list[Callable[[], None]] = []
        self.recorder = PartsRecorder(directory, ["l1"], self.said.append)
        self.machine: LaneMachine = make_machine(make_plan(deadline_s=1000.0))
        self.telling = Telling(self.recorder, [self.door], lambda: FRAME, self.otherwise, self.notice)
        self.began_s = time.monotonic()
        self.is_asleep = False

    def notice(self) -> None:
        if self.is_asleep:
            self.machine.slept(12.0)

    def otherwise(self, decided: DecidedPart) -> None:
        self.machine.sent_otherwise(decided.part, decided.decision.verdict)

    def good_part(self, deadline_in_s: float = 100.0, recipe: str | None = None) -> DecidedPart:
        """Return a part that is decided to be accepted; `recipe` is what its trigger names."""
        self.machine.trigger(replace(make_trigger(10.0), recipe=recipe))
        (decided,) = watch(self.machine, 9.5, 12.0)
        deadline_s = time.monotonic() + deadline_in_s
        return replace(decided, decision=replace(decided.decision, deadline_s=deadline_s))

    def hear(self) -> None:
        """Wait until an entry is on the disk, and hear that."""
        while not self.said:
            time.sleep(0.005)
        self.said.pop()()

    def rows(self) -> list[tuple[object, ...]]:
        """Return verdict and correction of each part, once the file was found to be what was written."""
        self.recorder.close()
        assert check_parts(self.path.parent) is not None
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(
                "SELECT verdict, json_extract(body, '$.found') FROM parts LEFT JOIN journal j ON j.number = corrected"
            ).fetchall()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.recorder.close()


async def test_an_acceptance_leaves_when_it_is_on_the_disk(bench: Bench) -> None:
    bench.telling.leave(bench.good_part())
    assert bench.door.heard == []
    bench.hear()
    assert [one.verdict for one in bench.door.heard] == [PartVerdict.ACCEPT]
    assert bench.rows() == [("accept", None)]


async def test_a_reject_that_is_found_meanwhile_leaves_instead(bench: Bench) -> None:
    bench.telling.leave(bench.good_part())
    bench.machine.event(make_fact(10.2, 10.4))
    for find in bench.machine.take_late_finds():
        bench.telling.correct(find)
    bench.hear()
    assert [one.verdict for one in bench.door.heard] == [PartVerdict.REJECT]
    assert (bench.machine.rejects, bench.machine.late_finds) == (1, 1)
    assert bench.rows() == [("reject", "reject")]


@pytest.mark.parametrize(
    ("what", "cause"),
    [
        (lambda machine: machine.slept(12.0), PartCause.LATE),
        (lambda machine: machine.begin_anew(), PartCause.RESTART),
        (lambda machine: machine.enable(is_enabled=False), PartCause.LANE_OFF),
        (lambda machine: (machine.enable(is_enabled=False), machine.enable(is_enabled=True)), PartCause.LANE_OFF),
        (lambda machine: machine.trigger(make_trigger(10.02)), PartCause.OVERLAP),
        (lambda machine: machine.end(PartCause.RESTART, 12.0), PartCause.RESTART),
    ],
)
async def test_an_acceptance_that_is_ruled_out_while_it_waits_for_the_disk_is_never_heard(
    bench: Bench, what: Callable[[LaneMachine], object], cause: PartCause
) -> None:
    bench.telling.leave(bench.good_part())
    what(bench.machine)
    bench.hear()
    assert [(one.verdict, one.cause) for one in bench.door.heard] == [(PartVerdict.NOT_INSPECTED, cause)]
    assert bench.machine.not_inspected == 1
    assert bench.rows() == [("not_inspected", "not_inspected")]


async def test_a_reject_that_is_found_meanwhile_stays_one_also_where_the_part_is_ruled_out(bench: Bench) -> None:
    """What is certain of it is not lost in figures, and it goes where rejects go."""
    bench.telling.leave(bench.good_part())
    bench.machine.event(make_fact(10.2, 10.4))
    for find in bench.machine.take_late_finds():
        bench.telling.correct(find)
    bench.machine.enable(is_enabled=False)
    bench.hear()
    assert [one.verdict for one in bench.door.heard] == [PartVerdict.REJECT]
    assert bench.rows() == [("reject", "reject")]


async def test_a_sleep_that_nobody_has_noticed_yet_is_before_an_acceptance_is_heard(bench: Bench) -> None:
    """What the disk said waits in the loop behind the sleep, before any timer."""
    bench.telling.leave(bench.good_part())
    bench.is_asleep = True
    bench.hear()
    assert [one.cause for one in bench.door.heard] == [PartCause.LATE]


@pytest.mark.parametrize(("named", "lot"), [(None, "L-2"), ("L-9", "L-9")])
async def test_a_part_has_the_lot_of_its_moment_also_where_that_is_known_after_it_was_decided(
    bench: Bench, named: str | None, lot: str
) -> None:
    """The lot was begun before the part came, and its order takes until then to be on the disk."""
    part = bench.good_part()
    with closing(sqlite3.connect(bench.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        enter(other, LOT, "L-2", Asked("anna", "command"), "l1")
        trigger = replace(part.decision.trigger, at_s=time.monotonic() + 0.002, lot=named)  # it has whole milliseconds
        bench.telling.leave(replace(part, decision=replace(part.decision, trigger=trigger)))
        other.execute("COMMIT")
    bench.hear()
    assert [one.verdict for one in bench.door.heard] == [PartVerdict.ACCEPT]
    assert bench.rows() == [("accept", None)]
    with closing(sqlite3.connect(bench.path)) as connection:
        assert connection.execute("SELECT lot FROM parts").fetchall() == [(lot,)]


class LeftOver:
    """A recorder whose entries wait until the test says that they are on the disk."""

    def __init__(self) -> None:
        self.entries: list[PartEntry | CorrectionEntry] = []

    def put(self, entry: PartEntry | CorrectionEntry) -> None:
        self.entries.append(entry)

    def orders(self, lane: str, at_s: float) -> LaneOrders:
        del lane, at_s
        return LaneOrders()

    def commit(self) -> None:
        entries, self.entries = self.entries, []
        for entry in entries:
            if isinstance(entry, PartEntry) and entry.on_done is not None:
                entry.on_done(True)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["part", "part", "commit", "commit", "sleep", "off", "on", "anew", "lost"]), max_size=14)
)
def test_whatever_happens_while_an_acceptance_waits_none_is_heard_that_was_ruled_out(story: list[str]) -> None:
    asyncio.run(play(story))


async def play(story: list[str]) -> None:
    """Let things happen; an acceptance is heard exactly where nothing came between it and the disk."""
    recorder, door, machine = LeftOver(), HeardDoor(), make_machine(make_plan(deadline_s=1000.0))
    telling = Telling(cast("PartsRecorder", recorder), [door], lambda: FRAME, lambda _: None, lambda: None)
    now_s, waiting, ruled_out, good = 10.0, set[int](), set[int](), set[int]()
    for what in (*story, "commit"):
        now_s += 5.0
        match what:
            case "part":
                sequence = machine.trigger(make_trigger(now_s))
                for decided in watch(machine, now_s - 0.5, now_s + 2.0):
                    deadline_s = time.monotonic() + 100
                    telling.leave(replace(decided, decision=replace(decided.decision, deadline_s=deadline_s)))
                if machine.is_enabled:
                    waiting.add(sequence)
            case "commit":
                recorder.commit()
                good |= waiting - ruled_out
                waiting.clear()
            case "lost":
                machine.lost_results(now_s - 2.5)  # behind the last part: what is decided was inspected
            case "on":
                machine.enable(is_enabled=True)
            case _:
                ruled_out |= waiting
                if what == "sleep":
                    machine.slept(now_s - 2.5)
                elif what == "off":
                    machine.enable(is_enabled=False)
                else:
                    machine.begin_anew()
    assert {one.sequence for one in door.heard if one.verdict is PartVerdict.ACCEPT} == good
    assert len(door.heard) == len({one.sequence for one in door.heard}) == machine.parts


async def test_an_acceptance_whose_deadline_has_come_is_not_inspected(bench: Bench) -> None:
    bench.telling.leave(bench.good_part(deadline_in_s=-0.001))
    bench.hear()
    assert [(one.verdict, one.cause) for one in bench.door.heard] == [(PartVerdict.NOT_INSPECTED, PartCause.LATE)]
    assert bench.machine.not_inspected == 1
    await asyncio.sleep(0)  # the timer of its deadline has nothing more to say
    assert len(bench.door.heard) == 1
    assert bench.rows() == [("not_inspected", "not_inspected")]


async def test_an_acceptance_that_waits_when_the_program_ends_is_not_inspected(bench: Bench) -> None:
    """The doors close and nothing is told any more: the record says so too."""
    bench.telling.leave(bench.good_part())
    bench.telling.end()
    bench.hear()
    assert [(one.verdict, one.cause) for one in bench.door.heard] == [(PartVerdict.NOT_INSPECTED, PartCause.RESTART)]
    assert bench.rows() == [("not_inspected", "not_inspected")]


async def test_what_is_found_of_a_part_after_it_was_taken_back_is_no_escape(bench: Bench) -> None:
    """It was diverted: the record goes on to say so, and what was found."""
    bench.telling.leave(bench.good_part(deadline_in_s=-0.001))
    bench.hear()
    bench.machine.event(make_fact(10.2, 10.4))
    for find in bench.machine.take_late_finds():
        bench.telling.correct(find)
    assert bench.rows() == [("not_inspected", "reject")]


async def test_a_part_is_remembered_however_many_others_leave_meanwhile() -> None:
    """Of its own lane while it waits for the disk, and of others for as long as its lane keeps it."""
    recorder, door, machine, other = LeftOver(), HeardDoor(), make_machine(make_plan()), make_machine(make_plan())
    telling = Telling(cast("PartsRecorder", recorder), [door], lambda: FRAME, lambda _: None, lambda: None)
    machine.trigger(make_trigger(10.0))
    (decided,) = watch(machine, 9.5, 12.0)
    telling.leave(replace(decided, decision=replace(decided.decision, deadline_s=time.monotonic() + 100)))
    machine.event(make_fact(10.2, 10.4))
    for find in machine.take_late_finds():
        telling.correct(find)
    for number in range(5000):
        other.miss(Trigger("l1" if number < 2000 else "l2", float(number)), PartCause.RESTART)
    for one in other.decide(5000.0):
        lane = one.decision.trigger.lane
        decision = replace(one.decision, lane=lane, sequence=one.decision.sequence + 1)
        telling.leave(replace(one, decision=decision))
    recorder.commit()
    assert door.heard[-1].verdict is PartVerdict.REJECT


async def test_what_is_not_accepted_does_not_wait_for_the_disk(bench: Bench) -> None:
    bench.machine.trigger(make_trigger(10.0))
    (decided,) = bench.machine.end(PartCause.RESTART, 10.5)
    bench.telling.leave(decided)
    assert [one.cause for one in bench.door.heard] == [PartCause.RESTART]
    assert bench.rows() == [("not_inspected", None)]


async def test_an_acceptance_that_cannot_be_recorded_is_not_inspected(bench: Bench) -> None:
    """And is entered as that once there is room again."""
    with closing(sqlite3.connect(bench.path, isolation_level=None)) as other:
        other.execute("ALTER TABLE parts RENAME TO gone")
        bench.telling.leave(bench.good_part())
        bench.hear()
        assert bench.recorder.problem
        other.execute("ALTER TABLE gone RENAME TO parts")
    assert [(one.verdict, one.cause) for one in bench.door.heard] == [(PartVerdict.NOT_INSPECTED, PartCause.LOG)]
    while bench.recorder.waiting:  # noqa: ASYNC110  a thread of the recorder has no event to wait for
        await asyncio.sleep(0.02)
    assert bench.rows() == [("not_inspected", None)]


@pytest.mark.parametrize(
    ("named", "passed_after_s", "verdict", "cause"),
    [
        (None, 60.0, PartVerdict.NOT_INSPECTED, PartCause.RECIPE),
        (None, -60.0, PartVerdict.ACCEPT, PartCause.NONE),
        ("", 60.0, PartVerdict.ACCEPT, PartCause.NONE),
    ],
)
async def test_a_recipe_that_was_asked_for_before_a_part_passed_and_is_known_after_it_was_decided(
    bench: Bench, named: str | None, passed_after_s: float, verdict: PartVerdict, cause: PartCause
) -> None:
    """Another one enters it while the part waits for the file; a trigger that names its recipe has that."""
    with closing(sqlite3.connect(bench.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        decided = bench.good_part(recipe=named)
        trigger = replace(decided.decision.trigger, at_s=time.monotonic() + passed_after_s)
        bench.telling.leave(replace(decided, decision=replace(decided.decision, trigger=trigger)))
        await asyncio.sleep(0.1)  # by now the recorder has seen that nothing was asked for, and waits for the other
        enter(other, RECIPE, "caps", Asked("anna", "desk"), "*")
        other.execute("COMMIT")
    bench.hear()
    assert [(one.verdict, one.cause) for one in bench.door.heard] == [(verdict, cause)]
    assert bench.machine.not_inspected == (verdict is PartVerdict.NOT_INSPECTED)
    assert bench.rows() == [("not_inspected", "not_inspected") if cause else ("accept", None)]


async def test_a_part_that_is_known_late_has_the_lot_of_its_own_moment(bench: Bench) -> None:
    """Unless its trigger says which it has."""
    passed_s = time.monotonic()
    await asyncio.sleep(0.002)  # a lot begins at a whole millisecond
    ask_lot(bench.path.parent, "L-2", Asked("anna", "command"))
    while bench.recorder.orders("l1").lot != "L-2":  # noqa: ASYNC110  a thread of the recorder has no event to wait for
        await asyncio.sleep(0.01)
    triggers = make_trigger(passed_s), make_trigger(time.monotonic()), replace(make_trigger(passed_s), lot="L-9")
    for number, trigger in enumerate(triggers, start=1):
        bench.machine.miss(replace(trigger, number=number), PartCause.GAP)
    for decided in bench.machine.decide(time.monotonic()):
        bench.telling.leave(decided)
    while bench.recorder.waiting:  # noqa: ASYNC110  the same
        await asyncio.sleep(0.01)
    bench.recorder.close()
    with closing(sqlite3.connect(bench.path)) as connection:
        assert connection.execute("SELECT lot FROM parts ORDER BY number").fetchall() == [("",), ("L-2",), ("L-9",)]
