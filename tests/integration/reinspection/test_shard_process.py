# SPDX-License-Identifier: AGPL-3.0-or-later
"""A shard in a process of its own, with a real model: what it finds, warns of, and fails by."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from tests.fakes.reviewed_records import drawn_image
from tests.fakes.tiny_model import build_tiny_model

from vision_line import __version__
from vision_line.devices.model.model import open_model
from vision_line.errors import RunError
from vision_line.reinspection.footage import FootageKind, Recording
from vision_line.reinspection.model_fingerprint import ModelFingerprint
from vision_line.reinspection.shard import Shard
from vision_line.reinspection.shard_process import in_process


@pytest.fixture
def shard(tmp_path: Path) -> Shard:
    """Two audited frames: a whole one, and one that is no image."""
    model = tmp_path / "tiny.onnx"
    model.write_bytes(build_tiny_model((64, 128)))
    contents = [drawn_image(1, (128, 64), [(32.0, 0.0, 64.0, 32.0)]), b"no image"]
    (tmp_path / "review").mkdir()
    footage = []
    for n, content in enumerate(contents):
        (tmp_path / f"review/{n}.jpg").write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        footage.append(
            Recording(
                kind=FootageKind.AUDIT,
                id=f"{n}",
                camera=f"cam{n}",
                at_utc=1e9,
                path=f"review/{n}.jpg",
                sha256=sha256,
                settings={},
            )
        )
    return Shard(
        directory=tmp_path,
        model=model,
        fingerprint=ModelFingerprint.of(open_model(model)),
        version=__version__,
        device="cpu",
        computation="",
        allow_failed_gates=False,
        footage=tuple(footage),
    )


def test_a_shard_hands_on_what_its_process_warns_of(shard: Shard, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where it ends well: a line that waits for a full disk says so while somebody can still mend it."""
    whole, damaged = in_process(shard).found
    assert whole.problem == ""
    assert damaged.problem
    assert "images-1" in capsys.readouterr().err


def test_a_shard_that_fails_says_why(shard: Shard, capsys: pytest.CaptureFixture[str]) -> None:
    other = shard.model_copy(update={"version": "0.0.1"})
    with pytest.raises(RunError, match=r"inspecting 2 recordings failed: expected vision-line 0\.0\.1"):
        in_process(other)
    assert "expected vision-line 0.0.1" in capsys.readouterr().err
