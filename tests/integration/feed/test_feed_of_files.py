# SPDX-License-Identifier: AGPL-3.0-or-later
"""Files are followed as cameras are: a video with lengths in place of start codes, a folder of images."""

from __future__ import annotations

import asyncio
from pathlib import Path

import av
import numpy as np
import pytest
from tests.fakes.feeds import next_of
from tests.integration.ingest.file_runs import FRAMES, Line, write_video

from vision_line.feed.feed_client import FeedClient
from vision_line.feed.feed_server import FeedServer
from vision_line.feed.protocol import FeedMessage


async def followed(server: FeedServer, directory: Path, line_of: str, frames: int) -> list[FeedMessage]:
    """Return the `video` and `frame` messages while a file is inspected."""
    with FeedClient(directory) as client:
        client.want(frames={"file": "all"})
        next_of(client, "wanted")
        line = Line(line_of, tap=server.offers.tap("file"))
        await asyncio.wait_for(line.run(), 60)
        got: list[FeedMessage] = []
        while sum(message.kind == "frame" for message in got) < frames:
            got.append(next_of(client, "video", "frame"))
    assert len(line.frames) == frames
    return got


async def test_a_video_can_be_decoded_with_its_parameter_sets(server: FeedServer, tmp_path: Path) -> None:
    """The extradata are in `video`, the frames are the file's, and each ties to one that was inspected."""
    path = write_video(tmp_path / "boards.mp4", b_frames=2)

    video, *frames = await followed(server, tmp_path, path.as_uri(), FRAMES)
    context = av.CodecContext.create(video.header["codec"], "r")
    assert isinstance(context, av.VideoCodecContext)
    context.extradata = video.payload
    decoded = [shown for message in frames for shown in context.decode(av.Packet(message.payload))]
    decoded += context.decode(None)

    assert (video.kind, video.payload[:1]) == ("video", b"\x01")
    assert (video.header["width"], video.header["height"]) == (64, 48)
    assert [bytes(frame.planes[0])[10] for frame in decoded] == pytest.approx(
        [20 + 10 * n for n in range(FRAMES)], abs=3
    )


async def test_each_image_of_a_folder_is_a_keyframe(server: FeedServer, tmp_path: Path) -> None:
    """With its codec before it."""
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(4):
        frame = av.VideoFrame.from_ndarray(np.full((48, 64), 40 * index + 20, np.uint8), format="gray")
        frame.save(str(folder / f"board{index}.{'png' if index % 2 else 'jpg'}"))

    got = await followed(server, tmp_path, folder.as_uri(), 4)

    codecs = [message.header["codec"] for message in got if message.kind == "video"]
    assert codecs == ["mjpeg", "png", "mjpeg", "png"]
    assert [m.payload for m in got if m.kind == "frame"] == [
        path.read_bytes() for path in sorted(folder.iterdir(), key=lambda path: path.stem)
    ]
