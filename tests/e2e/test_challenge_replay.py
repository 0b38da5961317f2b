# SPDX-License-Identifier: AGPL-3.0-or-later
"""Recorded clips through the command: the simulator's boards, one with a known defect and one good."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.e2e.conftest import COMMAND
from tests.fakes.renamed_bundle import write_renamed_bundle

from vision_line.challenges.clip_results import recent_replays
from vision_line.challenges.entry_bodies import PassOutcome
from vision_line.config.load import load_config
from vision_line.devices.model.model import open_model
from vision_line.simulator.codec import encode, open_encoder
from vision_line.simulator.scene import FPS, SIZE_WH, ScenePlan, draw_scene

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

FRAMES = 30
STREAMS = """config_version = 1
[defaults]
dwell_s = 4.0
roi = [[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]]
thresholds = { "spur" = 0.3 }
[[stream]]
name = "cam01"
station = "line 1"
url = "rtsp://user:secret@127.0.0.1:9/never-opened"
[recipe.caps]
model = "caps"
thresholds = { "thorn" = 0.3 }
"""
PLAN = """every = "8h"
[[part]]
id = "board"
expects = ["spur"]
[[challenge]]
camera = "cam01"
[[clip]]
file = "a spur.h264"
camera = "cam01"
expects = ["spur"]
[[clip]]
file = "good.h264"
camera = "cam01"
expects = "good"
[[clip]]
file = "a thorn.h264"
camera = "cam01"
expects = ["thorn"]
recipe = "caps"
"""


def record_board(path: Path, defective_share: float) -> None:
    """Record a board in the middle of the frame, with a spur or without."""
    plan = ScenePlan(3, 200, 1, 130.0, defective_share, 1)
    scene = draw_scene(plan)
    with_spur = draw_scene(ScenePlan(3, 200, 1, 130.0, 1.0, 1))
    assert [defect.kind for defect in with_spur.defects] == ["spur"]
    seen = [index for index in range(plan.frames) if with_spur.boxes(index)]
    first = seen[len(seen) // 2] - FRAMES // 2
    frames = (scene.render(index) for index in range(first, first + FRAMES))
    path.write_bytes(b"".join(encode(open_encoder(SIZE_WH, FPS), frames)))


def replay(folder: Path) -> subprocess.CompletedProcess[str]:
    call = [str(COMMAND), "challenge", "replay"]
    return subprocess.run(call, cwd=folder, text=True, capture_output=True, check=False, timeout=100)


def test_clips_are_inspected_as_the_line_does_and_kept_apart(tmp_path: Path) -> None:
    """Both as expected: passed; and of the records only the journal of what people decide is touched."""
    (tmp_path / "streams.toml").write_text(STREAMS, encoding="utf-8")
    (tmp_path / "challenge.toml").write_text(PLAN, encoding="utf-8")
    (tmp_path / "records").mkdir()
    record_board(tmp_path / "a spur.h264", 1.0)
    record_board(tmp_path / "good.h264", 0.0)
    shutil.copy(tmp_path / "a spur.h264", tmp_path / "a thorn.h264")
    write_renamed_bundle(tmp_path / "caps", {"spur": "thorn"})

    passed = replay(tmp_path)
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert "0 of 2 defective passes missed: the miss rate is below 77.6 % (95 %, one-sided)" in passed.stdout
    assert "a thorn.h264 as cam01 under recipe caps by caps: found" in passed.stdout
    (body,) = recent_replays(tmp_path / "records", 1.0)
    # What else the model finds on the board depends on the processor: INT8 rounds differently with and without VNNI.
    assert [(clip.outcome, clip.found & {"spur", "thorn"}, clip.frames) for clip in body.clips] == [
        (PassOutcome.FOUND, {"spur"}, FRAMES),
        (PassOutcome.ACCEPTED, frozenset(), FRAMES),
        (PassOutcome.FOUND, {"thorn"}, FRAMES),
    ]
    models = [(clip.recipe, clip.model_name, clip.model_sha256) for clip in body.clips]
    assert models == [("", "pcb-demo", body.model_sha256)] * 2 + [
        ("caps", "caps", open_model(tmp_path / "caps").sha256)
    ]
    stream = load_config(tmp_path / "streams.toml").config.stream[0]
    assert body.clips[0].sha256 == hashlib.sha256((tmp_path / "a spur.h264").read_bytes()).hexdigest()
    assert body.clips[0].settings_sha256 == hashlib.sha256(stream.settings_json.encode()).hexdigest()
    assert {path.name for path in (tmp_path / "records").iterdir()} == {"reviews.sqlite"}
