# SPDX-License-Identifier: AGPL-3.0-or-later
"""H.264 as a camera sends it: no B-frames, an IDR frame a second, headers before each of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

import av
import cv2
import numpy as np
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

BIT_RATE = 1_500_000
# ITU-T H.273: 6 is SMPTE 170M (BT.601, 525 lines), what cv2's conversion computes; range 1 is limited.
_BT601, _LIMITED = 6, 1
_X264 = "keyint={fps}:min-keyint={fps}:scenecut=0:bframes=0:repeat-headers=1:threads=1:aud=0"


def open_encoder(size_wh: tuple[int, int], fps: int) -> VideoCodecContext:
    """Open an encoder that returns one packet (Annex B, one slice) for each frame at once."""
    encoder = CodecContext.create("libx264", "w")
    if not isinstance(encoder, VideoCodecContext):
        raise TypeError(f"a video encoder expected, got {type(encoder).__name__}")
    encoder.width, encoder.height = size_wh
    encoder.pix_fmt = "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, fps), Fraction(fps)
    encoder.bit_rate = BIT_RATE
    encoder.gop_size, encoder.max_b_frames = fps, 0
    encoder.colorspace = encoder.color_primaries = encoder.color_trc = _BT601
    encoder.color_range = _LIMITED
    encoder.thread_count = 1
    encoder.options = {"preset": "veryfast", "tune": "zerolatency", "x264-params": _X264.format(fps=fps)}
    return encoder


def encode(encoder: VideoCodecContext, frames: Iterable[NDArray[np.uint8]]) -> Iterator[bytes]:
    """Encode (h, w, 3) BGR frames; gives one access unit for each frame."""
    for pts, bgr in enumerate(frames):
        yuv = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420), np.uint8)
        frame = av.VideoFrame.from_ndarray(yuv, format="yuv420p")
        frame.pts = pts
        frame.colorspace, frame.color_range = _BT601, _LIMITED
        yield b"".join(bytes(packet) for packet in encoder.encode(frame))


def through_h264(sent: list[NDArray[np.uint8]], fps: int) -> NDArray[np.uint8]:
    """Encode and decode a run of frames; gives the last one as a receiver sees it, BGR."""
    height, width = sent[0].shape[:2]
    decoder = CodecContext.create("h264", "r")
    if not isinstance(decoder, VideoCodecContext):
        raise TypeError(f"a video decoder expected, got {type(decoder).__name__}")
    units = encode(open_encoder((width, height), fps), sent)
    frames = [frame for unit in units for frame in decoder.decode(av.Packet(unit))] + decoder.decode(None)
    return np.asarray(cv2.cvtColor(frames[-1].to_ndarray(format="yuv420p"), cv2.COLOR_YUV2BGR_I420), np.uint8)
