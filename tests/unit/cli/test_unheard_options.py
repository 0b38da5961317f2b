# SPDX-License-Identifier: AGPL-3.0-or-later
"""Options that nobody would hear: a unit file with one must not look as if it worked."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from vision_line.cli.main import cli
from vision_line.errors import ExitCode


def refused(*arguments: str) -> str:
    """Return what is said of arguments that are refused, without the frame around it."""
    done = CliRunner().invoke(cli, arguments, prog_name="vision-line", env={"COLUMNS": "200"})
    assert done.exit_code == ExitCode.CONFIG
    return " ".join(done.output.replace("│", "").split())


@pytest.mark.parametrize(
    ("arguments", "option", "command"),
    [
        (("--record", "/data", "prune", "--keep-days", "30"), "--record", "vision-line prune"),
        (("--headless", "--record", "/data", "verify"), "--headless", "vision-line verify"),
        (("--streams", "line.toml", "recipes", "list"), "--streams", "vision-line recipes"),
        (("outputs", "--record", "/data", "status"), "--record", "vision-line outputs status"),
        (("lanes", "--record", "/data", "status"), "--record", "vision-line lanes status"),
        (("ship", "--streams", "line.toml", "compare"), "--streams", "vision-line ship compare"),
        (("desk", "--record", "/data", "user", "list"), "--record", "vision-line desk user"),
    ],
)
def test_options_before_a_command_are_refused(arguments: tuple[str, ...], option: str, command: str) -> None:
    """The command would take its default: the records of another directory would be pruned."""
    said = refused(*arguments)

    assert f"'{option}': is not heard before a command, expected the options of {command} behind it" in said


@pytest.mark.parametrize("options", [("--headless", "--outputs", "--record", "/data"), ("--desk",), ("--cameras", "3")])
def test_options_of_a_run_without_cameras_are_refused(options: tuple[str, ...]) -> None:
    """A service that prints the help and ends well inspects nothing."""
    assert "--streams: expected with the options of a run, found none" in refused(*options)


def test_an_address_of_no_desk_is_refused() -> None:
    """Who gave it waits for a page."""
    said = refused("--streams", "line.toml", "--desk-listen", "127.0.0.1:8090")

    assert "--desk-listen: expected together with --desk" in said


@pytest.mark.parametrize(
    ("arguments", "option", "why"),
    [
        (("outputs", "--streams", "a.toml", "--camera", "cam1"), "--camera", "without --events"),
        (("outputs", "--streams", "a.toml", "--kind", "event"), "--kind", "without --events"),
        (("outputs", "--streams", "a.toml", "--class", "open"), "--class", "without --events"),
        (("outputs", "--streams", "a.toml", "--verdict", "reject"), "--verdict", "without --events"),
        (("outputs", "--streams", "a.toml", "--lane", "lane1"), "--lane", "without --events"),
        (("outputs", "--streams", "a.toml", "--since", "now"), "--since", "without --events"),
        (("outputs", "--streams", "a.toml", "--once"), "--once", "without --events"),
        (("outputs", "--streams", "a.toml", "--events", "-"), "--streams", "with --events"),
        (("simulate", "--images", "2000"), "--images", "without --dataset"),
        (("simulate", "--dataset", "x", "--cameras", "4"), "--cameras", "with --dataset"),
        (("simulate", "--dataset", "x", "--port", "8554"), "--port", "with --dataset"),
        (("simulate", "--dataset", "x", "--listen", "127.0.0.1"), "--listen", "with --dataset"),
        (("simulate", "--dataset", "x", "--sent-log", "y"), "--sent-log", "with --dataset"),
        (("simulate", "--dataset", "x", "--duration", "3"), "--duration", "with --dataset"),
        (("init", "rtsp://127.0.0.1/1", "--no-probe", "--snapshots", "x"), "--snapshots", "with --no-probe"),
        (("desk", "--database", "-", "--fleet-token", "x"), "--fleet-token", "without --boxes"),
    ],
)
def test_options_that_do_nothing_beside_the_others_are_refused(
    arguments: tuple[str, ...], option: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with the value that they have by default: who writes one expects something of it. Nothing is begun."""
    monkeypatch.chdir(tmp_path)
    said = refused(*arguments)

    assert option in said
    assert f"is not heard {why}" in said
    assert not any(tmp_path.iterdir())


def test_what_is_no_command_is_said_first() -> None:
    """Behind a name that does not exist no option would be heard either."""
    assert "No such command 'verfy'" in refused("--record", "/data", "verfy")


@pytest.mark.parametrize("arguments", [(), ("--help",), ("--version",), ("--version", "verify"), ("verify", "--help")])
def test_help_and_version_come_as_before(arguments: tuple[str, ...]) -> None:
    """Without an option there is nothing to misunderstand."""
    assert CliRunner().invoke(cli, arguments).exit_code == ExitCode.DONE
