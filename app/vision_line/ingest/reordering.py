# SPDX-License-Identifier: AGPL-3.0-or-later
"""What lies between a frame's way into a decoder and its showing, where the decoder gives frames in another order.

Where a frame is damaged, those decoded after it may refer to it. The decoder says so of the damaged one alone, and only
when that comes out: B-frames that refer to it come out before it, and later frames are inside by then. So a frame that
comes out before one that was decoded earlier is held until that one has come, and damage takes all that was decoded
after it. Without B-frames nothing is ever held.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from math import inf, isfinite

from vision_line.encoded import EncodedFrame
from vision_line.ports import DecodedFrame

#: No more are held: as many as H.264 and H.265 may reorder. Beyond it what is waited for never comes.
MAX_HELD = 16
MAX_INSIDE = 64  # frames that are remembered while they are inside the decoder
#: The place of a frame without a presentation time, which cannot be known again when it comes out.
UNKNOWN = 0
_NO_TICKS = -(1 << 62)


class Reordering:
    """Follows one decoder's frames. Used by the camera's thread; pure."""

    def __init__(self) -> None:
        """Begin with an empty decoder."""
        self._inside: dict[int, tuple[int, EncodedFrame]] = {}  # by presentation time, in the order of decoding
        self._passed: dict[int, tuple[int, EncodedFrame]] = {}  # such that are no longer waited for
        self._held: deque[tuple[int, DecodedFrame, EncodedFrame]] = deque()  # in the order of display
        self._entered = UNKNOWN
        self._is_damaged = False  # frames that are not known again may refer to damaged ones
        self._has_key = True  # a keyframe has entered since there was damage
        self._shown_ticks = _NO_TICKS  # presentation time of the frame that came out last

    @property
    def holds(self) -> bool:
        """Whether frames are held."""
        return bool(self._held)

    def clear(self) -> None:
        """Forget all: the decoder is gone."""
        self._inside.clear()
        self._passed.clear()
        self._held.clear()

    def enter(self, frame: EncodedFrame) -> None:
        """Remember a frame that is decoded next. It should have no packet by then: some frames never come out."""
        self._entered += 1
        if frame.keyframe:
            self._has_key = True
        if frame.pts_s is None:
            return
        ticks = _ticks(frame.pts_s)
        self._inside.pop(ticks, None)
        if len(self._inside) >= MAX_INSIDE:
            self._pass_over(next(iter(self._inside)))
        self._inside[ticks] = self._entered, frame

    def refuse(self) -> None:
        """Note that the decoder refused the frame that entered last. Some give a part of it later all the same."""
        if self._inside and self._inside[newest := next(reversed(self._inside))][0] == self._entered:
            self._pass_over(newest)

    def leave(self, decoded: DecodedFrame, newest: EncodedFrame) -> tuple[int, EncodedFrame]:
        """Return which frame has come out, and its place in the order of decoding; else UNKNOWN and `newest`."""
        if decoded.keyframe and self._has_key:
            self._is_damaged = False
        if decoded.pts_s is not None and isfinite(decoded.pts_s):
            ticks = _ticks(decoded.pts_s)
        else:  # FFmpeg's flush gives frames without a time, in display order
            ticks = min((ticks for ticks in self._inside if ticks > self._shown_ticks), default=self._shown_ticks)
        self._shown_ticks = ticks
        found = self._inside.pop(ticks, None) or self._passed.pop(ticks, None)
        if found is None:
            return UNKNOWN, newest
        if self._oldest() < found[0]:
            self._pass_over_earlier(found[0], ticks)
        return found

    def is_lost(self, place: int, decoded: DecodedFrame) -> bool:
        """Whether the frame that has left may show damage: by its decoder's word, or since it cannot be known again."""
        return decoded.corrupt or (place == UNKNOWN and self._is_damaged)

    def waits(self, place: int) -> bool:
        """Whether a frame that has left is to be held."""
        return bool(self._held) or self._oldest() < place

    def hold(self, place: int, decoded: DecodedFrame, frame: EncodedFrame) -> None:
        """Hold a frame that has left."""
        self._held.append((place, decoded, frame))
        while len(self._held) > MAX_HELD and self._oldest() < self._held[0][0]:
            self._pass_over(next(iter(self._inside)))

    def release(self) -> Iterator[tuple[DecodedFrame, EncodedFrame]]:
        """Yield those frames that were held and wait for no other any more."""
        while self._held and self._held[0][0] < self._oldest():
            _, decoded, frame = self._held.popleft()
            yield decoded, frame

    def end(self) -> None:
        """Note that the decoder is empty: nothing is waited for."""
        self._inside.clear()
        self._passed.clear()

    def lose(self, place: int | None = None) -> list[EncodedFrame]:
        """Note damage, of the frame at `place` or of one that was not decoded; return what was decoded later.

        None of those is to be shown: the ones that are held are gone, and the others may still come out.
        """
        self._is_damaged, self._has_key = True, False
        if place is None:
            return []
        later = [frame for other, _, frame in self._held if other > place]
        self._held = deque(held for held in self._held if held[0] <= place)
        inside = (*self._passed.values(), *self._inside.values())
        return later + [frame for other, frame in inside if other > place]

    def _oldest(self) -> float:
        """Return the place of the frame inside that was decoded first."""
        return next(iter(self._inside.values()))[0] if self._inside else inf

    def _pass_over_earlier(self, place: int, ticks: int) -> None:
        """Wait no longer for frames that should have come out before this one, were decoded before it, and have not."""
        for other in [other for other, (earlier, _) in self._inside.items() if earlier < place and other < ticks]:
            self._pass_over(other)

    def _pass_over(self, ticks: int) -> None:
        """Wait no longer for a frame. It may still come, where times are not those of display."""
        self._passed[ticks] = self._inside.pop(ticks)
        if len(self._passed) > MAX_HELD:
            del self._passed[next(iter(self._passed))]


def _ticks(pts_s: float) -> int:
    """Return a presentation time in units of 10 microseconds: equal however it was computed."""
    return round(pts_s * 1e5)
