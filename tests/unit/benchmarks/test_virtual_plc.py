# SPDX-License-Identifier: AGPL-3.0-or-later
"""The virtual PLC lets a board pass only for an accept with its number that it read in time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from benchmarks.virtual_plc import belt, plc
from benchmarks.virtual_plc.belt import Belt, BoardPass, plans
from benchmarks.virtual_plc.outcome import LedgerSays, Outcome
from benchmarks.virtual_plc.plc import Sorted, VirtualPlc
from benchmarks.virtual_plc.witness import was_inspected
from tests.fakes.ports import free_port

from vision_line.config.lane_settings import LaneSettings
from vision_line.config.modbus_settings import ModbusSettings
from vision_line.lanes.modbus_door import ModbusDoor
from vision_line.lanes.plc_door import LaneState, PartDecision, Trigger
from vision_line.parts.part import PartCause, PartVerdict

WELL = LaneState(is_enabled=True, fault="", cause=PartCause.NONE, parts=0, rejects=0, not_inspected=0)
LANE = LaneSettings(name="cam01", cameras=["cam01"], window_ms=[0.0, 300.0], ejector_ms=60_000.0)


@dataclass
class Scripted:
    """Decides the parts by their numbers: 1 accept, 2 reject, 3 not inspected, 4 nothing, 5 accept of another part."""

    door: ModbusDoor
    numbers: list[int] = field(default_factory=list)

    def trigger(self, trigger: Trigger) -> int:
        number = trigger.number or 0
        self.numbers.append(number)
        verdicts = [PartVerdict.ACCEPT, PartVerdict.REJECT, PartVerdict.NOT_INSPECTED, None, PartVerdict.ACCEPT]
        verdict = verdicts[(number - 1) % 5]
        if verdict is not None:
            said = Trigger("cam01", trigger.at_s, number + 1000 if number % 5 == 0 else number)
            cause = PartCause.GAP if verdict is PartVerdict.NOT_INSPECTED else PartCause.NONE
            now_s = time.monotonic()
            self.door.decide(PartDecision("cam01", number, said, verdict, cause, "", 0.0, now_s, now_s + 60))
        return number

    def encoder(self, lane: str, count: int, at_s: float) -> None: ...

    def begin_anew(self, lane: str) -> None: ...

    def enable(self, lane: str, *, is_enabled: bool, by: str) -> None: ...

    def release(self, by: str) -> None: ...

    def is_off(self, lane: str, *, by: str) -> bool:
        return False

    def counted(self, lane: str, parts: int, rejects: int) -> None: ...


class Regular(Belt):
    """A belt with a board each 50 ms, all good."""

    def __init__(self) -> None:
        self.camera = "cam01"

    def count(self, at_s: float) -> int:
        return int(at_s * 1000) % (1 << 32)

    def passes(self, from_s: float) -> Iterator[BoardPass]:
        number = 1
        while True:
            yield BoardPass("cam01", number, (), from_s + 0.3 + 0.05 * number)
            number += 1


@contextmanager
def scripted_line(port: int, *, beats: bool = True) -> Iterator[Scripted]:
    """A door in a thread of its own."""
    over = threading.Event()
    door = ModbusDoor(ModbusSettings(listen=f"127.0.0.1:{port}", accept_writes=True), [LANE])
    control = Scripted(door)

    async def serve() -> None:
        await door.open(control)
        while not over.is_set():
            if beats or not control.numbers:
                door.show({"cam01": WELL}, is_line_well=True)
            await asyncio.sleep(0.02)
        await door.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        yield control
    finally:
        over.set()
        thread.join()


@pytest.fixture(autouse=True)
def busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that other tests use is no fault of the line; and an ejector that is near."""
    for name in ("TRIGGER_S", "WATCHDOG_S", "ANSWER_S"):
        monkeypatch.setattr(plc, name, 20.0)
    monkeypatch.setattr(belt, "EJECTOR_PX", 2.0 * belt.SPEED_PX_S)


