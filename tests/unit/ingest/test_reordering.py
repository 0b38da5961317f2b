# SPDX-License-Identifier: AGPL-3.0-or-later
"""Damage that a decoder finds where it gives frames in another order: nothing that refers to it is shown."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.ingest.session_runs import (
    CLOSED,
    FRAMES,
    OPEN,
    PERIOD,
    SessionRun,
    encoded,
    flush,
    run_session,
    sent,
    wrong,
)

from vision_line.encoded import EncodedFrame
from vision_line.frames import Colour, ColourMatrix, ColourRange, DropCause
from vision_line.ingest.reordering import MAX_HELD, MAX_INSIDE, UNKNOWN, Reordering
from vision_line.ingest.session import Session
from vision_line.ports import DecodedFrame

FLAT, DEEP = f"{CLOSED}:bframes=2:b-pyramid=none", f"{CLOSED}:bframes=7"
PLAIN = f"{CLOSED}:bframes=0"


def flipped(data: bytes, seed: int) -> bytes:
    """Return a packet with some bits flipped in its second half."""
    chance, out = random.Random(seed), bytearray(data)
    for _ in range(3):
        out[chance.randrange(len(out) // 2, len(out))] ^= 1 << chance.randrange(8)
    return bytes(out)


def whole(params: str, monkeypatch: pytest.MonkeyPatch) -> SessionRun:
    """Return what is shown of a video without damage."""
    video, packets = sent(params)
    run = run_session([*(encoded(packet, video) for packet in packets), flush(video)], monkeypatch)
    assert run.order == list(range(FRAMES))
    assert run.dropped.total() == 0
    return run


@pytest.mark.parametrize(
    "params", [FLAT, DEEP, f"{OPEN}:bframes=3", PLAIN], ids=["flat", "deep pyramid", "open pyramid", "no B-frames"]
)
def test_nothing_that_refers_to_damage_is_shown(params: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what comes out before the damaged frame nor what is inside the decoder when it comes out."""
    video, packets = sent(params)
    right, found_damage = whole(params, monkeypatch), 0
    for at in range(
        PERIOD, 2 * PERIOD + 3
    ):  # every kind of frame, also with a keyframe in the decoder when it comes out
        frames = [
            encoded(packet, video, data=flipped(bytes(packet), at) if index == at else None)
            for index, packet in enumerate(packets)
        ]
        found = run_session([*frames, flush(video)], monkeypatch)
        if not found.dropped:  # bits that are another image's: no decoder knows it
            continue
        found_damage += 1
        assert wrong(found, right) == [], at
        assert found.order == sorted(found.order)
        assert found.arrived == len(found.order) + found.dropped[DropCause.CORRUPT] == FRAMES
        assert set(range(50, FRAMES)) <= set(found.order)
    assert found_damage >= 3


