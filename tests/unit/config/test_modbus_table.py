# SPDX-License-Identifier: AGPL-3.0-or-later
"""`[modbus]` and `[[coil]]`: who may connect, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from vision_line.config.load import load_config
from vision_line.config.modbus_settings import ModbusSettings
from vision_line.errors import ConfigError

BASE = """config_version = 1
[[stream]]
name = "cam1"
url = "rtsp://127.0.0.1/cam1"
[[lane]]
name = "a"
cameras = ["cam1"]
window_ms = [0, 300]
ejector_ms = 800
"""


def load(folder: Path, more: str) -> ModbusSettings | None:
    path = folder / "streams.toml"
    path.write_text(BASE.replace("[0, 300]", "[0.0, 300.0]").replace("800", "800.0") + more, encoding="utf-8")
    return load_config(path).config.modbus


def test_only_this_machine_is_served_and_nothing_may_be_written_unless_asked(tmp_path: Path) -> None:
    assert load(tmp_path, "") is None
    modbus = load(tmp_path, "[modbus]\n")
    assert modbus is not None
    assert (str(modbus.address), modbus.accept_writes) == ("127.0.0.1:1502", False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[modbus]\nlisten = "0.0.0.0:502"\n', "allow_remote = true"),
        ('[modbus]\nlisten = "0.0.0.0:502"\nallow_remote = true\n', "peers: expected the addresses"),
        ('[modbus]\npeers = ["plc.plant"]\n', "found 'plc.plant', expected an IP address"),
        ('[modbus]\nlisten = "localhost"\n', "expected an IP address and a port"),
        (
            2 * '[[coil]]\nlane = "a"\naddress = "127.0.0.1:502"\n',
            "found output 0 of unit 1 at 127.0.0.1:502, which coil 1 has",
        ),
        ('[[coil]]\nlane = "b"\naddress = "127.0.0.1:502"\n', "expected the name of a lane, found 'b'"),
        ('[[coil]]\nlane = "a"\naddress = "module"\n', "expected an IP address and a port"),
    ],
)
def test_what_cannot_be_is_said(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load(tmp_path, text)


@pytest.mark.parametrize(
    ("peers", "peer", "is_allowed"),
    [
        ([], "127.0.0.1", True),
        ([], "192.168.10.20", False),
        (["192.168.10.20"], "192.168.10.20", True),
        (["192.168.10.20"], "::ffff:192.168.10.20", True),
        (["192.168.10.20"], "192.168.10.21", False),
        (["192.168.10.0/28"], "192.168.10.15", True),
        (["192.168.10.0/28"], "127.0.0.1", False),
        (["fd00::/8"], "192.168.10.15", False),
    ],
)
def test_who_may_connect(peers: list[str], peer: str, *, is_allowed: bool) -> None:
    assert ModbusSettings(listen="0.0.0.0:502", allow_remote=True, peers=peers or ["10.0.0.1"]).allows(peer) is (
        is_allowed and bool(peers)
    )
    assert ModbusSettings(peers=peers).allows(peer) is is_allowed
