# SPDX-License-Identifier: AGPL-3.0-or-later
"""A run's feed without a run, with encoded videos of moving shades, for whoever watches live."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
from tests.fakes.feeds import FACTS, Video, make_encoded, make_video

from vision_line.desk.live.tile_maker import StreamHeader
from vision_line.feed.feed_server import FeedServer
from vision_line.feed.protocol import FeedMessage

ENCODERS = {"h264": "libx264", "hevc": "libx265", "mjpeg": "mjpeg"}


@dataclass(frozen=True)
class EncodedShade:
    """An encoded frame of one shade of grey, and when it is shown, as its place among all."""

    data: bytes
    keyframe: bool
    pts: int


def encoded_shades(
    codec: str = "h264", count: int = 12, size: tuple[int, int] = (640, 360), gop: int = 5, b_frames: int = 0
) -> list[EncodedShade]:
    """Return encoded frames in the order of decoding; frame n is of the shade 20 n modulo 256."""
    file = BytesIO()
    with av.open(file, "w", format=codec) as container:
        stream = container.add_stream(ENCODERS[codec], rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = gop, b_frames
        stream.codec_context.thread_count = 1
        if codec != "mjpeg":
            stream.options = {"preset": "ultrafast", "x265-params": f"log-level=0:bframes={b_frames}:keyint={gop}"}
            stream.options |= {} if b_frames else {"tune": "zerolatency"}
        packets = []
        for number in range(count):
            image = np.full((size[1], size[0], 3), number * 20 % 256, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts = number
            packets += stream.encode(frame)
        packets += stream.encode(None)
    return [EncodedShade(bytes(packet), packet.is_keyframe, packet.pts or 0) for packet in packets]


def feed_frame(number: int, shade: EncodedShade, *, intact: bool = True, camera: str = "cam01") -> FeedMessage:
    """Return the feed's message of a frame, which arrives 40 ms after the one before."""
    header: dict[str, Any] = {"kind": "frame", "camera": camera, "connection": 1, "keyframe": shade.keyframe}
    header |= {"intact": intact, "arrived_s": 100 + number / 25, "pts_s": shade.pts / 25}
    return FeedMessage(header, shade.data)


def stream_header(codec: str = "h264", connection: int = 1) -> StreamHeader:
    """Return the header of a connection whose parameter sets are in its keyframes."""
    return StreamHeader(connection, codec, b"")


class LiveLine:
    """A feed in a record directory."""

    def __init__(self, feed: FeedServer) -> None:
        self.feed = feed
        self._videos: dict[str, Video] = {}

    @property
    def clients(self) -> int:
        """Who is connected."""
        return self.feed.status.clients

    def wanted(self, camera: str) -> str | None:
        """Which of a camera's frames anybody wants."""
        return self.feed.offers.tap(camera).wanted

    def wait_for(self, camera: str, choice: str | None) -> None:
        """Wait until a camera's frames are wanted so."""
        ends_s = time.monotonic() + 20
        while self.wanted(camera) != choice:
            assert time.monotonic() < ends_s, self.wanted(camera)
            time.sleep(0.01)

    def show(self, camera: str, shades: Sequence[EncodedShade], at_s: float) -> None:
        """Have frames arrive at `at_s` and 40 ms apart."""
        video = self._videos.setdefault(camera, make_video())
        for number, shade in enumerate(shades):
            frame = make_encoded(video, 0, shade.data, keyframe=shade.keyframe)
            frame.arrived_s, frame.pts_s = at_s + number / 25, None
            self.feed.offers.tap(camera).saw(frame)

    def state(self, cpu_percent: float = 20.0, **cameras: dict[str, Any]) -> None:
        """Say the run's state."""
        document = {
            "now_utc": 5e8,
            "headline": "fine",
            "cpu_percent": cpu_percent,
            "alarms": [],
            "cameras": [camera_state(**one) for one in cameras.values()],
        }
        self.feed.offers.snapshot(document)


def camera_state(**changed: Any) -> dict[str, Any]:
    """Return a camera of a snapshot, which is inspected well."""
    well = {"name": "cam01", "state": "RUNNING", "code": None, "inspecting": True, "not_inspected": None}
    return {**well, "fps_inspected": 12.0, "inspected_age_s": 0.05, **changed}


@contextmanager
def live_line(directory: Path) -> Iterator[LiveLine]:
    """Serve a feed in a record directory."""
    feed = FeedServer(FACTS)
    feed.open(directory)
    try:
        yield LiveLine(feed)
    finally:
        feed.close()
