# SPDX-License-Identifier: AGPL-3.0-or-later
"""What waits for one browser: the newest of what replaces itself, and of a video no more than can be caught up with.

A browser that reads slowly gets fewer tiles, and of a video what begins with a keyframe. In the event loop's thread.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from vision_line.desk.live.feed_follower import LiveWish
from vision_line.desk.live.live_updates import (
    FrameBoxes,
    FrameTimes,
    LiveUpdate,
    NoRun,
    RunStatus,
    Sent,
    Tile,
    VideoFrame,
    VideoStart,
    packed_binary,
)
from vision_line.desk.live.run_status import no_run_words, run_words, states_of
from vision_line.feed.protocol import Header
from vision_line.feed.wants import EVERY_CAMERA

#: Of a video that waits: more is dropped up to the next keyframe.
MOST_BYTES = 4_000_000
MOST_S = 2.0
#: Boxes that wait for a browser that does not read.
_MOST_BOXES = 64
#: How often the run's state is said where nothing of it changed, in seconds; snapshots come each second, or a little
#: sooner.
STATUS_EVERY_S = 0.8
#: What is to be shown on tiles goes out together, no sooner than this after the last of it, in seconds: each message
#: alone costs more than what is in it.
TOGETHER_S = 0.25
#: How long boxes of a video wait for a frame to go with, in seconds: less than a page is behind the newest frame.
WITH_FRAME_S = 0.05


@dataclass(frozen=True, slots=True)
class _Status:
    """What was said last, and when."""

    states: object = ""
    at_s: float = float("-inf")


class _Waiting:
    """What both mailboxes have: the run's state, and waking up who sends."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._wakes = asyncio.Event()
        self._later: asyncio.TimerHandle | None = None
        self._status: RunStatus | NoRun | None = None
        self._said = _Status()

    async def wait(self) -> None:
        """Return when something waits."""
        await self._wakes.wait()
        self._wakes.clear()
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def wake(self) -> None:
        """Say that something waits."""
        self._wakes.set()

    def wake_within(self, seconds: float) -> None:
        """Say that something waits that may go with the next that comes, or alone after this time."""
        if self._later is None:
            self._later = asyncio.get_running_loop().call_later(seconds, self.wake)

    def put_status(self, update: RunStatus | NoRun) -> None:
        """Take the run's state, if it is new or due."""
        states = states_of(update.snapshot) if isinstance(update, RunStatus) else None
        now_s = self.clock()
        if states != self._said.states or now_s - self._said.at_s >= STATUS_EVERY_S:
            self._said, self._status = _Status(states, now_s), update
            self.wake()

    def take_status(self, camera: str | None) -> list[Sent]:
        """Return the state that waits, of one camera or of all; in a request, whose clock is the plant's."""
        update, self._status = self._status, None
        if update is None:
            return []
        words = run_words(update.snapshot) if isinstance(update, RunStatus) else no_run_words(update.reason)
        if camera is not None:
            words["cameras"] = [one for one in words["cameras"] if one["name"] == camera]
        return [json.dumps(words)]


class TileMailbox:
    """Tiles of all cameras, or of one, with the boxes of their frames."""

    def __init__(self, camera: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.wish = LiveWish(tiles=frozenset({camera or EVERY_CAMERA}))
        self._camera = camera
        self._waiting = _Waiting(clock)
        self._tiles: dict[str, Tile] = {}
        self._boxes: dict[str, FrameBoxes] = {}
        self._shown: dict[str, FrameTimes] = {}  # the newest tile's frame
        self._found: dict[str, deque[FrameBoxes]] = {}
        self._sent_s = float("-inf")

    def put(self, update: LiveUpdate) -> None:
        """Take an update; a tile replaces the camera's that still waits."""
        match update:
            case RunStatus() | NoRun():
                self._waiting.put_status(update)
            case Tile() if self._camera in {None, update.camera}:
                self._tiles[update.camera] = update
                self._shown[update.camera] = update.times
                self._match(update.camera)
                self._waiting.wake()
            case FrameBoxes() if self._camera in {None, update.camera}:
                self._found.setdefault(update.camera, deque(maxlen=_MOST_BOXES)).append(update)
                self._match(update.camera)

    async def next(self) -> list[Sent]:
        """Wait, and return what is to be sent now."""
        await self._waiting.wait()
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._sent_s + TOGETHER_S - loop.time())
        self._sent_s = loop.time()
        sent = self._waiting.take_status(self._camera)
        tiles, self._tiles = self._tiles, {}
        boxes, self._boxes = self._boxes, {}
        sent += [packed_binary(_tile_header(tile, self._waiting.clock()), tile.jpeg) for tile in tiles.values()]
        sent += [json.dumps(boxes_message(found)) for found in boxes.values()]
        return sent

    def _match(self, camera: str) -> None:
        """Have the boxes of the newest tile's frame sent, once both are there."""
        found = self._found.get(camera, ())
        for boxes in found:
            if boxes.times == self._shown.get(camera):
                self._boxes[camera] = boxes
                self._waiting.wake()