def sorted_parts(port: int, count: int) -> list[Sorted]:
    made = VirtualPlc(port, [Regular()])
    made.start()
    ends_s = time.monotonic() + 60
    while len(made.done) < count and time.monotonic() < ends_s:
        time.sleep(0.02)
    made.close()
    return made.done[:count]


def test_only_an_accept_of_its_own_lets_a_board_pass() -> None:
    port = free_port()
    with scripted_line(port) as line:
        parts = sorted_parts(port, 10)
    assert line.numbers[:10] == list(range(1, 11))
    assert [part.is_passed for part in parts] == [True, False, False, False, False] * 2
    assert [part.verdict for part in parts] == [1, 3, 4, 0, 0] * 2
    assert not any(part.is_late for part in parts)


def test_without_a_line_every_board_is_diverted() -> None:
    parts = sorted_parts(free_port(), 3)
    assert not any(part.is_passed for part in parts)
    assert all(part.distrusted for part in parts)


def test_boards_pass_in_their_order_each_once_a_turn() -> None:
    (plan,) = plans(1, 250)
    made = Belt("cam01", plan, 1000.0)
    passes = made.passes(1000.0)
    boards = [next(passes) for _ in range(3 * plan.boards)]
    moments = [board.at_s for board in boards]
    assert moments == sorted(moments)
    assert sorted(board.board for board in boards[: plan.boards]) == list(range(plan.boards))
    turn_s = plan.frames / 25
    assert boards[plan.boards].at_s == pytest.approx(boards[0].at_s + turn_s)
    assert made.count(boards[0].at_s + 1) - made.count(boards[0].at_s) == pytest.approx(800, abs=2)


def test_what_is_counted() -> None:
    outcome = Outcome()
    good, bad = BoardPass("cam01", 0, (), 0.0), BoardPass("cam01", 1, ("open",), 0.0)
    outcome.add(Sorted(good, 1, verdict=1, is_passed=True), LedgerSays.NOT_INSPECTED)
    outcome.add(Sorted(bad, 2, verdict=1, is_passed=True), LedgerSays.UNACCOUNTED)
    outcome.add(Sorted(bad, 3, verdict=3), LedgerSays.INSPECTED)
    outcome.add(Sorted(bad, 4, "told late", verdict=4, is_late=True), LedgerSays.INSPECTED)
    total = Outcome(boards=1)
    total += outcome
    assert total == Outcome(5, 1, 0, 1, 1, 1, 1, 1, 1, 1)


@pytest.mark.parametrize(
    ("arrived_s", "is_enough"),
    [
        ([0.9, 1.1, 1.3, 1.5, 1.7], True),
        ([0.9, 1.1, 1.3, 1.7], False),  # too few in the window
        ([1.1, 1.3, 1.5, 1.7], False),  # nobody knows since when it was not inspected
        ([0.9, 1.1, 1.3, 1.5], False),  # nor until when
        ([0.7, 1.1, 1.3, 1.5, 1.7], False),  # a gap that reaches into the window
        ([0.9, 1.1, 1.2, 1.5, 1.7], False),
        ([0.9, 1.1, 1.3, 1.5, 1.7, 9.0], True),
    ],
)
def test_what_a_board_had_itself_is_counted(arrived_s: list[float], is_enough: bool) -> None:
    assert was_inspected(arrived_s, (1.0, 1.6), 3, 0.25) is is_enough


def test_a_gap_that_ends_where_the_window_begins_is_none_of_it() -> None:
    """By a clock that differs by 0.05 s it reaches in, and by another one it does not."""
    arrived_s = [-0.90, -0.83, -0.63, -0.02, 0.08, 0.18, 0.28, 0.35, 0.42, 0.49, 0.55, 0.62, 1.06]
    assert was_inspected(arrived_s, (0.0, 0.5), 5, 0.30, 0.05)
    assert not was_inspected(arrived_s, (-0.1, 0.4), 5, 0.30, 0.05)
