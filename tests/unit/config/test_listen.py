# SPDX-License-Identifier: AGPL-3.0-or-later
"""`[metrics] listen`: what it may be, and what is said of what it may not be."""

from __future__ import annotations

from pathlib import Path

import pytest

from vision_line.config.listen import ListenAddress, parse_listen
from vision_line.config.load import load_config
from vision_line.errors import ConfigError, ExitCode


def config(folder: Path, metrics: str) -> Path:
    path = folder / "streams.toml"
    path.write_text(
        f'config_version = 1\n[metrics]\n{metrics}\n[[stream]]\nname = "a"\nurl = "rtsp://10.0.0.1/a"\n',
        encoding="utf-8",
    )
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:9108", ("127.0.0.1", 9108)),
        ("127.8.9.1:1", ("127.8.9.1", 1)),
        ("localhost:65535", ("127.0.0.1", 65535)),
        ("[::1]:9108", ("::1", 9108)),
    ],
)
def test_loopback_addresses_are_taken(tmp_path: Path, text: str, expected: tuple[str, int]) -> None:
    """IPv4, IPv6 and the usual name."""
    settings = load_config(config(tmp_path, f'listen = "{text}"')).config.metrics

    assert settings.address == ListenAddress(*expected)


def test_it_is_off_by_default(tmp_path: Path) -> None:
    """Nobody listens who was not asked to."""
    assert load_config(config(tmp_path, "")).config.metrics.address is None


@pytest.mark.parametrize("text", ["0.0.0.0:9108", "[::]:9108", "192.0.2.7:9108", "[fe80::1]:9108"])
def test_others_reach_it_only_where_that_is_said(tmp_path: Path, text: str) -> None:
    """An address of a network needs a second key."""
    with pytest.raises(ConfigError) as caught:
        load_config(config(tmp_path, f'listen = "{text}"'))
    allowed = load_config(config(tmp_path, f'listen = "{text}"\nallow_remote = true')).config.metrics

    (problem,) = caught.value.problems
    assert ":3: metrics.listen: found " in problem
    assert text in problem
    assert problem.endswith("expected 127.0.0.1, or allow_remote = true")
    assert str(allowed.address) == text


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ('"9108"', "'9108'"),
        ('":9108"', "':9108'"),
        ('"box7:9108"', "'box7:9108'"),
        ('"127.0.0.1"', "'127.0.0.1'"),
        ('"::1:9108"', "'::1:9108'"),
        ('"[127.0.0.1]:9108"', "'[127.0.0.1]:9108'"),
        ('"127.0.0.1:0"', "port 0"),
        ('"127.0.0.1:65536"', "port 65536"),
        ('"127.0.0.1:٩"', "'127.0.0.1:٩'"),
        ("9108", "9108"),
    ],
)
def test_anything_else_is_one_clear_message(tmp_path: Path, value: str, found: str) -> None:
    """With the file, the line, the key, what was found and what was expected."""
    with pytest.raises(ConfigError) as caught:
        load_config(config(tmp_path, f"listen = {value}"))

    (problem,) = caught.value.problems
    assert problem.startswith(f"{tmp_path / 'streams.toml'}:3: metrics.listen: found {found}")
    assert "expected" in problem
    assert caught.value.exit_code is ExitCode.CONFIG


def test_an_address_is_written_as_it_is_read() -> None:
    """For messages, and for a browser."""
    assert str(parse_listen("[::1]:9108")) == "[::1]:9108"
    assert str(parse_listen("127.0.0.1:9108")) == "127.0.0.1:9108"
