# SPDX-License-Identifier: AGPL-3.0-or-later
"""Two servers of one file at one port: refused, with both keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from vision_line.cli.desk_process import check_desk_port
from vision_line.config.listen import ListenAddress, parse_listen
from vision_line.config.listening import Listener
from vision_line.config.load import load_config
from vision_line.config.output_load import load_outputs
from vision_line.errors import ConfigError

CAMERA = 'config_version = 1\n[[stream]]\nname = "a"\nurl = "rtsp://host/x"\n'
SCADA = '[[output]]\ntype = "opcua"\nname = "scada"\n'
SECOND = SCADA.replace("scada", "second")


def problems(folder: Path, text: str) -> list[str]:
    path = folder / "streams.toml"
    path.write_text(CAMERA + text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    return [problem.removeprefix(f"{path}:") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            f'{SCADA}[modbus]\nlisten = "127.0.0.1:4840"\n',
            "5: output[scada].listen: found 127.0.0.1:4840, where modbus.listen listens too: expected another port",
        ),
        (
            f'{SCADA}[metrics]\nlisten = "127.0.0.1:4840"\n',
            "5: output[scada].listen: found 127.0.0.1:4840, where metrics.listen listens too: expected another port",
        ),
        (
            SCADA + SECOND,
            "5: output[scada].listen: found 127.0.0.1:4840, where output[second].listen listens too:"
            " expected another port",
        ),
        (
            '[metrics]\nlisten = "127.0.0.1:8554"\n[simulator]\n',
            "6: metrics.listen: found 127.0.0.1:8554, where simulator.port listens too: expected another port",
        ),
        (
            '[metrics]\nlisten = "0.0.0.0:1502"\nallow_remote = true\n[modbus]\n',
            "6: metrics.listen: found 0.0.0.0:1502, where modbus.listen listens too: expected another port",
        ),
    ],
)
def test_a_port_is_one_servers(tmp_path: Path, text: str, said: str) -> None:
    """Of whatever kind the two are, also where one listens at every address."""
    assert problems(tmp_path, text) == [said]


def test_another_port_or_address_is_free(tmp_path: Path) -> None:
    """And so is that of an output that is not enabled."""
    path = tmp_path / "streams.toml"
    remote = 'listen = "192.168.10.2:4840"\nallow_remote = true\n'
    path.write_text(f"{CAMERA}{SCADA}{SECOND}{remote}{SCADA.replace('scada', 'off')}enabled = false\n[modbus]\n")

    assert len(load_config(path, {}).config.output) == 3
    assert len(load_outputs(path, {}).enabled) == 2


def test_the_outputs_process_refuses_it_by_itself(tmp_path: Path) -> None:
    """It reads its own tables alone."""
    path = tmp_path / "streams.toml"
    path.write_text(SCADA + SECOND, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"output\[scada\].listen: .* output\[second\].listen listens too"):
        load_outputs(path, {})


def test_the_desk_beside_a_run_has_a_port_of_its_own(tmp_path: Path) -> None:
    """Its address is an option: it is named, and the key."""
    path = tmp_path / "streams.toml"
    path.write_text(CAMERA + SCADA, encoding="utf-8")
    loaded = load_config(path, {})

    check_desk_port(parse_listen("127.0.0.1:8080"), loaded)
    with pytest.raises(ConfigError, match=r"^--desk-listen 127.0.0.1:4840: output\[scada\].listen = 127.0.0.1:4840 of"):
        check_desk_port(parse_listen("127.0.0.1:4840"), loaded)


@pytest.mark.parametrize(
    ("one", "other", "meets"),
    [
        ("127.0.0.1:1", "127.0.0.1:1", True),
        ("127.0.0.1:1", "127.0.0.1:2", False),
        ("127.0.0.1:1", "127.0.0.2:1", False),
        ("0.0.0.0:1", "127.0.0.1:1", True),
        ("[::]:1", "127.0.0.1:1", True),
        ("[::1]:1", "127.0.0.1:1", False),
    ],
)
def test_which_addresses_meet(one: str, other: str, meets: bool) -> None:
    """Either way round."""
    first, second = parse_listen(one), parse_listen(other)

    assert Listener((), first).meets(second) is meets
    assert Listener((), second).meets(ListenAddress(*first)) is meets
