# SPDX-License-Identifier: AGPL-3.0-or-later
"""Outputs of a remote I/O module, which is pymodbus's own server: switched, released, away and back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
from tests.fakes.io_module import Module
from tests.fakes.ports import free_port
from tests.fakes.waiting import until

from vision_line.config.modbus_settings import CoilSettings
from vision_line.lanes import coil_door, coil_pulse
from vision_line.lanes.coil_door import CoilDoor
from vision_line.lanes.plc_door import PartDecision, Trigger
from vision_line.parts.part import PartCause, PartVerdict


@dataclass
class Enabled:
    """A lane control that keeps which lanes are enabled."""

    lanes: dict[str, bool] = field(default_factory=dict)
    released: list[str] = field(default_factory=list)

    def trigger(self, trigger: Trigger) -> int:
        raise AssertionError(trigger)

    def encoder(self, lane: str, count: int, at_s: float) -> None: ...

    def begin_anew(self, lane: str) -> None: ...

    def enable(self, lane: str, *, is_enabled: bool, by: str) -> None:
        self.lanes[lane] = is_enabled

    def release(self, by: str) -> None:
        self.released.append(by)

    def is_off(self, lane: str, *, by: str) -> bool:
        return False

    def counted(self, lane: str, parts: int, rejects: int) -> None: ...


@pytest.fixture
async def module() -> AsyncIterator[Module]:
    made = Module()
    await made.start()
    yield made
    await made.stop()


def coil(module: Module, lane: str, number: int, **more: object) -> CoilSettings:
    return CoilSettings.model_validate({"lane": lane, "address": f"127.0.0.1:{module.port}", "coil": number} | more)


@asynccontextmanager
async def opened(*coils: CoilSettings) -> AsyncIterator[tuple[CoilDoor, Enabled]]:
    door, control = CoilDoor(coils), Enabled()
    await door.open(control)
    try:
        yield door, control
    finally:
        await door.close()


def decision(lane: str, verdict: PartVerdict, left_s: float = 10.0) -> PartDecision:
    now_s = time.monotonic()
    cause = PartCause.GAP if verdict is PartVerdict.NOT_INSPECTED else PartCause.NONE
    return PartDecision(lane, 1, Trigger(lane, now_s), verdict, cause, "", 0.0, now_s, now_s + left_s)


async def test_each_lane_switches_its_output_and_releases_it(module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coil_pulse, "PROMPT_S", 5.0)  # a busy machine is no module that is away
    async with opened(coil(module, "a", 0), coil(module, "b", 7, energised="good")) as (door, _):
        await until(lambda: len(module.writes) >= 2)
        assert not any(state for _, state, _ in module.writes)
        door.decide(decision("a", PartVerdict.REJECT))
        door.decide(decision("b", PartVerdict.ACCEPT))
        await until(lambda: module.is_on(0) and module.is_on(7))
        await until(lambda: not module.is_on(0) and not module.is_on(7))
        on_s = next(at_s for number, state, at_s in module.writes if number == 0 and state)
        off_s = next(at_s for number, state, at_s in module.writes if number == 0 and not state and at_s > on_s)
        assert off_s - on_s >= 0.05


async def test_outputs_are_written_again_and_off_at_the_end(module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coil_pulse, "PROMPT_S", 5.0)
    async with opened(coil(module, "a", 3, energised="good", pulse_ms=10_000)) as (door, _):
        door.decide(decision("a", PartVerdict.ACCEPT))
        await until(lambda: sum(state for _, state, _ in module.writes) >= 3)
    assert not module.is_on(3)


async def test_a_machine_that_slept_lets_no_part_pass_by_what_it_said_before(
    module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by a pulse that goes on, nor by one that was not sent yet."""
    slept_s = 0.0
    monkeypatch.setattr(coil_pulse, "PROMPT_S", 5.0)
    monkeypatch.setattr(coil_door, "elapsed_s", lambda: time.monotonic() + slept_s)
    monkeypatch.setattr(coil_door, "asleep_s", lambda: slept_s)
    lets_pass = coil(module, "a", 0, energised="good", pulse_ms=10_000)
    async with opened(lets_pass, coil(module, "b", 1, energised="good", pulse_ms=10_000)) as (door, _):
        door.decide(decision("a", PartVerdict.ACCEPT))
        await until(lambda: module.is_on(0))
        door.decide(decision("b", PartVerdict.ACCEPT))
        slept_s = 30.0
        await until(lambda: not module.is_on(0))
        module.writes.clear()
        await until(lambda: len(module.writes) >= 4)
        assert not any(state for _, state, _ in module.writes)
        door.decide(decision("a", PartVerdict.ACCEPT))
        await until(lambda: module.is_on(0))


