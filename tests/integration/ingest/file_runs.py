# SPDX-License-Identifier: AGPL-3.0-or-later
"""Videos that the tests write, and a camera that plays them while every frame is taken."""

from __future__ import annotations

import asyncio
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from vision_line.config.models import Stream
from vision_line.devices.cpu.decoder import CpuDecoder
from vision_line.encoded import EncodedTap
from vision_line.frames import Frame, StateChange
from vision_line.ingest.camera import Camera
from vision_line.ingest.mailbox import BoundedQueue
from vision_line.ports import OpenDecoder

FRAMES = 20


def write_video(path: Path, b_frames: int, *, noise: int = 0, sound_s: float = 0.0, late_index: bool = False) -> Path:
    """Write a video of 20 frames at 25 fps, a keyframe every 10; frame n is as bright as 20 + 10 n.

    `noise` levels more make it large. `sound_s` is the length of its sound. What is at the end of a file is written at
    its beginning, where the container allows it, unless `late_index`.
    """
    flags = "frag_keyframe+empty_moov" if path.stem == "fragments" else "faststart"
    options = {"movflags": flags} if path.suffix in (".mp4", ".mov") and not late_index else {}
    with av.open(str(path), "w", options=options) as container:
        sound = container.add_stream("pcm_s16le", rate=8000) if sound_s else None
        random = np.random.default_rng(1)
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.options = {"bf": str(b_frames), "g": "10", "crf": "1"}
        for index in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(
                random.integers(20, 21 + noise, (72, 64), np.uint8) + 10 * index, format="yuv420p"
            )
            frame.pts, frame.time_base = index, Fraction(1, 25)
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
        if sound is not None:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, round(8000 * sound_s)), np.int16), "s16", "mono")
            silence.sample_rate, silence.pts = 8000, 0
            for packet in sound.encode(silence):
                container.mux(packet)
    return path


class Line:
    """Runs a file camera while a thread of this class takes every frame, as an inspection would."""

    def __init__(
        self, url: str, open_decoder: OpenDecoder = CpuDecoder, tap: EncodedTap | None = None, **settings: Any
    ) -> None:
        self.frames: list[Frame] = []
        self.levels: list[int] = []
        self.states: list[StateChange] = []
        self.stream = Stream.model_validate({"name": "file", "url": url, "paced": False} | settings)
        self._rung = threading.Event()
        self.mailbox = BoundedQueue(self._rung.set)
        self._over = False
        self._open_decoder = open_decoder
        self._tap = tap

    async def run(self) -> None:
        """Run to the end of the file."""
        taker = threading.Thread(target=self._take)
        taker.start()
        try:
            opening = asyncio.Semaphore(4)
            await Camera(
                self.stream, self._open_decoder, self.mailbox, self.states.append, opening, tap=self._tap
            ).run()
        finally:
            self._over = True
            self._rung.set()
            taker.join()

    def _take(self) -> None:
        while not self._over or self.mailbox.counts().pending:
            self._rung.wait()
            self._rung.clear()
            while (frame := self.mailbox.take()) is not None:
                self.frames.append(frame)
                self.levels.append(bytes(frame.data.planes[0])[10])  # all samples of a frame are the same