class VideoMailbox:
    """One camera's video, frame by frame, with the boxes of its frames."""

    def __init__(self, camera: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.wish = LiveWish(focused=frozenset({camera}))
        self.dropped = 0  # frames that this browser was too slow for
        self._camera = camera
        self._waiting = _Waiting(clock)
        self._start: VideoStart | None = None
        self._frames: deque[VideoFrame] = deque()
        self._size = 0
        self._awaits_key = True
        self._boxes: deque[FrameBoxes] = deque(maxlen=_MOST_BOXES)

    def put(self, update: LiveUpdate) -> None:
        """Take an update."""
        match update:
            case RunStatus() | NoRun():
                self._waiting.put_status(update)
            case VideoStart() if update.camera == self._camera:
                self._clear()
                self._start = update
                self._waiting.wake()
            case VideoFrame() if update.camera == self._camera:
                self._put_frame(update)
            case FrameBoxes() if update.camera == self._camera:
                self._boxes.append(update)
                self._waiting.wake_within(WITH_FRAME_S)

    async def next(self) -> list[Sent]:
        """Wait, and return what is to be sent now: boxes first, so that they are there before their frame is shown."""
        await self._waiting.wait()
        sent = self._waiting.take_status(self._camera)
        sent += [json.dumps(boxes_message(found)) for found in self._boxes]
        self._boxes.clear()
        if self._start is not None:
            sent.append(packed_binary({"kind": "start", "codec": self._start.codec}, self._start.segment or b""))
            self._start = None
        now_s = self._waiting.clock()
        sent += [packed_binary(_frame_header(frame, now_s), frame.segment) for frame in self._frames]
        self._frames.clear()
        self._size = 0
        return sent

    def _put_frame(self, frame: VideoFrame) -> None:
        if self._frames and self._is_behind(frame):
            self._clear()
        if self._awaits_key and not frame.keyframe:
            self.dropped += 1
            return
        self._awaits_key = False
        self._frames.append(frame)
        self._size += len(frame.segment)
        self._waiting.wake()

    def _is_behind(self, frame: VideoFrame) -> bool:
        """Whether more waits, with this frame, than can be caught up with."""
        waited_s = frame.times.arrived_s - self._frames[0].times.arrived_s
        return waited_s > MOST_S or self._size + len(frame.segment) > MOST_BYTES

    def _clear(self) -> None:
        """Let go of the frames that wait; the next one is a keyframe."""
        self.dropped += len(self._frames)
        self._frames.clear()
        self._size = 0
        self._awaits_key = True


def boxes_message(found: FrameBoxes) -> Header:
    """Return the boxes of a frame as they are sent: `frame` names it, `at` is when it arrived, `size` is its own."""
    named = {"kind": "boxes", "camera": found.camera, **_named(found.times)}
    return {**named, "size": found.size_wh, "boxes": found.boxes}


def _tile_header(tile: Tile, now_s: float) -> dict[str, object]:
    named = {"kind": "tile", "camera": tile.camera, **_named(tile.times), "size": tile.size_wh}
    return {**named, "age_s": now_s - tile.times.arrived_s}


def _frame_header(frame: VideoFrame, now_s: float) -> dict[str, object]:
    named = {"kind": "frame", **_named(frame.times), "media_s": frame.media_s, "keyframe": frame.keyframe}
    return {**named, "age_s": now_s - frame.times.arrived_s}


def _named(times: FrameTimes) -> Header:
    return {"frame": f"{times.arrived_s!r}/{times.pts_s!r}", "at": times.arrived_s}
