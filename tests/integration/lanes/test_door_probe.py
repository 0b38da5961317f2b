# SPDX-License-Identifier: AGPL-3.0-or-later
"""`check --probe` reaches the modules that switch and the PLC's port, and switches nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.fakes.io_module import Module
from tests.fakes.ports import free_port

from vision_line.cli.check_lanes import lane_troubles
from vision_line.config.modbus_settings import CoilSettings
from vision_line.lanes import door_probe
from vision_line.lanes.door_probe import coil_troubles

LINE = """config_version = 1
[[stream]]
name = "a"
url = "rtsp://10.0.0.1/"
[record]
directory = "{records}"
[[lane]]
name = "l1"
cameras = ["a"]
window_ms = [0, 500]
ejector_ms = 5000
[modbus]
listen = "127.0.0.1:{port}"
[[coil]]
lane = "l1"
address = "127.0.0.1:{module}"
"""


@pytest.fixture
async def module() -> AsyncIterator[Module]:
    made = Module()
    await made.start()
    yield made
    await made.stop()


def coil(port: int, number: int = 0, unit: int = 1) -> CoilSettings:
    return CoilSettings(lane="l1", address=f"127.0.0.1:{port}", coil=number, unit=unit)


async def test_each_output_is_read_and_none_is_written(module: Module) -> None:
    """One that the module does not have is named, and one of a module that is away."""
    gone = free_port()
    found = await coil_troubles([coil(module.port), coil(module.port, 99), coil(gone), coil(module.port, 15)])

    assert found == [
        (1, f"module 127.0.0.1:{module.port}: it has no output 99 of unit 1"),
        (2, f"module 127.0.0.1:{gone} is not reached"),
    ]
    assert set(module.functions) == {1}
    assert not module.writes


async def test_a_module_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the connection, and no more."""
    monkeypatch.setattr(door_probe, "PATIENCE_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        ((index, said),) = await coil_troubles([coil(port)])

    assert index == 0
    assert said.startswith(f"module 127.0.0.1:{port}: output 0 of unit 1 gives no answer")


def test_check_names_the_keys(tmp_path: Path) -> None:
    """A port that another program has, and a module that is away; without `probe` neither is tried."""
    streams = tmp_path / "streams.toml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port, module = taken.getsockname()[1], free_port()
        streams.write_text(LINE.format(records=tmp_path, port=port, module=module), encoding="utf-8")
        assert lane_troubles(streams) == []
        found = lane_troubles(streams, probe=True)

    assert found == [
        f"{streams}:13: modbus.listen: cannot listen on 127.0.0.1 port {port}: Address already in use,"
        f" and no vision-line lanes runs for {tmp_path}",
        f"{streams}:14: coil[1]: module 127.0.0.1:{module} is not reached",
    ]


def test_check_finds_nothing_wrong_where_all_answer(tmp_path: Path) -> None:
    """With the module served in a loop of its own."""
    streams = tmp_path / "streams.toml"
    module = Module()
    streams.write_text(LINE.format(records=tmp_path, port=free_port(), module=module.port), encoding="utf-8")

    async def checked() -> list[str]:
        await module.start()
        try:
            return await asyncio.to_thread(lane_troubles, streams, probe=True)
        finally:
            await module.stop()

    assert asyncio.run(checked()) == []
