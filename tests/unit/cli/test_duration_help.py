# SPDX-License-Identifier: AGPL-3.0-or-later
"""What `--duration` counts is said where it is looked for."""

from __future__ import annotations

from pathlib import Path

from typer.main import get_command

from vision_line.cli.main import cli


def test_help_and_docs_say_from_when_a_duration_counts() -> None:
    """The start does not count: not the clips, not the cameras, not the compiling."""
    (option,) = (parameter for parameter in get_command(cli).params if parameter.name == "duration")
    page = Path(__file__).parents[3].joinpath("docs", "commands.md").read_text(encoding="utf-8")

    assert getattr(option, "help", "") == "Stop after S seconds of inspection."
    assert "`--duration S` counts from the moment the device is ready" in page
