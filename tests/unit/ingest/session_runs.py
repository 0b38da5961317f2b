# SPDX-License-Identifier: AGPL-3.0-or-later
"""Moving images as encoders send them, and a session that decodes what is left of them."""

from __future__ import annotations

import functools
import io
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import count
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import SecretStr

from vision_line.config.models import Stream
from vision_line.devices.cpu.decoder import CpuDecoder
from vision_line.encoded import EncodedFrame
from vision_line.frames import DropCause, Frame
from vision_line.ingest import session as sessions
from vision_line.ingest.camera_clock import Clocks
from vision_line.ingest.fingerprint import fingerprint_frame
from vision_line.ingest.frame_sink import FrameSink
from vision_line.ingest.health import HealthMonitor
from vision_line.ingest.mailbox import NewestFrame
from vision_line.ingest.rtsp import LiveVideo
from vision_line.ingest.session import Session, open_health
from vision_line.ingest.shedding import DecodeLoad
from vision_line.ports import EncodedVideo, VideoPacket

FRAMES, PERIOD = 60, 12

#: Keyframes at fixed places; in open groups B-frames before one refer to what is before it.
X264 = f"keyint={PERIOD}:min-keyint={PERIOD}:scenecut=0:b-adapt=0:crf=23"
OPEN, CLOSED = f"{X264}:open-gop=1", f"{X264}:open-gop=0"


@functools.cache
def sent(
    params: str, codec: str = "libx264", *, frames: int = FRAMES, container: str = "matroska"
) -> tuple[EncodedVideo, tuple[VideoPacket, ...]]:
    """Return a video of a moving image, and its packets."""
    memory, noise = io.BytesIO(), np.random.default_rng(1).integers(0, 255, (96, 400), np.uint8)
    with av.open(memory, "w", format=container) as writer:
        stream: Any = writer.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {"x265-params": f"{params}:log-level=none"} if codec == "libx265" else {"x264-params": params}
        for index in range(frames):
            luma = np.ascontiguousarray(noise[:, index : index + 160])
            image = np.vstack([luma, np.full((48, 160), 128, np.uint8)])
            frame = av.VideoFrame.from_ndarray(image, format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            writer.mux(stream.encode(frame))
        writer.mux(stream.encode(None))
    reader: Any = av.open(io.BytesIO(memory.getvalue()))
    video: Any = reader.streams.video[0]
    return video, tuple(packet for packet in reader.demux(video) if packet.size)


def unopened(video: EncodedVideo) -> EncodedVideo:
    """Return the video with a codec context that no decoder has used."""
    context: Any = av.CodecContext.create(video.codec_context.name, "r")
    context.extradata = video.codec_context.extradata
    return LiveVideo(context)


def keys(packets: tuple[VideoPacket, ...]) -> list[int]:
    """Return where the keyframes are."""
    return [index for index, packet in enumerate(packets) if packet.is_keyframe]


def encoded(
    packet: VideoPacket,
    video: EncodedVideo,
    *,
    data: bytes | None = None,
    damaged: bool = False,
    pts: Callable[[VideoPacket], int | None] = lambda packet: packet.pts,
) -> EncodedFrame:
    """Return a packet, perhaps with other data or another time, as a source gives it."""
    copy: Any = av.Packet(bytes(packet) if data is None else data)
    copy.time_base, copy.is_keyframe, copy.pts = packet.time_base, packet.is_keyframe, pts(packet)
    pts_s = None if copy.pts is None else float(copy.pts * packet.time_base)
    return EncodedFrame(copy, video, packet.is_keyframe, time.monotonic(), time.time(), pts_s=pts_s, damaged=damaged)


def flush(video: EncodedVideo) -> EncodedFrame:
    """Return what a source ends a video with."""
    return EncodedFrame(None, video, False, time.monotonic(), time.time(), counts=False)


class Given:
    """A source of frames that the test gives."""

    def __init__(self, frames: list[EncodedFrame]) -> None:
        self._frames = frames[::-1]
        self.between: Callable[[], None] = lambda: None

    def __iter__(self) -> Iterator[EncodedFrame]:
        """Yield them."""
        while self._frames:
            yield self._frames.pop()
            self.between()

    def close(self) -> None:
        """Do nothing."""


class Shown(FrameSink):
    """Keeps what is shown."""

    def __init__(self) -> None:
        self.mailbox = NewestFrame(lambda: None)
        super().__init__(self.mailbox, count())
        self.frames: list[Frame] = []

    def put(self, frame: Frame) -> None:
        """Keep the frame."""
        self.frames.append(frame)
        super().put(frame)


@dataclass(slots=True)
class SessionRun:
    """What a session has shown and counted."""

    session: Session
    shown: list[NDArray[np.uint8]]
    order: list[int]  # which frames those are, by their place in the order of display; -1: not known
    arrived: int
    dropped: Counter[DropCause]
    shown_after: list[int] = field(default_factory=list)  # how many were shown after each frame that came
    shown_when_called: list[int] = field(default_factory=list)  # how many when the supervisor was called, each time


def run_session(
    frames: list[EncodedFrame],
    monkeypatch: pytest.MonkeyPatch,
    watch: Callable[[Session], None] = lambda _: None,
    health: HealthMonitor | None = None,
) -> SessionRun:
    """Run a session on `frames` to its end; `watch` is called after each of them, `health` is that of before."""
    video = unopened(next(frame.origin for frame in frames if frame.origin is not None))
    source, sink, shown_after = Given([replace(frame, origin=video) for frame in frames]), Shown(), list[int]()
    shown_when_called: list[int] = []
    monkeypatch.setattr(sessions, "open_source", lambda *_: source)
    stream = Stream(name="cam1", url=SecretStr("file:/boards.mp4"))
    session = Session(
        stream=stream,
        open_decoder=CpuDecoder,
        sink=sink,
        changed=lambda: shown_when_called.append(len(sink.frames)),
        clocks=Clocks(),
        health=health or open_health(stream),
        take_fingerprint=fingerprint_frame,
        load=DecodeLoad(),
    )

    def note() -> None:
        shown_after.append(len(sink.frames))
        watch(session)

    source.between = note
    session.start()
    deadline = time.monotonic() + 40
    while session.is_running and time.monotonic() < deadline:
        time.sleep(0.002)
    assert session.end is not None
    assert session.end.fault is None, session.end.fault
    counts = sink.mailbox.counts()
    dropped = Counter(counts.dropped)
    del dropped[DropCause.SUPERSEDED]  # nobody takes them
    # by the decoder's own count of milliseconds: after a flush no frame has a time
    order = [-1 if frame.data.pts is None else round(frame.data.pts / 40) for frame in sink.frames]
    images = [frame.data.to_ndarray(format="gray") for frame in sink.frames]
    return SessionRun(session, images, order, counts.arrived, dropped, shown_after, shown_when_called)


def wrong(found: SessionRun, right: SessionRun) -> list[int]:
    """Return the places of frames that were shown with other images than they have; `right` shows all."""
    shown = zip(found.order, found.shown, strict=True)
    return [index for index, image in shown if not np.array_equal(image, right.shown[index])]
