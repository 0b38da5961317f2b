# SPDX-License-Identifier: AGPL-3.0-or-later
"""By which model and settings a recorded clip is inspected: its recipe's, or of the one that is in force."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fakes.renamed_bundle import write_renamed_bundle

from vision_line.cli.challenge import ChallengedLine
from vision_line.cli.challenge_replay import ReplayOptions, replay_clips
from vision_line.cli.replayed_clip import ReplayedClip, recipes_in_force
from vision_line.errors import ConfigError
from vision_line.parts.orders import Asked, ask_recipe

STREAMS = """config_version = 1
[[stream]]
name = "cam01"
url = "rtsp://10.0.0.1/1"
[[stream]]
name = "cam02"
url = "rtsp://10.0.0.1/2"
[recipe.caps]
model = "caps"
cameras = ["cam01"]
min_hits = 5
[recipe.fine]
min_hits = 9
"""
PLAN = """every = "8h"
[[part]]
id = "board"
expects = ["spur"]
[[challenge]]
camera = "cam01"
"""
CLIP = """[[clip]]
file = "{}.mp4"
camera = "{}"
expects = "good"
{}
"""
ASKED = Asked("anna", "command")


@pytest.fixture
def line(tmp_path: Path) -> ChallengedLine:
    """Return a line whose clips name a recipe, none, or leave it open."""
    clips = [
        CLIP.format("open", "cam01", ""),
        CLIP.format("none", "cam01", 'recipe = ""'),
        CLIP.format("fine", "cam01", 'recipe = "fine"'),
        CLIP.format("other", "cam02", 'recipe = "caps"'),
    ]
    (tmp_path / "streams.toml").write_text(STREAMS, encoding="utf-8")
    (tmp_path / "challenge.toml").write_text(PLAN + "".join(clips), encoding="utf-8")
    (tmp_path / "records").mkdir()
    for name in ("open", "none", "fine", "other"):
        (tmp_path / f"{name}.mp4").write_bytes(b"")
    return ChallengedLine.read(tmp_path / "streams.toml", tmp_path / "records")


def chosen(line: ChallengedLine) -> list[tuple[str, str, str | None, int]]:
    """Return of each clip its recipe, its model, and what its settings ask for."""
    in_force = recipes_in_force(line.loaded, line.directory)
    clips = [ReplayedClip.of(number, clip, line.loaded, in_force) for number, clip in enumerate(line.plan.clips, 1)]
    return [
        (one.clip.path.stem, one.recipe, None if one.model is None else one.model.name, one.stream.min_hits)
        for one in clips
    ]


def test_a_clip_without_a_recipe_is_inspected_as_the_line_is_now(line: ChallengedLine) -> None:
    named = [("none", "", None, 3), ("fine", "fine", None, 9), ("other", "caps", None, 3)]
    assert chosen(line) == [("open", "", None, 3), *named]
    ask_recipe(line.directory, "caps", ASKED)
    assert chosen(line) == [("open", "caps", "caps", 5), *named]
    ask_recipe(line.directory, "gone", ASKED)  # the line does not have it: what was in force stays
    assert chosen(line) == [("open", "caps", "caps", 5), *named]


def test_a_class_that_the_clips_model_lacks_is_refused_before_anything_is_inspected(
    line: ChallengedLine, tmp_path: Path
) -> None:
    write_renamed_bundle(tmp_path / "caps", {"spur": "thorn"})
    text = (tmp_path / "challenge.toml").read_text(encoding="utf-8").replace('"good"', '["spur"]', 1)
    (tmp_path / "challenge.toml").write_text(text, encoding="utf-8")
    ask_recipe(line.directory, "caps", ASKED)
    again = ChallengedLine.read(tmp_path / "streams.toml", line.directory)
    words = (
        r"clip open\.mp4 expects 'spur', no class of model caps, which inspects it under recipe caps, expected one of"
    )
    with pytest.raises(ConfigError, match=words):
        replay_clips(again, ReplayOptions((), None, "cpu", allow_failed_gates=False))
