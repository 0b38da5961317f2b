# SPDX-License-Identifier: AGPL-3.0-or-later
"""Recordings play at their own pace, whatever `inspect_fps` takes of them and however their clocks jump."""

from __future__ import annotations

import asyncio
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from tests.integration.ingest.file_runs import FRAMES, Line, write_video

from vision_line.config.models import Stream
from vision_line.frames import CameraState, DropCause
from vision_line.ingest.camera_clock import Clocks
from vision_line.ingest.file_timeline import FileTimeline
from vision_line.ingest.files import Playback

LENGTH_S = FRAMES / 25


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("paced", [False, True])
async def test_a_cap_takes_every_nth_frame_and_counts_the_others(paced: bool, b_frames: int, tmp_path: Path) -> None:
    """By the recording's own time, so the same ones paced or not; a paced one takes as long as it was recorded."""
    video = write_video(tmp_path / "v.mp4", b_frames=b_frames)
    line = Line(f"file:{video}", paced=paced, inspect_fps=5)
    started_s = time.monotonic()
    await line.run()
    took_s = time.monotonic() - started_s

    assert [frame.sequence for frame in line.frames] == [0, 5, 10, 15]
    counts = line.mailbox.counts()
    assert (counts.arrived, counts.taken, counts.dropped) == (FRAMES, 4, {DropCause.RATE_CAP: FRAMES - 4})
    assert not paced or took_s > LENGTH_S - 0.1


async def test_a_cap_takes_every_nth_frame_of_a_folder(tmp_path: Path) -> None:
    """Their pace is `picture_fps`."""
    for index in range(5):
        av.VideoFrame(64, 48, "gray").save(str(tmp_path / f"{index}.png"))
    line = Line(f"file:{tmp_path}", picture_fps=10, inspect_fps=5)
    await line.run()
    assert [frame.sequence for frame in line.frames] == [0, 2, 4]
    assert line.mailbox.counts().dropped == {DropCause.RATE_CAP: 2}


def write_jumping(path: Path, jump_s: float) -> Path:
    """Write an MPEG-TS recording of a camera whose clock was set by `jump_s` after its first second."""
    parts = []
    for number in range(2):
        part = path.with_suffix(f".{number}")
        with av.open(str(part), "w", format="mpegts") as container:
            stream: Any = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            begin_s = 50_000 + number * (1 + jump_s)
            for index in range(25):
                frame = av.VideoFrame(64, 48, "yuv420p")
                frame.pts, frame.time_base = round(begin_s * 25) + index, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        parts.append(part.read_bytes())
    path.write_bytes(b"".join(parts))
    return path


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0, 60.0, -1.5, 40_000.0])
async def test_a_clock_that_jumps_is_bridged(jump_s: float, tmp_path: Path) -> None:
    """Ahead, back, and over the end of the 33-bit counter: all frames come in two seconds."""
    line = Line(f"file:{write_jumping(tmp_path / 'v.ts', jump_s)}", paced=True)
    async with asyncio.timeout(60):
        await line.run()
    assert (len(line.frames), line.states[-1].state) == (50, CameraState.ENDED)


def test_a_recording_that_plays_more_slowly_is_said_to(caplog: pytest.LogCaptureFixture) -> None:
    """Once, and not because the device took a few seconds to start."""
    now = [100.0]
    stream = Stream.model_validate({"name": "rec", "url": "file:v.mp4"})
    pace = Playback(stream, threading.Event(), Clocks(monotonic=lambda: now[0]))
    pace.wait(0.0)
    now[0] += 8.0  # the device starts
    pace.wait(0.04)
    assert not caplog.records
    now[0] += 20.0
    pace.wait(1.0)
    pace.wait(1.04)
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "camera rec: the recording plays more slowly than it was recorded, 27 s behind"
    )


def test_a_recording_without_pace_waits_for_nothing() -> None:
    """Whatever its times are."""
    pace = Playback(Stream.model_validate({"name": "r", "url": "file:v", "paced": False}), threading.Event(), Clocks())
    timeline = FileTimeline()
    for time_s in (0.0, 5.0, 10.0):
        pace.wait(timeline.place(time_s))
