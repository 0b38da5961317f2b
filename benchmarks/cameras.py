# SPDX-License-Identifier: AGPL-3.0-or-later
"""RTSP cameras for benchmarks: the simulator's clips as long MP4 files, served by GStreamer."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np

from benchmarks.stamps import stamp
from vision_line.simulator.clips import Clip

NOISE = 6.0  # standard deviation, in levels
NOISE_FRAMES = 8
SERVER = Path(__file__).with_name("gst_file_server.py")


@dataclass(slots=True)
class Cameras:
    """Running cameras, and the process that serves them.

    `starts_s`: by the camera's index, the moments of `time.monotonic` from which its videos' times count, one for each
    time that it was connected to; frame n of the video is sent n / fps later.
    """

    urls: list[str]
    pid: int
    starts_s: dict[int, list[float]] = field(default_factory=dict)


def ensure_long_videos(clips: list[Clip], folder: Path, minutes: float) -> list[Path]:
    """Write each clip, repeated without re-encoding, as an MP4 of `minutes`; those that are there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_long_video(clip, folder / f"{clip.video.stem}-{minutes:g}min.mp4", minutes) for clip in clips]


def _long_video(clip: Clip, target: Path, minutes: float) -> Path:
    if not target.exists():
        _repeat(clip.video, target, clip.fps, round(minutes * 60 * clip.fps / clip.frames))
    return target


def _repeat(video: Path, target: Path, fps: int, repeats: int) -> None:
    partial = target.with_suffix(".partial.mp4")
    with av.open(str(partial), "w") as output:
        stream = None
        number = 0
        for _ in range(repeats):
            with av.open(str(video)) as source:
                if stream is None:
                    stream = output.add_stream_from_template(source.streams.video[0])
                for packet in source.demux(video=0):
                    if packet.size:
                        packet.stream = stream
                        packet.time_base = stream.time_base or packet.time_base
                        ticks = round(number / fps / packet.time_base)
                        packet.pts = packet.dts = ticks
                        output.mux(packet)
                        number += 1
    partial.replace(target)


def ensure_encoded(clip: Clip, folder: Path, size_wh: tuple[int, int], mbit_s: float, minutes: float) -> Path:
    """Write a clip, enlarged and with a sensor's noise, as an MP4 of about `mbit_s`; one that is there is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    width, height = size_wh
    target = folder / f"{clip.video.stem}-{width}x{height}-{mbit_s:g}mbit-{minutes:g}min.mp4"
    if not target.exists():
        once = target.with_suffix(".once.mp4")
        _encode(clip, once, size_wh, mbit_s)
        _repeat(once, target, clip.fps, round(minutes * 60 * clip.fps / clip.frames))
        once.unlink()
    return target


def ensure_recorded(clip: Clip, folder: Path, size_wh: tuple[int, int], mbit_s: float) -> Path:
    """Write a clip once, as `ensure_encoded` does, as H.264 without a container; one that is there is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    width, height = size_wh
    target = folder / f"{clip.video.stem}-{width}x{height}-{mbit_s:g}mbit.h264"
    if not target.exists():
        partial = target.with_suffix(".partial.h264")
        _encode(clip, partial, size_wh, mbit_s)
        partial.replace(target)
    return target


def _encode(clip: Clip, target: Path, size_wh: tuple[int, int], mbit_s: float) -> None:
    with av.open(str(clip.video)) as source:
        encode_noisy(source.decode(video=0), target, size_wh, mbit_s, clip.fps)


def encode_noisy(
    frames: Iterable[av.VideoFrame],
    target: Path,
    size_wh: tuple[int, int],
    mbit_s: float,
    fps: int,
    *,
    stamped: bool = False,
) -> None:
    """Write frames, scaled and with a sensor's noise, as H.264; `stamped`: each bears its number from 0."""
    noise = np.random.default_rng(0).normal(0, NOISE, (NOISE_FRAMES, size_wh[1], size_wh[0])).astype(np.int16)
    rate = {"vbv-maxrate": round(mbit_s * 1000), "vbv-bufsize": round(mbit_s * 1000)}
    options = {"preset": "veryfast", "tune": "zerolatency", "g": str(2 * fps)}
    options["x264-params"] = ":".join(f"{key}={value}" for key, value in (rate | {"sliced-threads": 0}).items())
    with av.open(str(target), "w") as output:
        stream = output.add_stream("libx264", rate=fps, options=options)
        stream.width, stream.height = size_wh
        stream.pix_fmt, stream.bit_rate = "yuv420p", round(mbit_s * 1e6)
        for number, frame in enumerate(frames):
            planes = np.ascontiguousarray(frame.reformat(*size_wh, "yuv420p").to_ndarray(), np.uint8)
            luma = planes[: size_wh[1]]
            luma[:] = np.clip(luma + noise[number % NOISE_FRAMES], 0, 255)
            if stamped:
                stamp(luma, number)
            encoded = av.VideoFrame.from_ndarray(planes, "yuv420p")
            encoded.pts = number
            output.mux(stream.encode(encoded))
        output.mux(stream.encode(None))


@dataclass(slots=True)
class RecordedCameras(Cameras):
    """Cameras that play a recording; what they have sent is known when they have ended."""

    sent: dict[str, float] = field(default_factory=dict)


@contextmanager
def recorded_cameras(recording: Path, fps: int, cameras: int) -> Iterator[RecordedCameras]:
    """Serve `cameras` cameras out of one recording until the block ends."""
    command = [sys.executable, "-m", "benchmarks.recorded_cameras", str(recording), str(fps), str(cameras)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None or not (port := process.stdout.readline().strip()):
            raise RuntimeError("the cameras' server did not start")
        urls = [f"rtsp://127.0.0.1:{port}/cam{n}" for n in range(1, cameras + 1)]
        served = RecordedCameras(urls, process.pid)
        try:
            yield served
        finally:
            said, _ = process.communicate("")
            served.sent |= json.loads(said)


@contextmanager
def gstreamer_cameras(videos: list[Path], cameras: int) -> Iterator[Cameras]:
    """Serve `cameras` cameras from `videos` in turn until the block ends; then their `starts_s` are known."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    files = [str(videos[number % len(videos)]) for number in range(cameras)]
    process = subprocess.Popen(
        ["/usr/bin/python3", SERVER, "--starts", str(port), *files],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    served = Cameras([f"rtsp://127.0.0.1:{port}/cam{n}" for n in range(1, cameras + 1)], process.pid)
    try:
        if process.stdout is None or process.stdout.readline() != "up\n":
            raise RuntimeError("GStreamer's RTSP server did not start: gir1.2-gst-rtsp-server-1.0 is needed")
        yield served
    finally:
        output, _ = process.communicate("")
        process.wait(10)
    for line in output.splitlines():
        camera, start_s = line.split()
        served.starts_s.setdefault(int(camera) - 1, []).append(float(start_s))
