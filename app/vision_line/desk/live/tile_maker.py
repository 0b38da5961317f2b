# SPDX-License-Identifier: AGPL-3.0-or-later
"""Keyframes as small JPEGs: one thread decodes them, the newest of each camera, and no more than are worth seeing.

Where the line needs the processor they come less often: each says how old it is.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import cast

import av
import cv2
from av.video.reformatter import Interpolation, VideoReformatter

from vision_line.desk.live.live_updates import FrameTimes, Tile
from vision_line.desk.live.tile_budget import TileBudget
from vision_line.records.background import yield_to_inspection

logger = logging.getLogger(__name__)

#: Of a tile, in pixels; its height follows from the frame's.
TILE_WIDTH = 320
#: A camera whose every frame is a keyframe (MJPEG) gets no more tiles than this apart, in seconds.
LEAST_APART_S = 0.45
_QUALITY = 80
#: How soon it is noticed that the run leaves more again, in seconds.
_NOTICED_S = 0.25


@dataclass(frozen=True, slots=True)
class StreamHeader:
    """What decoders need to know of a connection: FFmpeg's name of the codec, and its extradata."""

    connection: int
    codec: str
    extradata: bytes


@dataclass(frozen=True, slots=True)
class Keyframe:
    """An encoded frame that needs no other."""

    camera: str
    header: StreamHeader
    times: FrameTimes
    data: bytes


class KeyframeDecoder:
    """Decodes single keyframes of one connection; used by one thread."""

    def __init__(self, header: StreamHeader, *, is_small: bool = False) -> None:
        """Open a decoder; without its loop filter, a tenth of its work, where the frame `is_small` when seen.

        Raises:
            av.FFmpegError, ValueError: there is none for this codec.
        """
        self.header = header
        self._context = cast("av.VideoCodecContext", av.CodecContext.create(header.codec, "r"))
        self._context.thread_count = 1
        if is_small:
            self._context.options = {"skip_loop_filter": "all"}
        if header.extradata:
            self._context.extradata = header.extradata

    def decode(self, data: bytes) -> av.VideoFrame | None:
        """Return the frame of a keyframe; None: there is none in it.

        Raises:
            av.FFmpegError: it is damaged.
        """
        try:
            frames = [*self._context.decode(av.Packet(data)), *self._context.decode(None)]
        finally:
            self._context.flush_buffers()  # the decoder had been told that nothing more comes
        return frames[0] if frames else None


def jpeg_of(frame: av.VideoFrame, width: int, scaler: VideoReformatter) -> bytes:
    """Return a frame as JPEG of at most this width; `scaler` keeps what it needs for frames like this one."""
    width = min(width, frame.width)
    height = max(1, round(frame.height * width / frame.width))
    # In one thread: the scaler would begin and end others for each frame.
    scaled = scaler.reformat(frame, width, height, "bgr24", interpolation=Interpolation.AREA, threads=1)
    image = scaled.to_ndarray()
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()


class TileMaker:
    """Makes tiles of the newest keyframes, and hands them to `post`, in its own thread. `offer` is for one thread."""

    def __init__(self, post: Callable[[Tile], None], budget: TileBudget | None = None) -> None:
        """Begin at once."""
        self._post = post
        self._budget = budget or TileBudget()
        self._newest: dict[str, Keyframe] = {}  # still to be decoded, by camera
        self._offered_s: dict[str, float] = {}
        self._decoders: dict[str, KeyframeDecoder] = {}
        self._scalers: dict[str, VideoReformatter] = {}
        self._is_closed = threading.Event()
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, "desk-tiles", initializer=yield_to_inspection)

    def offer(self, keyframe: Keyframe) -> None:
        """Take a keyframe; it replaces one of its camera that still waits. Never waits."""
        arrived_s = keyframe.times.arrived_s
        if 0 <= arrived_s - self._offered_s.get(keyframe.camera, float("-inf")) < LEAST_APART_S:
            return
        self._offered_s[keyframe.camera] = arrived_s
        with self._lock:
            if self._is_closed.is_set():
                return
            waits = keyframe.camera in self._newest
            self._newest[keyframe.camera] = keyframe
            if not waits:
                self._thread.submit(self._make, keyframe.camera)

    def close(self) -> None:
        """Make no more; what waits is let go. Any thread: `offer` may be under way."""
        with self._lock:
            self._is_closed.set()
            self._thread.shutdown(wait=False, cancel_futures=True)

    def _make(self, camera: str) -> None:
        while not self._is_closed.is_set() and (wait_s := self._budget.wait_s(time.monotonic())):
            self._is_closed.wait(min(wait_s, _NOTICED_S))
        with self._lock:
            keyframe = self._newest.pop(camera)
        began_s = time.thread_time()
        if not self._is_closed.is_set() and (tile := self._tile_of(keyframe)) is not None:
            self._post(tile)
        self._budget.spend(time.thread_time() - began_s, time.monotonic())

    def _tile_of(self, keyframe: Keyframe) -> Tile | None:
        camera = keyframe.camera
        try:
            frame = self._decoder_of(keyframe).decode(keyframe.data)
        except (av.FFmpegError, ValueError) as exc:  # the tile stays as it is, and says how old that is
            logger.info("camera %s: a keyframe cannot be decoded: %s", camera, exc)
            return None
        if frame is None:
            return None
        jpeg = jpeg_of(frame, TILE_WIDTH, self._scalers.setdefault(camera, VideoReformatter()))
        return Tile(camera, keyframe.times, (frame.width, frame.height), jpeg)

    def _decoder_of(self, keyframe: Keyframe) -> KeyframeDecoder:
        decoder = self._decoders.get(keyframe.camera)
        if decoder is None or decoder.header is not keyframe.header:
            decoder = self._decoders[keyframe.camera] = KeyframeDecoder(keyframe.header, is_small=True)
        return decoder
