# SPDX-License-Identifier: AGPL-3.0-or-later
"""The `vision-line-compress` command where its extra is not installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from vision_line.errors import ExitCode
from vision_line_compression.cli import cli, reported_errors
from vision_line_compression.files import write_whole

# An import hook of a fresh interpreter: what it hides is as absent as in the runtime core alone.
WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in ({hidden!r},):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
from vision_line_compression.cli import main
main()
"""


@pytest.mark.parametrize(
    ("hidden", "arguments"),
    [
        ("torch", ["run", "recipe.toml"]),
        ("yaml", ["eval", "model.onnx", "--data", "data.yaml"]),
    ],
)
def test_a_missing_extra_is_named_and_exits_3(tmp_path: Path, hidden: str, arguments: list[str]) -> None:
    """One sentence with the command that installs it, no traceback."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(hidden=hidden), *arguments],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        check=False,
    )

    assert done.returncode == 3, done.stderr
    assert f"'{hidden}' is missing" in done.stderr
    assert "pip install '.[compress]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_pattern_that_is_none_is_refused_before_anything_is_opened() -> None:
    """As an option, like all wrong options."""
    done = CliRunner().invoke(cli, ["eval", "model.onnx", "--data", "data.yaml", "--group", "("])

    assert done.exit_code == 2
    assert "--group: expected folder or a regular expression, found '('" in done.output


def no_folder(folder: Path) -> None:
    """Write where a file is in the way: refused to whoever runs the tests."""
    (folder / "file").write_text("")
    (folder / "file" / "more").mkdir()


def full_disk(folder: Path) -> None:
    """Write to a device without room."""
    (folder / "report.json.partial").symlink_to("/dev/full")
    write_whole(folder / "report.json", b"{}" * 10_000)


@pytest.mark.parametrize(
    ("work", "said"),
    [(no_folder, "file/more: Not a directory"), (full_disk, "report.json: cannot be written: No space")],
)
def test_what_the_system_refuses_is_no_failed_gate(
    work: Callable[[Path], None], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line with the file, and the exit code of a run that failed: 1 would say that the model was judged."""
    with pytest.raises(typer.Exit) as caught, reported_errors():
        work(tmp_path)

    assert caught.value.exit_code == ExitCode.FAILED
    assert capsys.readouterr().err.startswith(f"vision-line-compress: {tmp_path}/{said}")
