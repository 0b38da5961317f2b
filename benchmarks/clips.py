# SPDX-License-Identifier: AGPL-3.0-or-later
"""What keeping encoded frames for clips costs a frame, what memory it takes, and what muxing a clip takes.

Run: python -m benchmarks.clips [CAMERAS] [SECONDS]; CPU times, so that neighbours hardly matter.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from vision_line.encoded import EncodedFrame
from vision_line.records.clips.open_clip import OpenClip
from vision_line.records.clips.plan import ClipPlan
from vision_line.records.clips.ring import Ring, RingMemory
from vision_line.records.entries import CameraLabels

FPS = 25
LIMIT_US = 2.0
MEMORY_MB = 128  # the default
ROUNDS = 5


class Video:
    """What a connection is known by."""

    type = "video"

    def __init__(self) -> None:
        """H.264 without parameter sets beside it."""
        self.codec_context: Any = av.CodecContext.create("h264", "r")


def rss_bytes() -> int:
    """Return what this process holds in memory now."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


def encoded_frames(count: int, group: int = FPS) -> list[tuple[bytes, bool]]:
    """Return H.264 of noise at 4 Mbit/s, with whether each is a keyframe."""
    context = av.CodecContext.create("libx264", "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = 640, 360, "yuv420p"
    context.framerate, context.time_base, context.bit_rate = Fraction(FPS), Fraction(1, FPS), 4_000_000
    context.options = {"preset": "ultrafast", "bf": "0", "g": str(group)}
    noise, packets = np.random.default_rng(1), []
    for index in range(count):
        frame = av.VideoFrame.from_ndarray(noise.integers(0, 255, (540, 640), np.uint8), format="yuv420p")
        frame.pts = index
        packets += context.encode(frame)
    return [(bytes(packet), packet.is_keyframe) for packet in (*packets, *context.encode(None))]


def sent(frames: list[tuple[bytes, bool]], video: Video, seconds: float, began_s: float) -> list[EncodedFrame]:
    """Return what a camera sends in so many seconds, each frame with memory of its own."""
    made = []
    for number in range(int(seconds * FPS)):
        data, keyframe = frames[number % len(frames)]
        at_s = began_s + number / FPS
        made.append(EncodedFrame(av.Packet(bytes(bytearray(data))), video, keyframe, at_s, at_s, pts_s=at_s))
    return made


def tap_us(frames: list[tuple[bytes, bool]]) -> float:
    """Return the CPU time that a ring takes for a frame, in microseconds; of several rounds the median."""
    times = []
    for _ in range(ROUNDS):
        ring, made = Ring(RingMemory(10**9), 5.0), sent(frames, Video(), 120.0, 0.0)
        before = time.thread_time()
        for encoded in made:
            ring.saw(encoded)
        times.append((time.thread_time() - before) / len(made) * 1e6)
    return statistics.median(times)


def memory_shares(frames: list[tuple[bytes, bool]], cameras: int, seconds: int) -> tuple[float, float]:
    """Return what full rings say that they take, and by how much the process grew, both as shares of the budget."""
    budget = MEMORY_MB * 1_000_000
    memory, before = RingMemory(budget), rss_bytes()
    rings = [(Ring(memory, 600.0), Video()) for _ in range(cameras)]
    for second in range(seconds):
        for ring, video in rings:
            for encoded in sent(frames, video, 1.0, float(second)):
                ring.saw(encoded)
    return memory.used / budget, (rss_bytes() - before) / budget


def mux_ms(frames: list[tuple[bytes, bool]]) -> float:
    """Return the CPU time for a clip of 15 s, in milliseconds."""
    ring = Ring(RingMemory(10**9), 20.0)
    for encoded in sent(frames, Video(), 15.0, 0.0):
        ring.saw(encoded)
    with tempfile.TemporaryDirectory() as folder:
        before = time.thread_time()
        clip = OpenClip(ClipPlan("e", "cam", CameraLabels(), 0.0, 10.0), ring, lambda: Path(folder) / "clip")
        list(clip.feed(15.0))
        clip.finish(15.0)
        return (time.thread_time() - before) * 1e3


def main() -> None:
    """Print all of it; exit code 1 where the ring takes longer than it may."""
    cameras, seconds = (*map(int, sys.argv[1:3]), *(16, 120)[len(sys.argv) - 1 :])
    frames = encoded_frames(2 * FPS)
    said, grown = memory_shares(frames, cameras, seconds)  # before others: what is freed is used again
    cost_us = tap_us(frames)
    print(f"ring: {cost_us:.2f} us of CPU a frame (limit {LIMIT_US:g})")
    print(f"memory: {said:.1%} of {MEMORY_MB} MB by its own count, {grown:.1%} by the process's growth")
    print(f"a clip of 15 s: {mux_ms(frames):.1f} ms of CPU")
    sys.exit(cost_us > LIMIT_US)


if __name__ == "__main__":
    main()
