# SPDX-License-Identifier: AGPL-3.0-or-later
"""Lanes are read with what they need of their cameras, and without their passwords."""

from __future__ import annotations

from pathlib import Path

import pytest

from vision_line.config.lane_load import load_lanes
from vision_line.errors import ConfigError

HEAD = """config_version = 1
[defaults]
min_hits = 4
[[stream]]
name = "a"
url = "rtsp://{USER}:{PASSWORD}@10.0.0.1/"
dwell_s = 2.0
[[stream]]
name = "b"
url = "nonsense"
min_hits = 0
"""
LANE = '[[lane]]\nname = "l1"\ncameras = ["a"]\nwindow_ms = [0, 500]\nejector_ms = 900\n'
BELT = LANE.replace("window_ms", "window_mm") + "mm_per_count = 0.1\nbelt_mm_per_s = 400\n"


def loaded(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "streams.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_only_the_lanes_and_their_cameras_have_to_be_right(tmp_path: Path) -> None:
    found = load_lanes(loaded(tmp_path, HEAD + LANE + '[record]\ndirectory = "there"\nkeep_days = 30\n[simulator]\n'))
    assert [lane.name for lane in found.lanes] == ["l1"]
    assert (found.cameras["a"].min_hits, found.cameras["a"].dwell_s) == (4, 2.0)
    assert set(found.cameras) == {"a"}
    assert (found.record, found.keep_days, found.is_simulated) == (Path("there"), 30, True)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (LANE.replace('"a"', '"c"'), r":\d+: lane\[l1\].cameras: expected names of streams, found c"),
        (LANE.replace('"a"', '"b"'), r":\d+: stream\[b\].min_hits"),
        (LANE + LANE, "already the name of lane 1"),
        (LANE.replace("ejector_ms = 900", "ejector_mm = 5.0"), "expected either ejector_ms"),
        (BELT.replace("mm_per_count = 0.1\n", ""), "mm_per_count: expected with window_mm"),
        (BELT.replace("belt_mm_per_s = 400\n", ""), "belt_mm_per_s: expected with window_mm"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_lanes(loaded(tmp_path, HEAD + text))
