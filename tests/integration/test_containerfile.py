# SPDX-License-Identifier: AGPL-3.0-or-later
"""The Containerfile: linted, and what an orchestrator relies on. Building it needs a registry of images."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Containerfile").read_text(encoding="utf-8")
#: Each stage with its instructions.
STAGES = dict(re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM |\Z)", TEXT, re.MULTILINE | re.DOTALL))


def lint(path: Path) -> subprocess.CompletedProcess[str]:
    hadolint = Path(sys.executable).parent / "hadolint"
    return subprocess.run([hadolint, path], text=True, capture_output=True, check=False)


def test_it_has_no_known_faults(tmp_path: Path) -> None:
    """By hadolint, which finds one that is put in."""
    faulty = tmp_path / "Containerfile"
    faulty.write_text(TEXT.replace("WORKDIR /src", "RUN cd /src"), encoding="utf-8")
    done = lint(ROOT / "Containerfile")

    assert (done.returncode, done.stdout) == (0, "")
    assert "DL3003" in lint(faulty).stdout


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_what_runs_is_not_root(target: str) -> None:
    """Both variants are made of the stage that says so last, by number, and take only the installed program."""
    assert f"FROM runtime AS {target}" in TEXT
    assert re.findall(r"^USER (\S+)", STAGES["runtime"], re.MULTILINE) == ["10001:10001"]
    assert "USER" not in STAGES[target]
    assert re.findall(r"^COPY (.*)", STAGES[target], re.MULTILINE) == [
        f"--from=build-{target} /opt/vision-line /opt/vision-line"
    ]


def test_what_is_copied_is_there() -> None:
    """The sources of the build stage, from the folder of the Containerfile."""
    (*_, app, compression) = sources = re.findall(r"^COPY (.*) \S+$", STAGES["source"], re.MULTILINE)

    assert (app, compression) == ("app", "compression")
    assert all((ROOT / name).exists() for line in sources for name in line.split())
