# SPDX-License-Identifier: AGPL-3.0-or-later
"""Test material of the selftest: images of simulated boards, and short videos of them in memory."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import av
import av.error
import cv2
import numpy as np
from av.container import OutputContainer
from numpy.typing import NDArray

from vision_line.ports import VideoPacket
from vision_line.simulator.scene import Scene, ScenePlan, draw_scene

ImageBGR = NDArray[np.uint8]  # (h, w, 3) BGR

FPS = 25

#: ITU-T H.273: matrix 6 is SMPTE 170M, which cv2's conversion computes; range 1 is limited.
_BT601, _LIMITED = 6, 1

# Frames of one turn of the belt, and a step that is long enough for each image to show other boards.
_SCENE = ScenePlan(seed=7, frames=400, boards=4, defective_share=1.0, most_defects=6)
_STEP = 8


@dataclass(frozen=True, slots=True)
class VideoKind:
    """Encoding of a video. Unless it is `described`, the receiver chooses matrix and range."""

    codec: str  # FFmpeg's name of the format
    encoder: str
    bits: int
    container: str
    options: tuple[tuple[str, str], ...]
    described: bool = True

    def __str__(self) -> str:
        return f"{self.codec} {self.bits} bit"


_LIVE = (("preset", "ultrafast"), ("tune", "zerolatency"))
_LIVE_265 = (*_LIVE, ("x265-params", "log-level=none:pools=1:frame-threads=1"))
_LIVE_AV1 = (("preset", "12"), ("svtav1-params", "pred-struct=1:lp=1"))

H264 = VideoKind("h264", "libx264", 8, "mpegts", _LIVE)
HEVC = VideoKind("hevc", "libx265", 8, "mpegts", _LIVE_265, described=False)
KINDS = (
    H264,
    HEVC,
    VideoKind("hevc", "libx265", 10, "mpegts", _LIVE_265),
    VideoKind("av1", "libsvtav1", 8, "matroska", _LIVE_AV1),
    VideoKind("av1", "libsvtav1", 10, "matroska", _LIVE_AV1),
)


@dataclass(frozen=True, slots=True)
class Video:
    """An encoded video in memory: no reordered frames, a keyframe per second."""

    kind: VideoKind
    size_wh: tuple[int, int]
    data: bytes
    frames: int


def draw_images(size_wh: tuple[int, int], count: int) -> list[ImageBGR]:
    """Draw boards with defects on a belt, always the same; takes a second or two."""
    scene = _scene()
    return [cv2.resize(scene.render(number * _STEP), size_wh).astype(np.uint8) for number in range(count)]


@lru_cache(maxsize=1)
def _scene() -> Scene:
    return draw_scene(_SCENE)


def encode_video(kind: VideoKind, images: Sequence[ImageBGR]) -> Video | None:
    """Return a video of `images`, None where this FFmpeg has no such encoder."""
    os.environ.setdefault("SVT_LOG", "1")  # errors only; the AV1 library has no other setting for it
    height, width = images[0].shape[:2]
    memory = io.BytesIO()
    try:
        with av.open(memory, "w", format=kind.container) as writer:
            stream = _open_stream(writer, kind, (width, height))
            for image in images:
                writer.mux(stream.encode(_frame(kind, image)))
            writer.mux(stream.encode(None))
    except (av.codec.codec.UnknownCodecError, av.error.FFmpegError):
        return None
    return Video(kind, (width, height), memory.getvalue(), len(images))


@contextmanager
def opened(video: Video) -> Iterator[tuple[av.VideoStream, list[VideoPacket]]]:
    """Yield a video's open stream (`av.VideoStream`) and all of its packets."""
    with av.open(io.BytesIO(video.data), "r") as container:
        stream = container.streams.video[0]
        yield stream, [packet for packet in container.demux(stream) if packet.size]


def _open_stream(writer: OutputContainer, kind: VideoKind, size_wh: tuple[int, int]) -> av.VideoStream:
    stream = cast("av.VideoStream", writer.add_stream(kind.encoder, rate=FPS))
    stream.width, stream.height = size_wh
    stream.pix_fmt = _pixels(kind)
    stream.options = dict(kind.options)
    stream.codec_context.gop_size = FPS
    stream.codec_context.thread_count = 1
    if kind.described:
        stream.codec_context.colorspace, stream.codec_context.color_range = _BT601, _LIMITED
    return stream


def _frame(kind: VideoKind, image: ImageBGR) -> av.VideoFrame:
    yuv = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420), np.uint8)
    frame = av.VideoFrame.from_ndarray(yuv, format="yuv420p")
    if kind.bits > 8:
        frame = frame.reformat(format=_pixels(kind))
    if kind.described:
        frame.colorspace, frame.color_range = _BT601, _LIMITED
    return frame


def _pixels(kind: VideoKind) -> str:
    return "yuv420p" if kind.bits == 8 else "yuv420p10le"
