# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a run gives its feed, without a run: encoded frames of real videos, results, events."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av
from tests.builders import make_detections, make_frame, make_inspection

from vision_line.encoded import EncodedFrame
from vision_line.feed.feed_client import FeedClient
from vision_line.feed.headers import FeedFacts
from vision_line.feed.protocol import FeedMessage
from vision_line.feed.tap import FeedTap
from vision_line.frames import DefectEvent, EventPhase, Inspection, Verdict
from vision_line.ports import VideoPacket

FACTS = FeedFacts("ab" * 16, "0.1", 4, 5e8, ("spur", "short"))


@dataclass
class Video:
    """A connection's video: a codec context with parameter sets."""

    codec_context: av.VideoCodecContext
    type: str = "video"


def make_video(extradata: bytes = b"\0\0\0\1\x67") -> Video:
    """Return another connection."""
    context = av.CodecContext.create("h264", "r")
    assert isinstance(context, av.VideoCodecContext)
    context.extradata = extradata
    return Video(context)


def make_encoded(video: Video, number: int, data: bytes, *, keyframe: bool, damaged: bool = False) -> EncodedFrame:
    """Return a frame that arrived at `number` seconds; without data nothing is left of it."""
    packet: VideoPacket | None = av.Packet(data) if data else None
    if packet is not None:
        packet.time_base = Fraction(1, 90_000)
    return EncodedFrame(packet, video, keyframe, float(number), 5e8 + number, damaged=damaged, pts_s=number / 25)


def make_result(camera: str, sequence: int, boxes: int = 1) -> Inspection:
    """Return an inspected frame of a camera that arrived at `sequence` seconds."""
    frame = make_frame(camera, sequence, at_s=float(sequence), data=object())
    return make_inspection(frame, make_detections(*[(1.0, 2.0, 3.123456, 4.0)] * boxes, score=0.899999))


def make_event(number: int, phase: EventPhase = EventPhase.NEW, camera: str = "cam01") -> DefectEvent:
    """Return a change of an event."""
    box = (1.0, 2.0, 3.0, 4.0)
    return DefectEvent(
        f"e{number}", phase, camera, 0, "spur", Verdict.REJECT, 0.9, 0.95, box, number, 3, 1.0, 5e8, 2.0, 5e8 + 1
    )


def next_of(client: FeedClient, *kinds: str, within_s: float = 20.0) -> FeedMessage:
    """Return the next message of one of `kinds`, passing over others."""
    while True:
        message = client.receive(within_s)
        assert message is not None, client.reason
        if message.kind in kinds:
            return message


def show(tap: FeedTap, video: Video, sizes: list[int], *, first: int = 0) -> list[EncodedFrame]:
    """Let the tap see frames of these sizes, of which the first is a keyframe."""
    frames = [make_encoded(video, first + i, bytes([i % 256]) * size, keyframe=i == 0) for i, size in enumerate(sizes)]
    for frame in frames:
        tap.saw(frame)
    return frames
