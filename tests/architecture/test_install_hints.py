# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a message or document says to install can be installed: no package index has vision-line, its clone has."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from vision_line.packages import install_extra

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def texts(*patterns: str) -> dict[str, str]:
    """Return the files of the repository that match, by their path."""
    found = (path for pattern in patterns for path in ROOT.glob(pattern))
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in found}


def test_nothing_is_to_be_installed_from_an_index() -> None:
    """Neither a message nor a document says `pip install vision-line`, with or without an extra."""
    said = texts("app/**/*.py", "compression/**/*.py", "tests/**/*.py", "docs/**/*.md", "*.md")
    assert {name for name, text in said.items() if re.search(r"pip install \S*['\"]?vision-line\b", text)} == {
        str(Path(__file__).relative_to(ROOT))
    }


def test_every_extra_that_is_named_exists() -> None:
    """Messages name extras of pyproject.toml."""
    named = {
        extra
        for text in texts("app/**/*.py", "compression/**/*.py").values()
        for extra in re.findall(r"install_extra\([\"']([^\"']*)[\"']\)", text)
    }
    assert named == {
        "cuda",
        "cuda12",
        "parquet",
        "nncf",
        "compress",
        "qat",
        "signing",
        "desk",
        "outputs",
        "central",
        "fleet",
        "cluster",
    }
    assert named <= PROJECT["optional-dependencies"].keys()
    assert install_extra("cuda") == "run pip install '.[cuda]' in the clone of vision-line"
