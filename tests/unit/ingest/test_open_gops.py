# SPDX-License-Identifier: AGPL-3.0-or-later
"""Open groups of pictures: B-frames before a keyframe are not inspected where frames before it were left out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.unit.ingest.session_runs import CLOSED, FRAMES, OPEN, encoded, flush, keys, run_session, sent, wrong

from vision_line.frames import DropCause
from vision_line.ingest.age import FrameAge
from vision_line.ingest.intake import Intake
from vision_line.ingest.recovery import Recovery
from vision_line.ingest.shedding import DecodeLoad

FLAT, PYRAMID = f"{OPEN}:bframes=2:b-pyramid=none", f"{OPEN}:bframes=3"


def leading(packets: tuple[Any, ...], key: int) -> set[int]:
    """Return which frames are decoded after a keyframe and shown before it."""
    return {index for index in range(key + 1, len(packets)) if packets[index].pts < packets[key].pts}


@pytest.mark.parametrize(
    ("codec", "params"),
    [("libx264", FLAT), ("libx264", PYRAMID), ("libx265", PYRAMID)],
    ids=["h264", "h264 pyramid", "h265"],
)
@pytest.mark.parametrize("left_out", [1, 5])
def test_after_an_omission_no_mixed_frame_is_shown(
    monkeypatch: pytest.MonkeyPatch, codec: str, params: str, left_out: int
) -> None:
    """And what is not shown is counted; at the next keyframe all is shown again."""
    video, packets = sent(params, codec)
    right = run_session([*(encoded(packet, video) for packet in packets), flush(video)], monkeypatch)
    assert right.order == list(range(FRAMES))
    key = keys(packets)[2]
    mixed = leading(packets, key)
    assert mixed

    frames = [encoded(packet, video, damaged=index == key - left_out) for index, packet in enumerate(packets)]
    found = run_session([*frames, flush(video)], monkeypatch)
    assert wrong(found, right) == []
    assert found.dropped == {DropCause.CORRUPT: left_out + len(mixed)}
    assert found.arrived == FRAMES == len(found.order) + left_out + len(mixed)


def test_untimed_frames_are_not_shown_until_a_keyframe_has_come_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of a raw stream: nobody knows which of them has come out."""
    video, packets = sent(FLAT)
    whole = run_session([*(encoded(packet, video) for packet in packets), flush(video)], monkeypatch)
    key = keys(packets)[2]
    frames = [encoded(packet, video, pts=lambda _: None, damaged=i == key - 5) for i, packet in enumerate(packets)]
    found = run_session([*frames, flush(video)], monkeypatch)
    assert len(found.shown) >= FRAMES - 5 - 3 - 2
    for image in found.shown:
        assert any(np.array_equal(image, other) for other in whole.shown)
    assert found.arrived == len(found.order) + found.dropped.total() == FRAMES


@pytest.mark.parametrize("params", [FLAT, PYRAMID], ids=["h264", "h264 pyramid"])
def test_times_in_the_order_of_decoding(monkeypatch: pytest.MonkeyPatch, params: str) -> None:
    """As AVI has them, and some cameras: then H.264 itself says which frames are before the keyframe."""
    video, packets = sent(params)
    whole = run_session([*(encoded(packet, video) for packet in packets), flush(video)], monkeypatch)
    key = keys(packets)[2]
    mixed = leading(packets, key)
    frames = [encoded(packet, video, pts=packets.index, damaged=i == key - 5) for i, packet in enumerate(packets)]
    found = run_session([*frames, flush(video)], monkeypatch)
    assert len(found.shown) == FRAMES - 5 - len(mixed)
    assert found.dropped == {DropCause.CORRUPT: 5 + len(mixed)}
    for image in found.shown:
        assert any(np.array_equal(image, other) for other in whole.shown)


def test_a_closed_group_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its frames' times: nothing after such a keyframe refers to anything before it."""
    _, packets = sent(f"{CLOSED}:bframes=2")
    video, _ = sent(f"{CLOSED}:bframes=2")
    key = keys(packets)[2]
    frames = [encoded(packet, video, damaged=index == key - 1) for index, packet in enumerate(packets)]
    assert run_session([*frames, flush(video)], monkeypatch).dropped == {DropCause.CORRUPT: 1}
    recovery = Recovery()
    recovery.begin(encoded(packets[key], video))
    assert recovery.is_over


def test_they_count_under_the_cause_of_the_omission() -> None:
    """A camera is not to blame where the machine cannot decode all."""
    video, packets = sent(FLAT)
    drops: list[DropCause] = []
    load, age, chosen = DecodeLoad(), FrameAge(), []
    intake = Intake("cam", 0.5, load, drops.append)
    for index, packet in enumerate(packets):
        load.share = 1.0 if index < keys(packets)[1] else 0.6
        came = replace(encoded(packet, video), arrived_s=index / 25)
        came.behind_s = age.saw(index / 25, 0.0, index / 25, None, index / 25)
        for one in intake.take(came, age):
            chosen.append(one)
            intake.decoded(0.001)
    unshown = [frame for frame in chosen if not frame.shown]
    assert unshown
    assert set(drops) == {DropCause.SHED}
    assert len(drops) + sum(frame.shown for frame in chosen) == FRAMES
