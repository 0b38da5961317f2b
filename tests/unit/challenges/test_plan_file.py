# SPDX-License-Identifier: AGPL-3.0-or-later
"""`challenge.toml`: strict, each problem with its line, and what targets it makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from vision_line.challenges.plan_file import ChallengePlan, load_plan, unknown_part_classes
from vision_line.config.load import load_config
from vision_line.errors import ConfigError

STREAMS = """config_version = 1
[[stream]]
name = "cam01"
url = "rtsp://10.0.0.1/1"
station = "line 1"
[[stream]]
name = "cam02"
url = "rtsp://10.0.0.1/2"
station = "line 1"
[[stream]]
name = "cam03"
url = "rtsp://10.0.0.1/3"
enabled = false
"""
PLAN = """every = "8h"
positions = ["left", "right"]
[[part]]
id = "A17"
expects = ["open", "short"]
repeats = 3
made = 2026-01-31
max_age_days = 365
[[part]]
id = "G1"
expects = "good"
[[challenge]]
station = "line 1"
on_fail = "stop"
travel_s = 4.0
[[challenge]]
camera = "cam03"
[[clip]]
file = "clips/a.mp4"
camera = "cam03"
expects = ["short"]
[[clip]]
file = "clips/b.mp4"
camera = "cam02"
expects = "good"
"""


def plan(tmp_path: Path, text: str = PLAN, streams: str = STREAMS, name: str = "challenge.toml") -> ChallengePlan:
    (tmp_path / "streams.toml").write_text(streams, encoding="utf-8")
    (tmp_path / name).write_text(text, encoding="utf-8")
    found = load_plan(load_config(tmp_path / "streams.toml", {}))
    assert found is not None
    return found


def test_a_station_is_all_its_enabled_cameras(tmp_path: Path) -> None:
    (target,) = plan(tmp_path).targets
    assert (target.name, target.cameras, target.on_fail) == ("line 1", ("cam01", "cam02"), "stop")
    assert (target.every_s, target.travel_s, target.miss, target.false_reject) == (28_800.0, 4.0, 0.02, 0.05)
    assert [(part.id, sorted(part.expects)) for part in target.parts] == [("A17", ["open", "short"]), ("G1", [])]


def test_a_line_without_the_file_has_no_plan(tmp_path: Path) -> None:
    (tmp_path / "streams.toml").write_text(STREAMS, encoding="utf-8")
    assert load_plan(load_config(tmp_path / "streams.toml", {})) is None


def test_streams_toml_may_name_another_file(tmp_path: Path) -> None:
    named = STREAMS + '[challenge]\nfile = "parts.toml"\n'
    assert plan(tmp_path, streams=named, name="parts.toml").path.name == "parts.toml"
    (tmp_path / "parts.toml").unlink()
    with pytest.raises(ConfigError, match=r"parts\.toml: cannot be read"):
        load_plan(load_config(tmp_path / "streams.toml", {}))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('every = "8h"', 'every = "8"', r"1: every: found '8', expected a time such as 30m, 8h or 1d"),
        ('every = "8h"', 'every = "400d"', r"found '400d'"),
        ('every = "8h"', 'evry = "8h"', r"1: evry: unknown key"),
        ('id = "G1"', 'id = "A17"', r"10: part\[2\]\.id: 'A17' is already the id of part 1"),
        ('expects = ["open", "short"]', "expects = []", r"5: part\[1\]\.expects.*: found no class"),
        ('expects = "good"', 'expects = "bad"', r"11: part\[2\]\.expects"),
        ("repeats = 3", "repeats = 0", r"6: part\[1\]\.repeats: found 0"),
        ("made = 2026-01-31\n", "", r"max_age_days: found without made"),
        ('station = "line 1"\n', "", r"12: challenge\[1\]: found neither, expected camera or station"),
        ('station = "line 1"', 'station = "line 2"', r"challenge\[1\]\.station: found 'line 2', which streams\.toml"),
        ('camera = "cam03"', 'camera = "cam04"', r"challenge\[2\]\.camera: found 'cam04'"),
        ('camera = "cam03"', 'camera = "cam03"\nparts = ["A18"]', r"parts: found 'A18', expected ids of \[\[part\]\]"),
        ('camera = "cam03"', 'camera = "cam03"\nparts = ["G1"]', r"found good parts alone"),
        ('camera = "cam03"', 'station = "line 1"', r"'line 1' is challenged already"),
        ('on_fail = "stop"', 'on_fail = "divert"', r"on_fail: found 'divert'"),
        ('camera = "cam02"', 'camera = "cam05"', r"clip\[2\]\.camera: found 'cam05', which streams\.toml"),
        (
            'expects = ["short"]',
            'expects = ["short"]\nrecipe = "caps"',
            r"clip\[1\]\.recipe: found 'caps', which streams",
        ),
        ("clips/b.mp4", "clips/a.mp4", r"clip\[2\]\.file: 'clips/a\.mp4' is already the file of clip 1"),
        ('expects = ["short"]', "expects = []", r"clip\[1\]\.expects.*: found no class"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(ConfigError, match=rf"challenge\.toml:.*{words}"):
        plan(tmp_path, PLAN.replace(old, new, 1))


def test_a_class_that_the_model_does_not_have_is_named(tmp_path: Path) -> None:
    found = plan(tmp_path)
    assert unknown_part_classes(found, ("open", "short"), lambda _: ("open", "short")) == []
    of_clip, of_part = unknown_part_classes(found, ("open",), lambda _: ("open",))
    assert "clip clips/a.mp4 expects 'short', no class of the model, expected one of open" in of_clip
    assert "part A17 expects 'short', no class of the model, expected one of open" in of_part


def test_clips_lie_beside_the_plan(tmp_path: Path) -> None:
    """Also one of a camera that is not enabled."""
    clips = [(clip.path, clip.camera, {*clip.expects}) for clip in plan(tmp_path).clips]
    assert clips == [(tmp_path / "clips/a.mp4", "cam03", {"short"}), (tmp_path / "clips/b.mp4", "cam02", set())]
