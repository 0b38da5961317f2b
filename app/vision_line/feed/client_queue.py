# SPDX-License-Identifier: AGPL-3.0-or-later
"""What waits for one client: bounded, and what did not fit is counted. Pure.

Each lane has its own limit, so that none starves another: a slow client loses frames before it loses results.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

#: Limits of the lanes in bytes; with the newest snapshot 4 MB in all, or a little more.
FRAMES_BYTES = 3_000_000
RESULTS_BYTES = 500_000
SURE_BYTES = 500_000

#: A message in pieces, which other clients' queues share.
Pieces = tuple[bytes, ...]


class DroppedCounts(NamedTuple):
    """How many frames of all cameras, results and snapshots a client did not get."""

    frames: int = 0
    results: int = 0
    snapshots: int = 0


@dataclass(slots=True)
class Dropped:
    """What a client did not get, since it connected."""

    frames: Counter[str] = field(default_factory=Counter)  # by camera
    results: int = 0
    snapshots: int = 0

    @property
    def counts(self) -> DroppedCounts:
        """How many there are of each kind."""
        return DroppedCounts(self.frames.total(), self.results, self.snapshots)

    def add(self, other: Dropped) -> None:
        """Count also what another client did not get."""
        self.frames += other.frames
        self.results += other.results
        self.snapshots += other.snapshots


class Lane:
    """Messages in their order, up to a number of bytes; one message alone may be larger."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._messages: deque[Pieces] = deque()
        self._size = 0

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def size(self) -> int:
        """How many bytes wait."""
        return self._size

    def push(self, message: Pieces) -> bool:
        """Take a message; return whether there was room."""
        size = sum(map(len, message))
        if self._messages and self._size + size > self._limit:
            return False
        self._messages.append(message)
        self._size += size
        return True

    def pop(self) -> Pieces:
        """Return the oldest message."""
        message = self._messages.popleft()
        self._size -= sum(map(len, message))
        return message

    def clear(self) -> None:
        """Let go of all messages."""
        self._messages.clear()
        self._size = 0


class ClientQueue:
    """The lanes of one client, in the order in which they are sent."""

    def __init__(self) -> None:
        self.dropped = Dropped()
        self._sure = Lane(SURE_BYTES)
        self._newest: dict[str, bytes] = {}  # of a kind of which only the newest message counts
        self._results = Lane(RESULTS_BYTES)
        self._frames = Lane(FRAMES_BYTES)
        self._connections: dict[str, int] = {}  # of which the client knows the video, by camera
        self._broken: set[str] = set()  # cameras of which a frame is missing: until their next keyframe

    def __bool__(self) -> bool:
        return bool(self._sure or self._newest or self._results or self._frames)

    @property
    def size(self) -> int:
        """How many bytes wait."""
        return self._sure.size + sum(map(len, self._newest.values())) + self._results.size + self._frames.size

    def sure(self, message: bytes) -> bool:
        """Take what is never dropped; return whether there was room, or the client must go."""
        return self._sure.push((message,))

    def newest(self, kind: str, message: bytes) -> None:
        """Take a message that replaces the one of its kind that still waits."""
        if kind == "snapshot" and kind in self._newest:
            self.dropped.snapshots += 1
        self._newest[kind] = message

    def result(self, message: bytes) -> None:
        """Take a result; the oldest go where there is no room."""
        while not self._results.push((message,)):
            self._results.pop()
            self.dropped.results += 1

    def frame(self, camera: str, connection: int, video: bytes, message: Pieces, *, keyframe: bool) -> None:
        """Take an encoded frame, and `video` before it where it is the first of its connection.

        The first frame is a keyframe, and so is the next one after any that did not fit.
        """
        begins = self._connections.get(camera) != connection
        if not keyframe and (begins or camera in self._broken):
            if camera in self._broken:
                self.dropped.frames[camera] += 1
            return
        if self._frames.push((video, *message) if begins else message):
            self._connections[camera] = connection
            self._broken.discard(camera)
        else:
            self.break_off(camera, 1)

    def break_off(self, camera: str, missing: int) -> None:
        """Count frames that the client cannot get; it gets none of the camera before its next keyframe."""
        self.dropped.frames[camera] += missing
        self._broken.add(camera)

    def begin(self, cameras: Sequence[str]) -> None:
        """Begin these cameras anew, with their video and a keyframe."""
        for camera in cameras:
            self._connections.pop(camera, None)
            self._broken.discard(camera)

    @property
    def cameras(self) -> list[str]:
        """The cameras whose frames the client gets now."""
        return list(self._connections)

    def clear(self) -> None:
        """Let go of all that waits."""
        self._newest.clear()
        self._sure.clear()
        self.clear_bulk()

    def clear_bulk(self) -> None:
        """Let go of results and frames that wait."""
        self._results.clear()
        self._frames.clear()

    def pop(self) -> Pieces:
        """Return the next message; there is one."""
        if self._sure:
            return self._sure.pop()
        if self._newest:
            kind = next(iter(self._newest))
            return (self._newest.pop(kind),)
        return (self._results or self._frames).pop()
