# SPDX-License-Identifier: AGPL-3.0-or-later
"""The Tab key, as the shells ask for it, and the version."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vision_line import __version__

BIN = Path(sys.executable).parent


def completed(program: str, words: str) -> list[str]:
    """Return what bash is offered behind `words`."""
    variable = f"_{program.upper().replace('-', '_')}_COMPLETE"
    asked = {variable: "complete_bash", "COMP_WORDS": f"{program} {words}", "COMP_CWORD": str(len(words.split(" ")))}
    done = subprocess.run([BIN / program], env=os.environ | asked, text=True, capture_output=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("program", "words", "offered"),
    [
        ("vision-line", "i", ["init"]),
        ("vision-line", "export --tab", ["--table"]),
        ("vision-line", "export --format par", ["parquet"]),
        ("vision-line-compress", "ev", ["eval"]),
    ],
)
def test_commands_options_and_choices_are_completed(program: str, words: str, offered: list[str]) -> None:
    """Of both programs."""
    assert completed(program, words) == offered


def test_completion_installs_itself(tmp_path: Path) -> None:
    """Into the start-up file of the shell that asks."""
    line = f"{BIN / 'vision-line'} --install-completion; true"
    environment = os.environ | {"HOME": str(tmp_path)}
    subprocess.run(["bash", "-c", line], env=environment, check=True, capture_output=True)

    assert "vision-line" in (tmp_path / ".bashrc").read_text(encoding="utf-8")


def test_the_version_is_the_packages() -> None:
    """As other programs say it."""
    done = subprocess.run([BIN / "vision-line", "--version"], text=True, capture_output=True, check=True)

    assert done.stdout == f"vision-line {__version__}\n"
