# SPDX-License-Identifier: AGPL-3.0-or-later
"""A PLC's side of Modbus TCP: another program's client reads and writes the registers, and bad clients harm nobody."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from pymodbus.client import AsyncModbusTcpClient
from tests.fakes.ports import free_port

from vision_line.config.lane_settings import LaneSettings
from vision_line.config.modbus_settings import ModbusSettings
from vision_line.errors import RunError
from vision_line.lanes import modbus_map as plc
from vision_line.lanes.modbus_door import MOST_CLIENTS, ModbusDoor
from vision_line.lanes.plc_door import LaneState, PartDecision, Trigger
from vision_line.parts.part import PartCause, PartVerdict

LANES = [LaneSettings(name="a", cameras=["cam1"], window_ms=[0.0, 300.0], ejector_ms=800.0)]
WELL = LaneState(is_enabled=True, fault="", cause=PartCause.NONE, parts=0, rejects=0, not_inspected=0)
READ_HEAD = struct.pack(">HHHBBHH", 1, 0, 6, 1, 4, 0, 16)
READ_LANE = struct.pack(">HHHBBHH", 2, 0, 6, 1, 4, 16, 16)


@dataclass
class Echo:
    """A lane control that accepts each part as soon as it is triggered."""

    door: ModbusDoor
    triggers: list[Trigger] = field(default_factory=list)

    def trigger(self, trigger: Trigger) -> int:
        self.triggers.append(trigger)
        self.door.decide(decision(trigger, len(self.triggers)))
        return len(self.triggers)

    def encoder(self, lane: str, count: int, at_s: float) -> None: ...

    def begin_anew(self, lane: str) -> None: ...

    def enable(self, lane: str, *, is_enabled: bool, by: str) -> None: ...

    def release(self, by: str) -> None: ...

    def is_off(self, lane: str, *, by: str) -> bool:
        return False

    def counted(self, lane: str, parts: int, rejects: int) -> None: ...


def decision(trigger: Trigger, sequence: int, score: float = 0.0) -> PartDecision:
    verdict = PartVerdict.ACCEPT
    return PartDecision("a", sequence, trigger, verdict, PartCause.NONE, "", score, trigger.at_s, trigger.at_s + 60)


@dataclass
class Site:
    """A door that is open, and another program's client of it."""

    door: ModbusDoor
    control: Echo
    port: int
    client: AsyncModbusTcpClient

    async def lane(self) -> dict[str, int | str]:
        answer = await self.client.read_input_registers(plc.LANE_AT, count=plc.LANE_WORDS)
        return plc.decode(plc.LANE, answer.registers)


@asynccontextmanager
async def connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    port = free_port()
    door = ModbusDoor(ModbusSettings(listen=f"127.0.0.1:{port}", accept_writes=True), LANES)
    control = Echo(door)
    await door.open(control)
    door.show({"a": WELL}, is_line_well=True)
    client = AsyncModbusTcpClient("127.0.0.1", port=port, retries=0)
    await client.connect()
    await client.write_register(plc.HANDSHAKE_AT + plc.offset(plc.HANDSHAKE, "trigger"), 0)
    yield Site(door, control, port, client)
    client.close()
    await door.close()


async def test_a_part_is_triggered_and_its_verdict_read(site: Site) -> None:
    block = plc.encode(
        plc.HANDSHAKE,
        {each.name: "" if each.kind == "text" else 0 for each in plc.HANDSHAKE}
        | {"enable": 1, "part_id": "B-17", "trigger": 9},
        plc.size(plc.HANDSHAKE),
    )
    await site.client.write_registers(plc.HANDSHAKE_AT, block)
    found = await site.lane()
    assert (found["trigger_taken"], found["trigger"], found["verdict"]) == (9, 9, 1)
    assert [each.part_id for each in site.control.triggers] == ["B-17"]
    assert (await site.client.read_holding_registers(plc.HANDSHAKE_AT, count=41)).registers == block
    await site.client.write_register(plc.HANDSHAKE_AT + plc.offset(plc.HANDSHAKE, "trigger"), 10)
    assert (await site.client.read_input_registers(plc.RESULTS_AT, count=4)).registers == [10, 1, 9, 1]


