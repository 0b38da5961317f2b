# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which images belong together: by folder, or by what a pattern finds in their names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vision_line.errors import ConfigError
from vision_line_compression.data.dataset import Dataset, LabelledImage
from vision_line_compression.data.grouping import FOLDER, group_images

NAMES = ("one/44000-1.jpg", "one/44000-2.jpg", "two/90100-1.jpg", "one/90100-2.jpg")


def dataset(*names: str) -> Dataset:
    """Return images of these names that nobody opens."""
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int32)
    images = tuple(LabelledImage(Path(name), (64, 64), *nothing) for name in names)
    return Dataset(Path("data.yaml"), "test", ("dent",), images)


@pytest.mark.parametrize(
    ("by", "numbers"),
    [
        (FOLDER, [0, 0, 1, 0]),
        (r"^(\d+)-", [0, 0, 1, 1]),
        (r"^\d+", [0, 0, 1, 1]),
        (r"-(\d)", [0, 1, 0, 1]),
    ],
)
def test_images_are_numbered_by_what_they_show(by: str, numbers: list[int]) -> None:
    """In the order in which groups come."""
    assert group_images(dataset(*NAMES), by).tolist() == numbers


@pytest.mark.parametrize("pattern", [r"^(\d{5})", r"^\d{5}|(never)", r"^(x?)"])
def test_a_name_without_a_group_is_refused(pattern: str) -> None:
    """It would be a group of its own with all others like it."""
    with pytest.raises(ConfigError, match=r"data\.group: .* finds nothing in \d of 5 file names; the first is"):
        group_images(dataset(*NAMES, "clean.jpg"), pattern)
    with pytest.raises(ConfigError, match=r": --group: .* finds nothing in"):
        group_images(dataset(*NAMES, "clean.jpg"), pattern, "--group")


def test_one_group_says_nothing_of_others(tmp_path: Path) -> None:
    """Drawn anew it is always the same, and every interval would be a point."""
    with pytest.raises(ConfigError, match="all 2 images into one group, expected at least two"):
        group_images(dataset(str(tmp_path / "a.jpg"), str(tmp_path / "b.jpg")), FOLDER)
