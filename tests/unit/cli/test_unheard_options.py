# SPDX-License-Identifier: AGPL-3.0-or-later
"""Options that nobody would hear: a unit file with one must not look as if it worked."""

from __future__ import annotations

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


def test_what_is_no_command_is_said_first() -> None:
    """Behind a name that does not exist no option would be heard either."""
    assert "No such command 'verfy'" in refused("--record", "/data", "verfy")


@pytest.mark.parametrize("arguments", [(), ("--help",), ("--version",), ("--version", "verify"), ("verify", "--help")])
def test_help_and_version_come_as_before(arguments: tuple[str, ...]) -> None:
    """Without an option there is nothing to misunderstand."""
    assert CliRunner().invoke(cli, arguments).exit_code == ExitCode.DONE