async def test_refusals_have_the_codes_of_modbus(site: Site) -> None:
    client = site.client
    assert (await client.read_input_registers(500, count=1)).exception_code == 2
    assert (await client.write_register(0, 1)).exception_code == 2
    assert (await client.write_registers(plc.HANDSHAKE_AT + 8, [0xFFFF])).exception_code == 3
    assert (await client.read_coils(0, count=1)).exception_code == 1
    assert (await client.read_input_registers(0, count=1, device_id=9)).exception_code == 11
    assert (await client.read_input_registers(0, count=1, device_id=255)).registers == [plc.MAP_VERSION]


async def test_words_of_one_request_belong_together_while_decisions_come(site: Site) -> None:
    async def decide() -> None:
        for number in range(1, 3000):
            site.door.decide(decision(Trigger("a", 0.0, number), number, score=number / 10_000))
            if number % 7 == 0:
                await asyncio.sleep(0)

    deciding = asyncio.create_task(decide())
    seen = set()
    while not deciding.done():
        found = await site.lane()
        seen.add(found["result"])
        assert found["trigger"] == found["result"] == found["sequence"]
        assert found["score"] == round(int(found["result"]) / 10)
    assert len(seen) > 10


async def test_a_decision_is_in_the_next_answer(site: Site) -> None:
    for number in range(1, 200):
        site.door.decide(decision(Trigger("a", 0.0, number), number))
        assert (await site.lane())["result"] == number


async def test_requests_that_come_together_are_each_answered(site: Site) -> None:
    async with connection(site.port) as (reader, writer):
        writer.write(READ_HEAD + READ_LANE + READ_HEAD[:5])
        first = await reader.readexactly(9 + 32)
        second = await reader.readexactly(9 + 32)
        assert (first[:2], second[:2]) == (b"\x00\x01", b"\x00\x02")
        writer.write(READ_HEAD[5:])
        assert (await reader.readexactly(9 + 32))[:2] == b"\x00\x01"


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 4000, READ_HEAD * 17])
async def test_a_client_that_is_none_is_cut_off(site: Site, sent: bytes) -> None:
    async with connection(site.port) as (reader, writer):
        writer.write(sent)
        assert await ended(reader)
    assert (await site.lane())["verdict"] == 0


async def ended(reader: asyncio.StreamReader) -> bool:
    """Return whether the other side ends the connection without an answer."""
    try:
        return await asyncio.wait_for(reader.read(1), 10) == b""
    except ConnectionError:
        return True


async def test_a_client_that_does_not_take_its_answers_is_cut_off(site: Site) -> None:
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", site.port))
        deaf.setblocking(False)
        with pytest.raises(ConnectionError):
            await ask_for_ever(deaf)
    assert (await site.lane())["verdict"] == 0


async def ask_for_ever(client: socket.socket) -> None:
    for _ in range(10_000):
        await asyncio.get_running_loop().sock_sendall(client, READ_LANE)
        await asyncio.sleep(0.001)


async def test_many_clients_that_hang_do_not_keep_the_plc_out(site: Site) -> None:
    async with AsyncExitStack() as hanging:
        readers = []
        for _ in range(3 * MOST_CLIENTS):
            readers.append((await hanging.enter_async_context(connection(site.port)))[0])
            assert (await site.lane())["verdict"] == 0
        found = [await ended(reader) for reader in readers[: 2 * MOST_CLIENTS]]
    assert all(found)


async def test_only_its_peers_are_served() -> None:
    port = free_port()
    door = ModbusDoor(ModbusSettings(listen=f"127.0.0.1:{port}", peers=["192.168.10.0/28"]), LANES)
    await door.open(Echo(door))
    async with connection(port) as (reader, _):
        assert await ended(reader)
    await door.close()


async def test_after_its_end_nothing_answers(site: Site) -> None:
    await site.door.close()
    await site.door.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", site.port)


async def test_an_address_in_use_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        door = ModbusDoor(ModbusSettings(listen=address), LANES)
        with pytest.raises(RunError, match=f"cannot listen on {address}: Address already in use"):
            await door.open(Echo(door))
