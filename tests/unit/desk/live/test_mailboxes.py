# SPDX-License-Identifier: AGPL-3.0-or-later
"""What waits for a browser that reads slowly: the newest tiles, and a video that begins with a keyframe."""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any

from tests.fakes.live_video import camera_state

from vision_line.desk.live.live_updates import (
    FrameBoxes,
    FrameTimes,
    NoRun,
    RunStatus,
    Sent,
    Tile,
    VideoFrame,
    VideoStart,
)
from vision_line.desk.live.mailboxes import MOST_BYTES, MOST_S, TileMailbox, VideoMailbox


def header_of(sent: Sent) -> dict[str, Any]:
    """Return what a message says."""
    if isinstance(sent, str):
        found = json.loads(sent)
    else:
        (length,) = struct.unpack_from(">I", sent)
        found = json.loads(sent[4 : 4 + length])
    assert isinstance(found, dict)
    return found


def tile(camera: str, at_s: float) -> Tile:
    return Tile(camera, FrameTimes(at_s, None), (640, 360), b"jpeg")


def boxes(camera: str, at_s: float, pts_s: float | None = None) -> FrameBoxes:
    found = {"class": "spur", "score": 0.9, "box": [1, 2, 3, 4], "verdict": None}
    return FrameBoxes(camera, FrameTimes(at_s, pts_s), (640, 360), [found])


def frame(at_s: float, *, keyframe: bool = False, size: int = 100) -> VideoFrame:
    return VideoFrame("cam01", FrameTimes(at_s, None), at_s, keyframe, bytes(size))


def status(**changed: Any) -> RunStatus:
    return RunStatus({"now_utc": 0.0, "headline": "fine", "alarms": [], "cameras": [camera_state(**changed)]})


async def test_the_newest_tile_of_each_camera_with_its_age() -> None:
    mailbox = TileMailbox(clock=lambda: 10.0)
    for update in (tile("a", 7.0), tile("b", 8.0), tile("a", 9.5)):
        mailbox.put(update)
    found = {header["camera"]: (header["at"], header["age_s"]) for header in map(header_of, await mailbox.next())}
    assert found == {"a": (9.5, 0.5), "b": (8.0, 2.0)}


async def test_tiles_go_out_together() -> None:
    """The first at once; what comes meanwhile waits for its time, and is sent as one."""
    mailbox = TileMailbox()
    mailbox.put(tile("a", 1.0))
    assert len(await mailbox.next()) == 1
    mailbox.put(tile("b", 1.0))
    waiting = asyncio.ensure_future(mailbox.next())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    mailbox.put(tile("c", 1.0))
    assert [header_of(sent)["camera"] for sent in await waiting] == ["b", "c"]


async def test_boxes_are_those_of_the_tile_whichever_comes_first() -> None:
    """And no others: a box on another frame would be in the wrong place."""
    mailbox = TileMailbox()
    for update in (boxes("a", 1.0), boxes("a", 2.0), tile("a", 2.0), tile("b", 2.0), boxes("b", 2.0), boxes("b", 3.0)):
        mailbox.put(update)
    found = [header for header in map(header_of, await mailbox.next()) if header["kind"] == "boxes"]
    assert sorted((header["camera"], header["at"]) for header in found) == [("a", 2.0), ("b", 2.0)]


async def test_frames_that_arrive_at_once_are_distinguished() -> None:
    """One read of a socket brings several; their boxes are not each other's."""
    mailbox = TileMailbox()
    mailbox.put(Tile("a", FrameTimes(1.0, 0.04), (640, 360), b"jpeg"))
    mailbox.put(boxes("a", 1.0, 0.0))
    assert [header["kind"] for header in map(header_of, await mailbox.next())] == ["tile"]
    mailbox.put(boxes("a", 1.0, 0.04))
    (found,) = map(header_of, await mailbox.next())
    assert found["frame"] == "1.0/0.04"


async def test_tiles_of_one_camera() -> None:
    mailbox = TileMailbox("a")
    for update in (tile("b", 1.0), tile("a", 1.0), boxes("b", 1.0)):
        mailbox.put(update)
    assert [header["camera"] for header in map(header_of, await mailbox.next())] == ["a"]


async def test_the_state_is_said_at_once_where_it_changes_and_else_each_second() -> None:
    now = [0.0]
    mailbox = TileMailbox(clock=lambda: now[0])
    mailbox.put(status())
    assert len(await mailbox.next()) == 1
    for now[0], update, is_said in (
        (0.25, status(fps_inspected=11.0), False),
        (0.5, status(state="RECONNECTING", inspecting=False), True),
        (0.75, NoRun("gone"), True),
        (1.0, NoRun("gone"), False),
        (2.0, NoRun("gone"), True),
    ):
        mailbox.put(update)
        mailbox.put(tile("a", now[0]))
        kinds = [header_of(sent)["kind"] for sent in await mailbox.next()]
        assert ("status" in kinds) == is_said, now


async def test_a_video_begins_with_its_start_and_a_keyframe() -> None:
    """Boxes go first, so that they are there when their frame is painted."""
    mailbox = VideoMailbox("cam01", clock=lambda: 5.0)
    start = VideoStart("cam01", "avc1.42C01E", b"init")
    for update in (start, frame(1.0), frame(2.0, keyframe=True), frame(3.0), boxes("cam01", 3.0), boxes("cam02", 3.0)):
        mailbox.put(update)
    found = [header_of(sent) for sent in await mailbox.next()]
    assert [header["kind"] for header in found] == ["boxes", "start", "frame", "frame"]
    assert [header["at"] for header in found[2:]] == [2.0, 3.0]
    assert found[3]["age_s"] == 2.0
    assert mailbox.dropped == 1


async def test_boxes_go_with_the_next_frame_or_soon_alone() -> None:
    """A camera may send a frame every ten seconds; its boxes do not wait for that."""
    mailbox = VideoMailbox("cam01")
    mailbox.put(boxes("cam01", 1.0))
    waiting = asyncio.ensure_future(mailbox.next())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    mailbox.put(frame(1.0, keyframe=True))
    assert [header_of(sent)["kind"] for sent in await waiting] == ["boxes", "frame"]
    mailbox.put(boxes("cam01", 2.0))
    assert [header_of(sent)["kind"] for sent in await mailbox.next()] == ["boxes"]


async def test_a_slow_browser_gets_what_begins_with_a_keyframe() -> None:
    """Too many bytes, or too old: all that waits goes, and what refers to it."""
    for size, apart_s in ((MOST_BYTES // 4, 0.01), (100, MOST_S / 4)):
        mailbox = VideoMailbox("cam01")
        for number in range(20):
            mailbox.put(frame(number * apart_s, keyframe=number in {0, 9, 18}, size=size))
        found = [header_of(sent) for sent in await mailbox.next()]
        assert found[0]["keyframe"]
        assert found[-1]["at"] == 19 * apart_s
        assert mailbox.dropped == 20 - len(found) > 0


async def test_a_start_replaces_what_waits() -> None:
    """What came before it needs another one."""
    mailbox = VideoMailbox("cam01")
    mailbox.put(VideoStart("cam01", "avc1.42C01E", b"one"))
    mailbox.put(frame(1.0, keyframe=True))
    mailbox.put(VideoStart("cam01", "avc1.640028", b"two"))
    assert [header_of(sent) for sent in await mailbox.next()] == [{"kind": "start", "codec": "avc1.640028"}]
