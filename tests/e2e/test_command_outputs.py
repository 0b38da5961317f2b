# SPDX-License-Identifier: AGPL-3.0-or-later
"""Outputs that cannot be written, and readers that go away: a clear sentence and a documented exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

COMMAND = Path(sys.executable).parent / "vision-line"
STREAMS = 'config_version = 1\n[[stream]]\nname = "a"\nurl = "rtsp://127.0.0.1:1/x"\n'


def command(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *arguments], cwd=cwd, text=True, capture_output=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("extra", "arguments", "said"),
    [
        ("", ("--summary", "nowhere/run.json"), "--summary nowhere/run.json: cannot be written: No such file"),
        ("", ("--summary", "."), "--summary .: is a folder"),
        ("", ("--overlay", "/dev/null/x"), "--overlay /dev/null/x: cannot be written: Not a directory"),
        ('[dashboard]\nsvg = "/dev/null/x.svg"\n', (), "dashboard.svg: /dev/null/x.svg: cannot be written: Not a dir"),
    ],
)
def test_outputs_of_a_run_are_looked_at_before_it(
    tmp_path: Path, extra: str, arguments: tuple[str, ...], said: str
) -> None:
    """Nothing is inspected for hours whose totals cannot be written: exit code 2 at once."""
    (tmp_path / "one.toml").write_text(STREAMS + extra)
    done = command("--streams", "one.toml", "--duration", "1", *arguments, cwd=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "records").exists()


@pytest.mark.parametrize("option", ["--dataset", "--sent-log"])
def test_outputs_of_the_simulator_are_looked_at_before_it(tmp_path: Path, option: str) -> None:
    """The same for its training set and its log."""
    done = command("simulate", option, "/dev/null/x", "--images", "10", cwd=tmp_path)

    assert done.returncode == 2
    assert f"{option} /dev/null/x: cannot be written: Not a directory" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [("schema",), ("doctor",), ("check", "one.toml"), ("--help",)])
def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """As of a program that SIGPIPE ended: 141, and not a word."""
    (tmp_path / "one.toml").write_text(STREAMS)
    done = closed_output(*arguments, cwd=tmp_path)

    assert done.returncode == 141, done.stderr
    assert done.stderr == ""


def test_a_run_goes_on_when_its_reader_goes_away(make_run: Callable[[int], Any]) -> None:
    """Status lines that nobody reads end no inspection: the exit code and the summary are those of the run."""
    run = make_run(1)
    done = closed_output(
        *("--streams", run.streams, "--summary", run.summary_path, "--headless", "--duration", "3"), cwd=run.folder
    )

    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert run.summary()["cameras"][0]["frames_arrived"] > 0


def closed_output(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command with a standard output that is closed at the other end."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return subprocess.run(
            [COMMAND, *arguments], cwd=cwd, stdout=writer, stderr=subprocess.PIPE, text=True, check=False, timeout=120
        )
    finally:
        os.close(writer)


def test_an_export_without_records_is_a_wrong_option(tmp_path: Path) -> None:
    """The default folder that is not there, too."""
    done = command("export", cwd=tmp_path)

    assert done.returncode == 2
    assert "--record records: expected a record directory" in done.stderr