@pytest.mark.parametrize("is_refused", [False, True])
def test_what_is_inside_at_the_end_and_whole_is_shown(is_refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that was decoded before a frame that did not come whole, or that the decoder refused."""
    video, packets = sent(DEEP)
    right = whole(DEEP, monkeypatch)
    for at in (FRAMES - 2, FRAMES - 5, FRAMES - 8):
        frames = [encoded(packet, video) for packet in packets]
        frames[at] = encoded(packets[at], video, damaged=not is_refused, data=b"\0" * 30 if is_refused else None)
        found = run_session([*frames, flush(video)], monkeypatch)
        assert wrong(found, right) == []
        assert found.order == sorted(round(packet.pts / 40) for packet in packets[:at] if packet.pts is not None)
        assert found.dropped == {DropCause.CORRUPT: FRAMES - at}


def test_a_camera_without_b_frames_is_shown_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each frame when its own packet has come; none is ever held."""
    video, packets = sent(PLAIN)
    held = []
    found = run_session(
        [encoded(packet, video) for packet in packets], monkeypatch, lambda run: held.append(run._reordering.holds)
    )
    assert found.shown_after == list(range(1, FRAMES + 1))
    assert held == [False] * FRAMES


@pytest.mark.parametrize("params", [FLAT, DEEP], ids=["flat", "deep pyramid"])
def test_few_frames_are_held(params: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """B-frames, until the one that they refer to has come out: no more than lie between those."""
    video, packets = sent(params)
    most = 0

    def watch(session: Session) -> None:
        nonlocal most
        most = max(most, len(session._reordering._held))

    run_session([encoded(packet, video) for packet in packets], monkeypatch, watch)
    assert 0 < most <= (2 if params is FLAT else 7)


def test_what_is_remembered_has_no_packets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera may send garbage of any size that never comes out."""
    video, packets = sent(DEEP)
    remembered = []

    def watch(session: Session) -> None:
        reordering = session._reordering
        inside = [frame for _, frame in (*reordering._inside.values(), *reordering._passed.values())]
        assert all(frame.packet is None for frame in inside)
        remembered.append(len(inside))

    garbage: list[EncodedFrame] = []
    for index in range(3 * MAX_INSIDE):
        torn = encoded(packets[0], video, data=bytes(packets[0])[:40] + bytes(200))
        torn.pts_s = index / 25
        garbage.append(torn)
    found = run_session([*(encoded(packet, video) for packet in packets[:20]), *garbage], monkeypatch, watch)
    assert len(remembered) == 20 + len(garbage)
    assert max(remembered) <= MAX_INSIDE + MAX_HELD
    assert found.dropped[DropCause.CORRUPT] > 2 * MAX_INSIDE


def decoded(number: int | None, *, corrupt: bool = False, keyframe: bool = False) -> DecodedFrame:
    """Return a frame as it comes out."""
    colour = Colour(ColourMatrix.BT709, ColourRange.LIMITED)
    return DecodedFrame(number, (16, 16), colour, keyframe, corrupt, None if number is None else number / 25)


def coming(number: int | None, *, keyframe: bool = False) -> EncodedFrame:
    """Return a frame as it goes in."""
    return EncodedFrame(None, None, keyframe, 0.0, 0.0, pts_s=None if number is None else number / 25)


class Follower:
    """A decoder's frames as a session follows them."""

    def __init__(self) -> None:
        self.reordering = Reordering()
        self.shown: list[Any] = []
        self.lost: list[EncodedFrame] = []
        self.newest = coming(None)

    def enter(self, number: int | None, *, keyframe: bool = False) -> None:
        """Decode a frame."""
        self.newest = coming(number, keyframe=keyframe)
        self.reordering.enter(self.newest)

    def leave(self, frame: DecodedFrame) -> None:
        """Take what comes out."""
        place, encoded_frame = self.reordering.leave(frame, self.newest)
        if self.reordering.is_lost(place, frame):
            self.lost.append(encoded_frame)
            if frame.corrupt:
                self.lost += self.reordering.lose(place)
        else:
            self.reordering.hold(place, frame, encoded_frame)
        self.release()

    def release(self) -> None:
        """Show what waits for nothing."""
        for frame, encoded_frame in self.reordering.release():
            if not any(encoded_frame is other for other in self.lost):
                self.shown.append(frame.data)


@given(order=st.permutations(range(MAX_HELD)), damaged=st.integers(0, MAX_HELD - 1))
def test_any_order_of_decoding(order: list[int], damaged: int) -> None:
    """All that was decoded before the damaged frame is shown in order, and nothing after it."""
    follower, inside, out = Follower(), set[int](), 0
    for number in order:
        if follower.lost:  # decoding waits for a keyframe
            break
        follower.enter(number)
        inside.add(number)
        while out in inside:
            follower.leave(decoded(out, corrupt=out == order[damaged]))
            inside.remove(out)
            out += 1
    for number in sorted(inside):  # what the decoder has when it is flushed
        follower.leave(decoded(number))
    follower.reordering.end()
    follower.release()
    assert follower.shown == sorted(order[:damaged])
    assert not follower.reordering.holds


def test_a_frame_that_never_comes_out_holds_up_few() -> None:
    """Those that are shown before it, and no more than a decoder may reorder."""
    follower = Follower()
    for number in (0, 3, 1, 2):
        follower.enter(number)
    follower.leave(decoded(1))
    follower.leave(decoded(2))
    assert follower.shown == []
    follower.enter(6)
    follower.leave(decoded(6))  # 3 is passed over
    assert follower.shown == [1, 2, 6]

    follower.enter(10_000)
    for number in range(7, 7 + 2 * MAX_HELD):
        follower.enter(number)
        follower.leave(decoded(number))
        assert len(follower.reordering._held) <= MAX_HELD
    assert follower.shown[3:] == list(range(7, 7 + 2 * MAX_HELD))


def test_untimed_frames_are_lost_until_a_later_keyframe_comes_out() -> None:
    """Which of them were decoded after the damaged one is not known; a keyframe inside the decoder was."""
    follower = Follower()
    out = [
        decoded(None),
        decoded(None, corrupt=True),
        decoded(None, keyframe=True),
        decoded(None),
        decoded(None, keyframe=True),
    ]
    for at, frame in enumerate(out):
        follower.enter(None, keyframe=at == len(out) - 1)
        follower.leave(frame)
    assert (len(follower.shown), len(follower.lost)) == (2, 3)
    assert follower.reordering.leave(decoded(None), follower.newest) == (UNKNOWN, follower.newest)
