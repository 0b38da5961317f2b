# SPDX-License-Identifier: AGPL-3.0-or-later
"""What `--help` of every command of both programs says: whole sentences in the words of the field."""

from __future__ import annotations

import re
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from vision_line.cli.main import cli as inspecting
from vision_line.commands import CarefulTyper
from vision_line_compression.cli import cli as compressing

PROGRAMS = {"vision-line": inspecting, "vision-line-compress": compressing}
GROUPS: dict[str, Any] = {program: typer.main.get_command(cli) for program, cli in PROGRAMS.items()}
COMMANDS = [(program, name) for program, group in GROUPS.items() for name in ("", *group.commands)]
#: Words of ours that a vision engineer would not use, and words for users that should be the field's.
ODD = re.compile(r"\b(so (long|many|much)|to us|for programs|by itself, so|pictures?|a second)\b", re.IGNORECASE)


def command_of(program: str, name: str) -> Any:
    """Return a command, or the program itself for ""."""
    return GROUPS[program].commands[name] if name else GROUPS[program]


@pytest.mark.parametrize(("program", "name"), COMMANDS)
def test_help_is_plain_english(program: str, name: str) -> None:
    """Each text begins with a capital letter or the name of a value, ends with a full stop, and is short."""
    command = command_of(program, name)
    texts = {parameter.name: getattr(parameter, "help", None) for parameter in command.params} | {"": command.help}
    for said in texts.values():
        assert said, texts
        assert re.match(r"[A-Z]|rtx|tensorrt", said), said
        assert said.endswith("."), said
        assert len(said) <= 120 or "Exit codes" in said, said
        assert not ODD.search(said), said


@pytest.mark.parametrize(("program", "name"), COMMANDS)
def test_a_flag_has_no_value(program: str, name: str) -> None:
    """Typer would print its type, `<bool>`, as if one could be given."""
    shown = CliRunner().invoke(PROGRAMS[program], [*([name] if name else []), "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert "--help" in shown.output
    assert "bool" not in shown.output.lower()


def test_a_program_that_is_neither_shows_bare_flags_too() -> None:
    """The rule is the commands' own, whatever they are."""
    cli = CarefulTyper()

    @cli.command()
    def run(fast: bool = typer.Option(default=False, help="Hurry.")) -> None:
        """Run."""

    assert "bool" not in CliRunner().invoke(cli, ["--help"]).output.lower()
