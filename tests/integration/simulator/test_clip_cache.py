# SPDX-License-Identifier: AGPL-3.0-or-later
"""Clips are rendered once, appear whole, and carry their frame numbers through the encoder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from benchmarks.scoring import load_truth
from tests.fakes.waiting import wait_for

from vision_line.errors import ConfigError
from vision_line.simulator.barcode import read_barcode
from vision_line.simulator.clips import Clip, ensure_clips, plan_clip
from vision_line.simulator.rtp_stream import read_stream

FRAMES = 225


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a cache folder of this file."""
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def reports() -> list[tuple[int, int]]:
    """Give the list that the first rendering's progress goes to."""
    return []


@pytest.fixture(scope="module")
def clips(folder: Path, reports: list[tuple[int, int]]) -> list[Clip]:
    """Render two short clips."""
    return ensure_clips(2, 5, folder, lambda done, total: reports.append((done, total)), frames=FRAMES)


def test_progress_ends_at_the_total(clips: list[Clip], reports: list[tuple[int, int]]) -> None:
    """A bar that shows it never goes back and ends full."""
    assert len(clips) == 2
    assert reports == sorted(reports)
    assert reports[-1] == (2 * FRAMES, 2 * FRAMES)


def test_what_is_there_is_not_rendered_again(clips: list[Clip], folder: Path) -> None:
    """The second call gives the same files, untouched; nothing unfinished lies about."""
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}

    again = ensure_clips(2, 5, folder, lambda done, total: pytest.fail(f"rendered {done}/{total}"), frames=FRAMES)

    assert again == clips
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert set(before) == {path for clip in clips for path in (clip.video, clip.truth)}


def test_each_frame_shows_its_clip_and_number(clips: list[Clip]) -> None:
    """Through the real encoder and decoder, for every frame."""
    for clip in clips:
        with av.open(str(clip.video), format="h264") as container:
            seen = [read_barcode(np.asarray(f.to_ndarray(format="gray"), np.uint8)) for f in container.decode(video=0)]
        assert seen == [(clip.clip_id, index) for index in range(FRAMES)]


def test_a_frame_is_one_access_unit_and_each_second_begins_with_an_idr(clips: list[Clip]) -> None:
    """So a client waits at most a second, and the loop closes without re-encoding."""
    units = read_stream(clips[0].video.read_bytes()).units

    assert len(units) == FRAMES
    assert [index for index, unit in enumerate(units) if unit.idr] == list(range(0, FRAMES, 25))


def test_the_bit_rate_is_a_camera_s(clips: list[Clip]) -> None:
    """About 1.5 Mb/s."""
    for clip in clips:
        assert 0.5e6 < clip.video.stat().st_size * 8 / FRAMES * clip.fps < 2.0e6


def test_the_truth_belongs_to_the_clip(clips: list[Clip]) -> None:
    """Clip, seed and frame count agree with the plan."""
    for clip in clips:
        truth = load_truth(clip.truth)
        assert truth.clip_id == clip.clip_id
        assert truth.seed == plan_clip(clip.clip_id, 5, FRAMES).seed
        assert len(truth.frames) == FRAMES
        seen = {box.defect_id for frame in truth.frames for box in frame}
        assert seen == {defect.defect_id for defect in truth.defects}


def test_a_number_of_cameras_out_of_range_is_refused(folder: Path) -> None:
    """The barcode has eight bits for the clip."""
    with pytest.raises(ConfigError, match="1 to 255"):
        ensure_clips(256, 0, folder)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """The error names it."""
    file = tmp_path / "file"
    file.touch()

    with pytest.raises(ConfigError, match="file/clips"):
        ensure_clips(1, 0, file / "clips")


def test_a_killed_rendering_leaves_no_process_and_no_half_clip(tmp_path: Path) -> None:
    """The workers go with their parent; what they had begun is not taken for a clip."""
    code = (
        "from pathlib import Path\nfrom vision_line.simulator.clips import ensure_clips\n"
        f"ensure_clips(4, 1, Path({str(tmp_path)!r}))"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as parent:
        wait_for(lambda: any(tmp_path.glob("*.jsonl")))
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        os.kill(parent.pid, signal.SIGKILL)

    assert len(children) >= 2
    wait_for(lambda: not any(Path(f"/proc/{child}/exe").exists() for child in children))
    for video in tmp_path.glob("*.h264"):  # one may just have been finished
        with av.open(str(video)) as container:
            frames = sum(packet.size > 0 for packet in container.demux(video=0))
        assert frames == len(load_truth(video.with_suffix(".jsonl")).frames)
