# SPDX-License-Identifier: AGPL-3.0-or-later
"""The newest encoded frames: whole groups only, bounded in time and memory, every hole visible."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import av
from hypothesis import given
from hypothesis import strategies as st

from vision_line.encoded import EncodedFrame
from vision_line.records.clips.ring import CONFIRMATION_S, Ring, RingFrame, RingMemory, memory_of

PRE_S = 2.0
KEEP_S = PRE_S + CONFIRMATION_S


class Video:
    """What a connection is known by."""

    type = "video"

    def __init__(self) -> None:
        self.codec_context: Any = av.CodecContext.create("h264", "r")


def frame(
    at_s: float, video: Video | None, *, key: bool = False, size: int = 100, damaged: bool = False, pts_s: float = 0.0
) -> EncodedFrame:
    packet: av.Packet[Any] | None = None if video is None else av.Packet(bytes(size))
    return EncodedFrame(packet, video, key, at_s, at_s, damaged=damaged, pts_s=pts_s)


def numbers(ring: Ring) -> list[int]:
    return [kept.number for kept in ring.since(0)]


def test_it_begins_with_a_keyframe_and_goes_on_over_reconnections() -> None:
    """What refers to frames that were never sent is not kept; frames of another connection have another header."""
    ring, first, second = Ring(RingMemory(10**6), PRE_S), Video(), Video()
    for at, (video, key) in enumerate([(first, False), (first, True), (first, False), (second, False), (second, True)]):
        ring.saw(frame(at * 0.1, video, key=key))

    kept = ring.since(0)
    assert [one.number for one in kept] == [2, 3, 5]
    assert kept[0].header is kept[1].header is not kept[2].header


def test_after_damage_nothing_is_kept_up_to_the_next_keyframe() -> None:
    """Frames that refer to it would show what never was; the numbers have a hole."""
    ring, video = Ring(RingMemory(10**6), PRE_S), Video()
    ring.saw(frame(0.0, video, key=True))
    ring.saw(frame(0.1, video, damaged=True))
    ring.saw(frame(0.2, video))
    ring.saw(frame(0.3, None, damaged=True))
    ring.saw(frame(0.4, video, key=True))
    assert numbers(ring) == [1, 5]


def test_a_clip_begins_with_the_last_keyframe_before_it() -> None:
    """Or, where that is gone, with the first that is there."""
    ring, video = Ring(RingMemory(10**6), PRE_S), Video()
    for at in range(20):
        ring.saw(frame(at * 0.1, video, key=at % 5 == 0))
    assert [ring.beginning(at_s) + 1 for at_s in (-1.0, 0.0, 0.99, 1.0, 9.0)] == [1, 1, 6, 11, 16]
    assert [kept.number for kept in ring.since(17)] == [18, 19, 20]


def test_a_camera_that_is_silent_gives_its_memory_back() -> None:
    """Its last group too: what is so old no clip begins with."""
    memory = RingMemory(10**6)
    ring = Ring(memory, PRE_S)
    ring.saw(frame(0.0, Video(), key=True))
    ring.expire(KEEP_S - 0.1)
    assert numbers(ring)
    ring.expire(KEEP_S + 0.1)
    assert (numbers(ring), memory.used) == ([], 0)


def test_frames_that_are_shown_in_another_order_are_known() -> None:
    """By times that go back a little; a clock that is set back is none of it."""
    kept: list[RingFrame] = []
    for times in ([0.0, 0.08, 0.04], [0.0, 0.04, -50.0]):
        ring, video = Ring(RingMemory(10**6), PRE_S), Video()
        for at, pts_s in enumerate(times):
            ring.saw(frame(at * 0.04, video, key=at == 0, pts_s=pts_s))
        kept += ring.since(0)[-1:]
    assert [one.header.reorders for one in kept] == [True, False]


SENT = st.lists(
    st.tuples(st.integers(0, 3), st.booleans(), st.booleans(), st.integers(1, 5000), st.floats(0.001, 1.0)), max_size=80
)


@given(SENT, st.integers(3000, 40_000))
def test_it_is_bounded_and_whole_whatever_comes(sent: list[tuple[int, bool, bool, int, float]], max_bytes: int) -> None:
    """Four cameras: memory, time, and that what is kept begins with a keyframe and has no hole within a group."""
    memory = RingMemory(max_bytes)
    rings, videos = [Ring(memory, PRE_S) for _ in range(4)], [Video() for _ in range(4)]
    now_s = 0.0
    for camera, key, damaged, size, wait_s in sent:
        now_s += wait_s
        rings[camera].saw(frame(now_s, videos[camera], key=key, size=size, damaged=damaged))
        kept = [ring.since(0) for ring in rings]
        assert memory.used == sum(memory_of(one.packet.size) for frames in kept for one in frames)
        own = sum(memory_of(one.packet.size) for one in kept[camera])
        assert memory.used <= max_bytes or own * 4 <= max_bytes
        for frames in kept:
            assert not frames or frames[0].keyframe
            for before, one in pairwise(frames):
                assert one.keyframe or one.number == before.number + 1
        groups = [one.arrived_s for one in kept[camera] if one.keyframe]
        assert len(groups) < 2 or groups[1] > now_s - KEEP_S
    for ring in rings:
        ring.close()
    assert memory.used == 0
