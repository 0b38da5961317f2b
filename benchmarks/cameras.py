# SPDX-License-Identifier: AGPL-3.0-or-later
"""RTSP cameras for benchmarks: the simulator's clips as long MP4 files, served by GStreamer."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av

from vision_line.simulator.clips import Clip

SERVER = Path(__file__).with_name("gst_file_server.py")


@dataclass(frozen=True, slots=True)
class Cameras:
    """Running cameras, and the process that serves them."""

    urls: list[str]
    pid: int


def ensure_long_videos(clips: list[Clip], folder: Path, minutes: float) -> list[Path]:
    """Write each clip, repeated without re-encoding, as an MP4 of `minutes`; those that are there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_long_video(clip, folder / f"{clip.video.stem}-{minutes:g}min.mp4", minutes) for clip in clips]


def _long_video(clip: Clip, target: Path, minutes: float) -> Path:
    if target.exists():
        return target
    partial = target.with_suffix(".partial.mp4")
    repeats = round(minutes * 60 * clip.fps / clip.frames)
    with av.open(str(partial), "w") as output:
        stream = None
        number = 0
        for _ in range(repeats):
            with av.open(str(clip.video)) as source:
                if stream is None:
                    stream = output.add_stream_from_template(source.streams.video[0])
                for packet in source.demux(video=0):
                    if packet.size:
                        packet.stream = stream
                        packet.time_base = stream.time_base or packet.time_base
                        ticks = round(number / clip.fps / packet.time_base)
                        packet.pts = packet.dts = ticks
                        output.mux(packet)
                        number += 1
    partial.replace(target)
    return target


@contextmanager
def gstreamer_cameras(videos: list[Path], cameras: int) -> Iterator[Cameras]:
    """Serve `cameras` cameras from `videos` in turn until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    files = [str(videos[number % len(videos)]) for number in range(cameras)]
    process = subprocess.Popen(
        ["/usr/bin/python3", SERVER, str(port), *files], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        if process.stdout is None or process.stdout.readline() != "up\n":
            raise RuntimeError("GStreamer's RTSP server did not start: gir1.2-gst-rtsp-server-1.0 is needed")
        yield Cameras([f"rtsp://127.0.0.1:{port}/cam{n}" for n in range(1, cameras + 1)], process.pid)
    finally:
        process.communicate("")
        process.wait(10)
