# SPDX-License-Identifier: AGPL-3.0-or-later
"""Frames that are kept for a moment: bounded in number and memory, whoever holds them."""

from __future__ import annotations

import itertools
import weakref
from dataclasses import dataclass

import av

from vision_line.frames import Frame
from vision_line.ports import HostCopyable
from vision_line.records.frame_copy import own_copy

#: Frames at once, of all cameras, and the memory that they may take: 24 of 1920 x 1080 are 75 MB.
MOST_FRAMES = 24
MOST_BYTES = 96_000_000
#: Of a frame that is not FFmpeg's it is only known that a pixel takes no more.
_BYTES_A_PIXEL = 3


@dataclass(slots=True, weakref_slot=True, eq=False)
class HeldFrame:
    """A frame that outlives its inspection; `frame` is replaced by its copy where it lies in a device's memory."""

    frame: Frame

    @property
    def is_on_device(self) -> bool:
        """Whether its pixels are not in the host's memory."""
        return isinstance(self.frame.data, HostCopyable)


class HeldFrames:
    """Counts the frames that are held; one thread holds, any may let go."""

    def __init__(self, most_frames: int = MOST_FRAMES, most_bytes: int = MOST_BYTES) -> None:
        self._most_frames = most_frames
        self._most_bytes = most_bytes
        self._tokens = itertools.count()
        self._sizes: dict[int, int] = {}  # a dict's own steps need no lock

    def hold(self, frame: Frame) -> HeldFrame | None:
        """Return `frame` with pixels of its own, None where there is no room; nobody holding it any more lets it go."""
        size = frame_bytes(frame)
        sizes = tuple(self._sizes.values())
        if len(sizes) >= self._most_frames or sum(sizes) + size > self._most_bytes:
            return None
        held, token = HeldFrame(own_copy(frame)), next(self._tokens)
        self._sizes[token] = size
        weakref.finalize(held, self._sizes.pop, token).atexit = False
        return held

    @property
    def held_bytes(self) -> int:
        """Memory of the frames that are held now."""
        return sum(tuple(self._sizes.values()))


def frame_bytes(frame: Frame) -> int:
    """Return how much memory a frame's pixels take, at most."""
    if isinstance(frame.data, av.VideoFrame):
        return sum(plane.buffer_size for plane in frame.data.planes)
    return frame.size_wh[0] * frame.size_wh[1] * _BYTES_A_PIXEL
