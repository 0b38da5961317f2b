# SPDX-License-Identifier: AGPL-3.0-or-later
"""A lane that sees its parts itself: what can never work is refused with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from vision_line.config.lane_load import LoadedLanes, load_lanes
from vision_line.config.optical_problems import optical_warnings
from vision_line.errors import ConfigError

CAMERA = '[[stream]]\nname = "a"\nurl = "rtsp://10.0.0.1/"\naccept_classes = ["bottle"]\n'
LANE = """[[lane]]
name = "l1"
cameras = ["a"]
parts = "optical"
window_ms = [-800, 0]
ejector_ms = 900
"""
OPTICAL = """[lane.optical]
camera = "a"
classes = ["bottle"]
line = [[0.7, 0.0], [0.7, 1.0]]
direction = "right"
"""
ROI = "roi = [[[0.2, 0.1], [0.8, 0.1], [0.8, 0.9], [0.2, 0.9]]]\n"


def load(tmp_path: Path, text: str) -> LoadedLanes:
    path = tmp_path / "streams.toml"
    path.write_text(f"config_version = 1\n{text}", encoding="utf-8")
    return load_lanes(path)


def test_a_lane_names_camera_class_line_and_direction(tmp_path: Path) -> None:
    loaded = load(tmp_path, CAMERA + ROI + LANE + OPTICAL)
    (lane,) = loaded.lanes
    assert lane.optical is not None
    assert (lane.optical.camera, lane.optical.classes, lane.optical.direction) == ("a", ["bottle"], "right")
    assert list(optical_warnings(lane, loaded.cameras)) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (CAMERA + LANE, r"expected \[lane.optical\] with parts"),
        (CAMERA + LANE.replace('"optical"', '"trigger"') + OPTICAL, r"expected \[lane.optical\] with parts"),
        (CAMERA + LANE + OPTICAL.replace('"right"', '"down"'), "on their way down, found one along it"),
        (CAMERA + LANE + OPTICAL.replace("[0.7, 1.0]", "[0.7, 0.0]"), r"optical.line: expected two ends"),
        (CAMERA + LANE + OPTICAL.replace("0.7, 1.0", "0.7, 1.1"), r"lane\[l1\].optical.line"),
        (CAMERA + LANE + OPTICAL.replace('"a"', '"b"'), r"optical.camera: expected one of the lane's cameras \(a\)"),
        (CAMERA + 'classes = ["cap"]\n' + LANE + OPTICAL, "optical.classes: camera a does not use bottle: add it"),
        (
            CAMERA + LANE + OPTICAL + '[recipe.7]\nclasses = ["cap"]\n',
            "optical.classes: camera a does not use bottle under recipe 7",
        ),
        (
            CAMERA + ROI.replace("0.8", "0.5") + LANE + OPTICAL,
            "optical.line: expected a line through the roi of camera a",
        ),
        # Nothing is found behind it: on the edge itself no part would ever have crossed.
        (CAMERA + ROI.replace("0.8", "0.7") + LANE + OPTICAL, "found one outside of it"),
        (
            CAMERA + LANE + OPTICAL + "[recipe.7]\nroi = [[[0.0, 0.0], [0.5, 0.0], [0.5, 1.0]]]\n",
            "through the roi of camera a under recipe 7",
        ),
    ],
)
def test_what_can_never_work_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load(tmp_path, text)


def test_what_nobody_will_want_is_said(tmp_path: Path) -> None:
    short = OPTICAL.replace("[0.7, 1.0]", "[0.7, 0.5]")
    loaded = load(tmp_path, CAMERA.replace("bottle", "cap") + LANE + short)
    defect, beside = optical_warnings(loaded.lanes[0], loaded.cameras)
    assert "bottle counts as a defect of the part itself" in defect
    assert "what passes beside its ends is no part" in beside
