# SPDX-License-Identifier: AGPL-3.0-or-later
"""The machines that sort follow the file while lanes are decided: what cannot be reached now is, once it can."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest
from pymodbus.client import ModbusTcpClient
from tests.fakes.bench_line import LANE, running_lanes, running_line, serving
from tests.fakes.ports import free_port
from tests.fakes.waiting import wait_for
from tests.integration.lanes.test_lane_service import decision_of, lane_of, rows

from vision_line.config.lane_load import load_lanes
from vision_line.lanes import lane_service
from vision_line.lanes import modbus_map as plc
from vision_line.lanes.lane_service import LaneService
from vision_line.lanes.lanes_client import LanesClient
from vision_line.lanes.plc_door import LaneControl, LaneState, PartDecision
from vision_line.parts.orders import Asked, ask_lot
from vision_line.parts.parts_file import FILE_NAME

MODBUS = '[modbus]\nlisten = "127.0.0.1:{}"\naccept_writes = true\n'
COIL = '[[coil]]\nlane = "l1"\naddress = "127.0.0.1:{}"\n'


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_service, "RELOAD_S", 0.05)


def is_open(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_a_port_that_is_taken_for_a_while_is_served_once_it_is_free(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Meanwhile the doors behind it in the file are served, and it is said once."""
    before, after, module = free_port(), free_port(), free_port()
    with running_lanes(tmp_path, LANE + MODBUS.format(before)) as streams:
        assert is_open(before)
        with socket.create_server(("127.0.0.1", after)):
            streams.write_text(LANE + MODBUS.format(after) + COIL.format(module), encoding="utf-8")
            wait_for(lambda: f"cannot listen on 127.0.0.1:{after}" in caplog.text, "it is said")
            wait_for(lambda: f"module 127.0.0.1:{module} is away" in caplog.text, "the other one is served")
            assert not is_open(before)
        wait_for(lambda: is_open(after), "it is served")
    assert caplog.text.count("cannot listen on") == 1


class SlowDoor:
    """A machine that takes its time to say farewell."""

    async def open(self, control: LaneControl) -> None: ...

    def decide(self, decision: PartDecision) -> None: ...

    def show(self, states: Mapping[str, LaneState], *, is_line_well: bool) -> None: ...

    async def close(self) -> None:
        await asyncio.sleep(0.3)


def test_the_parts_of_a_lane_that_the_file_removes_keep_their_lot(tmp_path: Path) -> None:
    """What was asked for of it is known until it has ended, however long the doors take for that."""
    streams = tmp_path / "streams.toml"
    streams.write_text(LANE.replace("200", "20000").replace("1500", "30000"), encoding="utf-8")
    ask_lot(tmp_path, "L-7", Asked("anna", "command"))
    service = LaneService(tmp_path, load_lanes(streams), lambda _: [SlowDoor()])
    with running_line(tmp_path), serving(service), LanesClient(tmp_path) as client:
        wait_for(lambda: not lane_of(client)["fault"], "the lane has its line")
        client.part("l1")
        streams.write_text(LANE.replace('"l1"', '"l2"'), encoding="utf-8")
        wait_for(lambda: lane_of(client)["name"] == "l2", "the lane is another one")
        wait_for(lambda: rows(tmp_path, "lane, lot, cause"), "it is recorded")
        assert rows(tmp_path, "lane, lot, cause") == [("l1", "L-7", "restart")]
        assert lane_of(client)["lot"] == "L-7"


def test_a_file_that_changes_while_the_process_begins_is_followed(tmp_path: Path) -> None:
    streams = tmp_path / "streams.toml"
    streams.write_text(LANE, encoding="utf-8")
    service = LaneService(tmp_path, load_lanes(streams))
    streams.write_text(LANE.replace('"l1"', '"l2"'), encoding="utf-8")
    with serving(service), LanesClient(tmp_path) as client:
        wait_for(lambda: lane_of(client)["name"] == "l2", "the lane is another one")


def test_a_lane_that_cannot_begin_does_once_its_parts_can_be_read(tmp_path: Path) -> None:
    """It has its line then. Meanwhile it is no fault of a PLC's to write to it, or of a module's to be away."""
    port, module = free_port(), free_port()
    doors = MODBUS.format(port) + COIL.format(module)
    with running_line(tmp_path), running_lanes(tmp_path, LANE) as streams, LanesClient(tmp_path) as client:
        with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as other:
            other.execute("ALTER TABLE parts RENAME TO gone")
            streams.write_text((LANE + doors).replace('"l1"', '"l2"'), encoding="utf-8")
            wait_for(lambda: is_open(port) and not client.status()["lanes"], "the lane is gone")
            with ModbusTcpClient("127.0.0.1", port=port, timeout=60) as machine:
                assert machine.write_registers(plc.HANDSHAKE_AT + 1, [0, 7]).isError()
                assert not machine.read_input_registers(0, count=1).isError()
            other.execute("ALTER TABLE gone RENAME TO parts")
        wait_for(lambda: not lane_of(client)["is_enabled"], "the other one is there, and its module is away")
        assert lane_of(client)["name"] == "l2"
        streams.write_text(LANE.replace('"l1"', '"l2"'), encoding="utf-8")
        wait_for(lambda: lane_of(client)["is_enabled"] and not lane_of(client)["fault"], "the module has gone")
        client.follow()
        client.part("l2")
        assert decision_of(client)["verdict"] == "accept"


def test_a_plc_that_is_configured_no_more_leaves_no_lane_off(tmp_path: Path) -> None:
    """Nor one that may write no more; while its table only changes, what it switched off stays off."""
    port = free_port()
    with running_lanes(tmp_path, LANE + MODBUS.format(port)) as streams, LanesClient(tmp_path) as client:
        with ModbusTcpClient("127.0.0.1", port=port, timeout=60) as machine:
            assert not machine.write_register(plc.HANDSHAKE_AT, 0).isError()
        assert not lane_of(client)["is_enabled"]
        other_port = free_port()
        streams.write_text(LANE + MODBUS.format(other_port), encoding="utf-8")
        wait_for(lambda: is_open(other_port), "the table has changed")
        assert not lane_of(client)["is_enabled"]
        streams.write_text(LANE, encoding="utf-8")
        wait_for(lambda: lane_of(client)["is_enabled"], "nobody has it divert any more")
