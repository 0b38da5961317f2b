# SPDX-License-Identifier: AGPL-3.0-or-later
"""The page that shows newcomers the way names files and functions that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = (ROOT / "app" / "vision_line", ROOT / "compression" / "vision_line_compression", ROOT)
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def place_of(name: str) -> Path | None:
    """Return the file or folder that the page means by `name`."""
    return next((package / name for package in PACKAGES if (package / name).exists()), None)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([\w/]+(?:\.py|/))`", PAGE))))
def test_files_and_folders_are_there(name: str) -> None:
    """Each by its path below a package."""
    assert place_of(name) is not None


@pytest.mark.parametrize(("name", "function"), re.findall(r"`([\w/]+\.py)` \(`(?:\w+\.)?(\w+)`\)", PAGE))
def test_functions_are_in_their_files(name: str, function: str) -> None:
    """As `file` (`function`)."""
    path = place_of(name)
    assert path is not None
    assert re.search(rf"def {function}\(", path.read_text(encoding="utf-8"))
