# SPDX-License-Identifier: AGPL-3.0-or-later
"""The newest encoded frames of each camera: bounded in time and, over all cameras, in memory."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from itertools import chain
from math import inf
from typing import NamedTuple

from vision_line.encoded import EncodedFrame
from vision_line.ports import EncodedVideo, VideoPacket

#: What a frame takes beside its bytes: the packet, its buffer, its place here. Measured by `benchmarks.clips`.
FRAME_BYTES = 700
#: Frames are kept for longer than a clip reaches back: an event is known only once it is confirmed, and where
#: inspections are few that takes almost as long as a part stays in view.
CONFIRMATION_S = 8.0
#: Times that go back by less are of frames that are shown in another order; further back a camera's clock was set.
SET_BACK_S = 1.0


def memory_of(size: int) -> int:
    """Return what a frame of so many bytes takes; 3 % are lost between blocks of different sizes."""
    return size + (size >> 5) + FRAME_BYTES


@dataclass(slots=True)
class VideoHeader:
    """What is known of a video without its frames: its codec, parameters, and FFmpeg's options for it.

    `reorders`: its frames are not shown in the order in which they come.
    """

    codec: str
    extradata: bytes
    options: dict[str, str]
    reorders: bool = False


class RingFrame(NamedTuple):
    """A whole frame; `number` counts all that came, so that a jump is a hole. Its packet is not to be changed."""

    number: int
    packet: VideoPacket
    header: VideoHeader
    keyframe: bool
    arrived_s: float
    arrived_utc: float
    pts_s: float | None


@dataclass(slots=True)
class _Group:
    """A keyframe and what refers to it."""

    begins_s: float
    frames: list[RingFrame] = field(default_factory=list)
    size: int = 0


class RingMemory:
    """What all rings may take together, in bytes; where it is short, those with more than their share make room."""

    def __init__(self, max_bytes: int) -> None:
        """Begin with no ring."""
        self._max_bytes = max_bytes
        self._used = 0
        self._rings = 0
        self._lock = threading.Lock()

    @property
    def used(self) -> int:
        """What is taken now."""
        return self._used

    def join(self, rings: int) -> None:
        """Share it among so many rings more, or fewer."""
        with self._lock:
            self._rings += rings

    def take(self, size: int) -> None:
        """Take account of what a ring gets, or, below 0, lets go."""
        with self._lock:
            self._used += size

    def is_short_for(self, size: int) -> bool:
        """Whether a ring that takes `size` has to let go of something."""
        return self._used > self._max_bytes and size * max(1, self._rings) > self._max_bytes


class Ring:
    """The newest frames of one camera in whole groups of pictures: an `EncodedTap`, read by the thread of the clips."""

    def __init__(self, memory: RingMemory, pre_s: float) -> None:
        """Keep what an event may reach back to, `pre_s` before its first sight, and one group more."""
        memory.join(1)
        self._memory = memory
        self._keep_s = pre_s + CONFIRMATION_S
        self._groups: deque[_Group] = deque()
        self._size = 0
        self._number = 0
        self._awaits_key = True
        self._origin: EncodedVideo | None = None
        self._header = VideoHeader("", b"", {})
        self._newest_pts_s = -inf
        self._lock = threading.Lock()

    def saw(self, encoded: EncodedFrame) -> None:
        """Keep a whole frame; of what refers to a damaged or missing one nothing."""
        packet, origin = encoded.packet, encoded.origin
        with self._lock:
            if packet is None or origin is None or encoded.damaged:
                self._pass_over(encoded)
            else:
                self._take(encoded, packet, origin)
            self._evict(encoded.arrived_s)

    def expire(self, now_s: float) -> None:
        """Let go of what is too old, though nothing comes."""
        with self._lock:
            self._evict(now_s)
            if self._groups and self._groups[-1].frames[-1].arrived_s < now_s - self._keep_s:
                self._clear()

    def beginning(self, at_s: float) -> int:
        """Return the number before the keyframe that a clip from `at_s` on begins with: the last one by then."""
        with self._lock:
            numbers = [group.frames[0].number for group in self._groups if group.begins_s <= at_s]
            return (numbers[-1] if numbers else self._groups[0].frames[0].number if self._groups else 1) - 1

    def since(self, number: int) -> list[RingFrame]:
        """Return what is kept of the frames behind `number`, in their order."""
        with self._lock:
            groups = [group.frames for group in self._groups if group.frames[-1].number > number]
            return [frame for frame in chain.from_iterable(groups) if frame.number > number]

    def close(self) -> None:
        """Let go of everything; the camera is not inspected any more."""
        with self._lock:
            self._clear()
            self._memory.join(-1)

    def _clear(self) -> None:
        while self._groups:
            self._drop()
        self._awaits_key = True

    def _pass_over(self, encoded: EncodedFrame) -> None:
        """Take account of a frame that is not whole: what follows refers to it, up to the next keyframe."""
        if encoded.damaged:
            self._number += 1
            self._awaits_key = True

    def _take(self, encoded: EncodedFrame, packet: VideoPacket, origin: EncodedVideo) -> None:
        if origin is not self._origin:
            self._begin(origin)
        self._number += 1
        if encoded.keyframe:
            self._groups.append(_Group(encoded.arrived_s))
            self._awaits_key = False
        elif self._awaits_key:
            return
        if (pts_s := encoded.pts_s) is not None:
            if self._newest_pts_s - SET_BACK_S < pts_s < self._newest_pts_s:
                self._header.reorders = True
            self._newest_pts_s = pts_s
        group, size = self._groups[-1], memory_of(packet.size)
        arrived = encoded.arrived_s, encoded.arrived_utc
        group.frames.append(RingFrame(self._number, packet, self._header, encoded.keyframe, *arrived, pts_s))
        group.size += size
        self._size += size
        self._memory.take(size)

    def _begin(self, origin: EncodedVideo) -> None:
        context = origin.codec_context
        options = {name: str(value) for name, value in (context.options or {}).items()}
        self._origin, self._header = origin, VideoHeader(context.name, bytes(context.extradata or b""), options)
        self._awaits_key, self._newest_pts_s = True, -inf

    def _evict(self, now_s: float) -> None:
        groups = self._groups
        while len(groups) > 1 and groups[1].begins_s <= now_s - self._keep_s:
            self._drop()
        while groups and self._memory.is_short_for(self._size):
            self._drop()
            self._awaits_key = self._awaits_key or not groups

    def _drop(self) -> None:
        group = self._groups.popleft()
        self._size -= group.size
        self._memory.take(-group.size)
