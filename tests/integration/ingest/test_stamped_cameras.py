# SPDX-License-Identifier: AGPL-3.0-or-later
"""The cameras of the comparison with peers: a frame bears its number, and its age is known from outside."""

from __future__ import annotations

import time
from itertools import islice, repeat
from pathlib import Path

import av
import numpy as np
from benchmarks.cameras import encode_noisy, gstreamer_cameras
from benchmarks.peers.ages import count_inspected
from benchmarks.peers.job import Result
from benchmarks.stamps import read_stamp

FPS = 25
FRAMES = 2 * FPS


def test_the_server_gives_the_moment_from_which_ages_count(gstreamer: None, tmp_path: Path) -> None:
    """Two cameras, each watched by a client of its own: no frame is there before it was sent, nor hours later."""
    video = tmp_path / "stamped.mp4"
    grey = av.VideoFrame.from_ndarray(np.full((540, 640), 128, np.uint8), "yuv420p")
    encode_noisy(repeat(grey, 4 * FPS), video, (640, 360), 1.5, FPS, stamped=True)
    results = []
    with gstreamer_cameras([video], 2) as cameras:
        for camera, url in enumerate(cameras.urls):
            with av.open(url, options={"rtsp_transport": "tcp"}) as container:
                for frame in islice(container.decode(video=0), FRAMES):
                    number = read_stamp(frame.to_ndarray(format="gray"))
                    results.append(Result(time.monotonic(), camera, number, None))
    starts_s = {camera: start_s for camera, (start_s,) in cameras.starts_s.items()}
    counted = count_inspected(results, starts_s, FPS)

    assert (counted.results, counted.unstamped, counted.repeated) == (2 * FRAMES, 0, 0)
    assert counted.p99_ms < 60_000