async def test_a_module_that_is_away_stops_its_lanes_until_it_is_back(
    module: Module, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(coil_door, "RETRY_S", 0.2)
    async with opened(coil(module, "a", 0, energised="good", pulse_ms=10_000)) as (door, control):
        await until(lambda: bool(module.writes))
        await module.stop()
        await until(lambda: control.lanes == {"a": False})
        door.decide(decision("a", PartVerdict.ACCEPT))
        await asyncio.sleep(2 * coil_pulse.PROMPT_S)
        module.writes.clear()
        await module.start()
        await until(lambda: control.lanes == {"a": True} and len(module.writes) >= 2)
        assert not any(state for _, state, _ in module.writes)
    assert f"module 127.0.0.1:{module.port} is away, its lanes divert everything" in caplog.text


async def test_a_fault_of_the_program_is_a_module_that_is_away(
    module: Module, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its lanes divert until its outputs are written again; nobody switches them on because the task has ended."""
    monkeypatch.setattr(coil_door, "RETRY_S", 0.2)
    async with opened(coil(module, "a", 0)) as (_, control):
        await until(lambda: bool(module.writes))
        with monkeypatch.context() as at:
            at.setattr(coil_pulse.CoilPulse, "changes_at_s", lambda *_: 1 / 0)
            await until(lambda: control.lanes == {"a": False})
            assert control.released == []
        await until(lambda: control.lanes == {"a": True})
    assert "a fault of the program: ZeroDivisionError" in caplog.text


async def test_an_output_that_the_module_has_not_is_no_output(module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coil_door, "RETRY_S", 0.2)
    async with opened(coil(module, "a", 99)) as (_, control):
        await until(lambda: control.lanes == {"a": False})


@pytest.mark.parametrize(("left_s", "is_passing"), [(0.04, False), (10.0, True)])
async def test_a_slow_module_lets_no_part_pass_that_it_would_let_pass_behind_its_deadline(
    module: Module, monkeypatch: pytest.MonkeyPatch, left_s: float, *, is_passing: bool
) -> None:
    """Whether it writes the other output just then or not."""
    monkeypatch.setattr(coil_pulse, "PROMPT_S", 5.0)
    module.delay_s = module.delay_on_s = 0.05
    lets_pass = coil(module, "b", 1, energised="good", pulse_ms=300)
    async with opened(coil(module, "a", 0, energised="good"), lets_pass) as (door, control):
        await until(lambda: len(module.writes) >= 2)
        for wait_s in (0.0, 0.02, 0.06):
            await asyncio.sleep(wait_s)
            module.writes.clear()
            door.decide(decision("b", PartVerdict.ACCEPT, left_s))
            await until(lambda: len(module.writes) >= 5)
            assert any(state for number, state, _ in module.writes if number == 1) is is_passing
    assert control.lanes == {}


async def test_an_output_that_may_have_been_switched_on_too_late_is_soon_switched_off(
    module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The module gives no answer before the deadline, and switches it all the same."""
    monkeypatch.setattr(coil_door, "RETRY_S", 60.0)
    monkeypatch.setattr(coil_pulse, "PROMPT_S", 0.4)
    module.delay_on_s = 0.8
    async with opened(coil(module, "a", 0, energised="good", pulse_ms=10_000)) as (door, control):
        await until(lambda: bool(module.writes))
        for _ in range(9):  # on a busy machine it may not even be tried in so short a time
            door.decide(decision("a", PartVerdict.ACCEPT, coil_pulse.PROMPT_S))
            with suppress(AssertionError):
                await until(lambda: control.lanes == {"a": False}, within_s=2 * module.delay_on_s)
                break
        await until(lambda: control.lanes == {"a": True})
        await asyncio.sleep(module.delay_on_s)
        module.writes.clear()
        await until(lambda: len(module.writes) >= 2)
        assert not any(state for _, state, _ in module.writes)


async def test_a_module_that_is_configured_no_more_has_no_lane_divert() -> None:
    port = free_port()
    async with opened(CoilSettings(lane="a", address=f"127.0.0.1:{port}")) as (_, control):
        await until(lambda: control.lanes == {"a": False})
    assert control.released == [f"module 127.0.0.1:{port}"]
