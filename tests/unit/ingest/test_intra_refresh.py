# SPDX-License-Identifier: AGPL-3.0-or-later
"""Intra refresh: after frames were left out, what FFmpeg mixes of old and new parts is told from whole images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vision_line.encoded import EncodedFrame
from vision_line.frames import DropCause
from vision_line.ingest.age import FrameAge
from vision_line.ingest.intake import Intake
from vision_line.ingest.recovery import Recovery, frames_to_recovery
from vision_line.ingest.shedding import DecodeLoad
from vision_line.ports import EncodedVideo

from . import session_runs

FRAMES, PERIOD = 120, 20


def sent(way: str, container: str = "h264") -> tuple[EncodedVideo, tuple[EncodedFrame, ...]]:
    """Return a stream of a moving image, and its frames."""
    params = f"bframes=0:keyint={PERIOD}:{way}"
    video, packets = session_runs.sent(params, frames=FRAMES, container=container)
    return video, tuple(EncodedFrame(packet, video, packet.is_keyframe, 0.0, 0.0) for packet in packets)


def decode(frames: list[EncodedFrame], video: Any) -> list[NDArray[np.uint8]]:
    """Decode frames with one decoder, without delay; one that gives nothing gives an empty array."""
    context: Any = av.CodecContext.create("h264", "r")
    context.extradata = video.codec_context.extradata
    context.flags |= av.codec.context.Flags.low_delay
    images = []
    for frame in frames:
        assert frame.packet is not None
        packet = av.Packet(bytes(frame.packet))
        packet.pts = frame.packet.pts
        out = context.decode(packet)
        images.append(out[0].to_ndarray(format="gray") if out else np.empty((0, 0), np.uint8))
    return images


@pytest.mark.parametrize("container", ["h264", "mp4"])
@pytest.mark.parametrize("left_out", [(30, 50), (47, 63), (61, 99)])
def test_what_is_called_whole_is_whole(container: str, left_out: tuple[int, int]) -> None:
    """And what is not, is not: without this they would be inspected."""
    video, frames = sent("intra-refresh=1", container)
    right = decode(list(frames), video)
    again = next(index for index in range(left_out[1], FRAMES) if frames[index].keyframe)
    kept = [*range(left_out[0]), *range(again, FRAMES)]
    found = decode([frames[index] for index in kept], video)

    recovery, whole = Recovery(), {}
    for index in kept:
        if index == again:
            recovery.begin(frames[index])
        whole[index] = recovery.is_whole(frames[index])
    differs = {index for index, image in zip(kept, found, strict=True) if not np.array_equal(image, right[index])}
    assert differs
    assert not any(whole[index] for index in differs)
    assert sum(not is_whole for is_whole in whole.values()) <= PERIOD + 1


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_of_a_camera_that_is_cut_only_whole_frames_are_shown(share: float) -> None:
    """And all frames are either shown or counted as dropped."""
    video, frames = sent("intra-refresh=1")
    right = decode(list(frames), video)
    drops: list[DropCause] = []
    load = DecodeLoad()
    chosen: list[EncodedFrame] = []
    intake, age = Intake("cam", 0.5, load, drops.append), FrameAge()
    for index, frame in enumerate(frames):
        load.share = 1.0 if index < PERIOD else share
        arrived_s = index / 25
        arrived = replace(frame, arrived_s=arrived_s, behind_s=age.saw(arrived_s, 0.0, arrived_s, None, arrived_s))
        for one in intake.take(arrived, age):
            chosen.append(one)
            intake.decoded(0.001)
    shown = 0
    for frame, image in zip(chosen, decode(chosen, video), strict=True):
        if frame.shown and image.size:
            assert frame.packet is not None
            assert np.array_equal(image, right[[other.packet for other in frames].index(frame.packet)])
            shown += 1
    assert shown
    assert DropCause.CORRUPT in drops
    assert len(drops) + sum(frame.shown for frame in chosen) == FRAMES


def test_what_a_connection_begins_with_is_not_whole_either() -> None:
    """FFmpeg leaves it out by itself; a decoder that does not must not have it inspected. No more is left out."""
    video, frames = sent("intra-refresh=1")
    first = next(index for index in range(1, FRAMES) if frames[index].keyframe)
    drops: list[DropCause] = []
    chosen: list[EncodedFrame] = []
    intake, age = Intake("cam", 0.5, DecodeLoad(), drops.append), FrameAge()
    for index, frame in enumerate(frames[first:]):
        arrived_s = index / 25
        arrived = replace(frame, arrived_s=arrived_s, behind_s=age.saw(arrived_s, 0.0, arrived_s, None, arrived_s))
        chosen += intake.take(arrived, age)

    assert [frame.shown for frame in chosen] == [bool(image.size) for image in decode(chosen, video)]
    assert len(chosen) == FRAMES - first
    assert drops == [DropCause.CORRUPT] * sum(not frame.shown for frame in chosen)
    assert drops


def test_a_keyframe_is_whole_at_once() -> None:
    """Nothing old is in it, nor in those after it."""
    _, frames = sent("scenecut=0")
    keyframe = next(frame for frame in frames[1:] if frame.keyframe)
    recovery = Recovery()
    recovery.begin(keyframe)
    assert recovery.is_whole(keyframe)


@given(data=st.binary(max_size=80))
def test_garbage_recovers_at_once_or_later_and_never_fails(data: bytes) -> None:
    """Whatever stands in a frame."""
    video, _ = sent("scenecut=0")
    for prefix in (b"", b"\x00\x00\x00\x01\x06", b"\x00\x00\x00\x01\x06\x06"):
        frame = EncodedFrame(av.Packet(prefix + data), video, True, 0.0, 0.0)
        assert frames_to_recovery(frame) >= 0
        Recovery().begin(frame)


def test_other_codecs_have_no_such_frames() -> None:
    """Nor has a source without a stream."""
    assert frames_to_recovery(EncodedFrame(av.Packet(b"\x00\x00\x00\x01\x06\x06\x01\x80"), None, True, 0.0, 0.0)) == 0
