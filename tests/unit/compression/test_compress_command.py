# SPDX-License-Identifier: AGPL-3.0-or-later
"""The `vision-line-compress` command where its extra is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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
