# SPDX-License-Identifier: AGPL-3.0-or-later
"""The warning band lies below the reject threshold, and a contradiction is named where it was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from vision_line.config.load import load_config
from vision_line.errors import ConfigError

CAMERAS = '[[stream]]\nname = "a"\nurl = "rtsp://host/a"\n[[stream]]\nname = "b"\nurl = "rtsp://host/b"\n'


def _load(folder: Path, defaults: str) -> None:
    path = folder / "streams.toml"
    path.write_text(f"config_version = 1\n[defaults]\n{defaults}\n{CAMERAS}", encoding="utf-8")
    load_config(path, environment={})


def test_a_band_below_the_reject_threshold_is_taken(tmp_path: Path) -> None:
    """A band may be empty, and a class may have its own."""
    _load(tmp_path, "warn_threshold = 0.5")
    _load(tmp_path, "reject_thresholds = { open = 0.8 }\nwarn_threshold = 0.3\nwarn_thresholds = { open = 0.7 }")


@pytest.mark.parametrize(
    ("defaults", "problem"),
    [
        ("warn_threshold = 0.6", "defaults.warn_threshold: expected at most reject_threshold (0.5), found 0.6"),
        (
            "warn_thresholds = { open = 0.6, short = 0.4 }",
            "defaults.warn_thresholds: expected at most the reject threshold of the class, found more for open",
        ),
    ],
)
def test_a_band_above_it_is_refused_once(tmp_path: Path, defaults: str, problem: str) -> None:
    """What would warn only where it is rejected is a typing error; the cameras that inherit it do not repeat it."""
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, defaults)

    (found,) = caught.value.problems
    assert found.endswith(problem)
