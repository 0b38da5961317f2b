# SPDX-License-Identifier: AGPL-3.0-or-later
"""A missing frame is seen by the numbers of those around it, whatever holds them and whatever the encoder's ways."""

from __future__ import annotations

import functools
import io
from collections.abc import Set as AbstractSet
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_line.ingest.frame_numbers import FrameNumbers, open_frame_numbers
from vision_line.ingest.nal import START_CODE

FRAMES = 60
WAYS = {
    "plain": "bframes=0:ref=1",
    "several references": "bframes=0:ref=4",
    "B frames": "bframes=2:b-pyramid=none",
    "B pyramid": "bframes=3:b-pyramid=normal:ref=4",
    "slices": "bframes=0:slices=4",
    "intra refresh": "bframes=0:intra-refresh=1",
    "fields": "bframes=0:tff=1",
}


@functools.cache
def encoded(way: str, container: str, keyint: int = 25) -> tuple[Any, list[Any]]:
    """Return a stream and its packets in the order of decoding."""
    memory = io.BytesIO()
    noise = np.random.default_rng(1)
    with av.open(memory, "w", format=container) as writer:
        stream: Any = writer.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.options = {"x264-params": f"keyint={keyint}:min-keyint={keyint}:scenecut=0:{WAYS[way]}"}
        for index in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(noise.integers(0, 255, (96, 96), np.uint8), format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            writer.mux(stream.encode(frame))
        writer.mux(stream.encode(None))
    reader: Any = av.open(io.BytesIO(memory.getvalue()))
    video: Any = reader.streams.video[0]
    return video, [packet for packet in reader.demux(video) if packet.size]


def breaks(video: Any, packets: list[Any], lost: AbstractSet[int] = frozenset()) -> list[int]:
    """Return at which packets a break is seen when some are lost."""
    numbers = open_frame_numbers(video)
    assert numbers is not None
    kept = [(index, packet) for index, packet in enumerate(packets) if index not in lost]
    return [index for index, packet in kept if numbers.breaks(bytes(packet), keyframe=packet.is_keyframe)]


@pytest.mark.parametrize("container", ["mp4", "h264", "mpegts"])
@pytest.mark.parametrize("way", WAYS)
def test_a_whole_stream_has_no_break(way: str, container: str) -> None:
    """However references are chosen, and whether NAL units have start codes or sizes."""
    video, packets = encoded(way, container)
    assert breaks(video, packets) == []


@pytest.mark.parametrize("container", ["mp4", "mpegts"])
@given(lost=st.sets(st.integers(1, 24), min_size=1, max_size=8))
@settings(max_examples=20, deadline=None)
def test_the_first_frame_after_a_loss_is_the_break(container: str, lost: set[int]) -> None:
    """One break in the group of pictures: behind it everything waits for a keyframe."""
    video, packets = encoded("plain", container)
    after = next(index for index in range(min(lost), 26) if index not in lost)
    assert breaks(video, packets, lost) == ([] if packets[after].is_keyframe else [after])


@pytest.mark.parametrize("container", ["mp4", "h264"])
def test_a_loss_after_which_the_number_is_the_same_is_seen(container: str) -> None:
    """Of 16 numbers 15 frames are missing. Where all 16 are, no number tells it."""
    video, packets = encoded("plain", container, keyint=250)
    assert breaks(video, packets, set(range(20, 35))) == [35]
    assert breaks(video, packets, set(range(20, 36))) == []


def test_a_loss_of_what_nothing_refers_to_is_none() -> None:
    """B frames that were left out damage no other."""
    video, packets = encoded("B frames", "mp4")
    unused = {index for index, packet in enumerate(packets) if not bytes(packet)[4] & 0x60}
    assert unused
    assert breaks(video, packets, unused) == []


def test_numbers_wrap() -> None:
    """A long group of pictures counts past the end of its numbers."""
    video, packets = encoded("plain", "h264", keyint=250)
    assert breaks(video, packets) == []
    assert breaks(video, packets, {40}) == [41]


def test_other_codecs_are_not_followed() -> None:
    """Nor is a source without a stream."""
    assert open_frame_numbers(None) is None


@given(st.binary(max_size=60), st.lists(st.tuples(st.binary(max_size=60), st.booleans()), max_size=6))
def test_garbage_breaks_nothing_of_ours(extradata: bytes, frames: list[tuple[bytes, bool]]) -> None:
    """Whatever stands in a stream."""
    for before in (extradata, b"\x01" + extradata, START_CODE + b"\x67" + extradata):
        numbers = FrameNumbers(before)
        for data, keyframe in frames:
            numbers.breaks(data, keyframe=keyframe)
            numbers.breaks(START_CODE + data, keyframe=keyframe)
