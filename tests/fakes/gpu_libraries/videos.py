# SPDX-License-Identifier: AGPL-3.0-or-later
"""Small encoded videos, and their packets."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import av
import numpy as np

#: Encoder options that make a stream such as cameras send: each frame can be shown as soon as it is decoded.
LIVE = {
    "libx264": {"tune": "zerolatency", "preset": "ultrafast"},
    "libx265": {"tune": "zerolatency", "preset": "ultrafast", "x265-params": "log-level=none"},
    "libsvtav1": {"preset": "12", "svtav1-params": "pred-struct=1:lp=1"},
}


def encoded(
    codec: str,
    size_wh: tuple[int, int] = (128, 96),
    pixels: str = "yuv420p",
    *,
    container: str = "matroska",
    options: dict[str, str] | None = None,
    frames: int = 12,
    **colour: int,
) -> io.BytesIO:
    """Return a few moving frames; without `options` a camera's kind of stream, that reorders nothing.

    `colour` are attributes of the frames and the codec context, such as colorspace and color_range.
    """
    memory = io.BytesIO()
    with av.open(memory, "w", format=container) as writer:
        stream: Any = writer.add_stream(codec, rate=25)
        stream.width, stream.height = size_wh
        stream.pix_fmt = pixels
        stream.options = LIVE.get(codec, {}) if options is None else options
        stream.codec_context.gop_size = 6
        for name, value in colour.items():
            setattr(stream.codec_context, name, value)
        for number in range(frames):
            frame = _drawn(number, size_wh).reformat(format=pixels)
            for name, value in colour.items():
                setattr(frame, name, value)
            writer.mux(stream.encode(frame))
        writer.mux(stream.encode(None))
    memory.seek(0)
    return memory


def _drawn(number: int, size_wh: tuple[int, int]) -> av.VideoFrame:
    width, height = size_wh
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    rgb = np.stack([across * 2, down * 2, across + down], axis=-1).astype(np.uint8)
    rgb[:, number * 4 : number * 4 + 16] = (200, 60, 30)
    return av.VideoFrame.from_ndarray(rgb, format="rgb24")


@contextmanager
def opened(memory: io.BytesIO) -> Iterator[tuple[Any, list[Any]]]:
    """Give a video's stream, as long as it is open, and its packets, the last of which is None: the flush."""
    memory.seek(0)
    with av.open(memory, "r") as container:
        stream = container.streams.video[0]
        yield stream, [*(packet for packet in container.demux(stream) if packet.size), None]
