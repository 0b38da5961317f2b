# SPDX-License-Identifier: AGPL-3.0-or-later
"""Measures what a camera sends before it is decoded: keyframes, frame rate, bit rate, and the camera's clock."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from vision_line.encoded import EncodedFrame

#: So many intervals between keyframes tell whether they are regular.
_ENOUGH_INTERVALS = 3
_ENOUGH_S = 3.0
#: Cameras report their clock every five seconds or so (RFC 3550 6.2), most at once as well.
_CLOCK_WAIT_S = 6.0


@dataclass(frozen=True, slots=True)
class SentVideo:
    """What came in `seconds` of the camera's own time.

    `keyframe_gaps_s` are the whole intervals between keyframes, and `open_gap_s` is the one that had not ended.
    `clock_offset_s` is how far the camera's clock is ahead of ours (None: it sends none).
    """

    frames: int = 0
    seconds: float = 0.0
    keyframes: int = 0
    keyframe_gaps_s: tuple[float, ...] = ()
    open_gap_s: float = 0.0
    size_bytes: int = 0
    clock_offset_s: float | None = None

    @property
    def longest_gap_s(self) -> float:
        """The longest time from one keyframe to the next that is known."""
        return max((*self.keyframe_gaps_s, self.open_gap_s))

    @property
    def fps(self) -> float | None:
        """Frames a second by the camera's own times; None where too few came."""
        return (self.frames - 1) / self.seconds if self.frames > 1 and self.seconds > 0 else None

    @property
    def megabits_per_s(self) -> float | None:
        """Bit rate; None where too little came."""
        return self.size_bytes * 8e-6 / self.seconds if self.seconds > 0 else None

    @property
    def is_telling(self) -> bool:
        """Whether more of it would tell little more."""
        is_long = self.seconds >= _ENOUGH_S and len(self.keyframe_gaps_s) >= _ENOUGH_INTERVALS
        return is_long and (self.clock_offset_s is not None or self.seconds >= _CLOCK_WAIT_S)


class StreamMeter:
    """An `EncodedTap` that measures. The camera's thread writes, any other may read `sent`."""

    def __init__(self) -> None:
        self._times: list[float] = []  # the camera's own, in the order of arrival
        self._keys: list[float] = []
        self._size_bytes = 0
        self._clock_offset_s: float | None = None

    def saw(self, encoded: EncodedFrame, /) -> None:
        """Take note of a frame."""
        if encoded.packet is None:
            return
        at_s = encoded.arrived_s if encoded.pts_s is None else encoded.pts_s
        self._size_bytes += encoded.packet.size
        if encoded.camera_utc is not None:  # the frame that came soonest tells the clock best
            ahead_s = encoded.camera_utc - encoded.arrived_utc
            self._clock_offset_s = ahead_s if self._clock_offset_s is None else max(self._clock_offset_s, ahead_s)
        if encoded.keyframe:
            self._keys.append(at_s)
        self._times.append(at_s)

    @property
    def sent(self) -> SentVideo:
        """What was measured so far."""
        times, keys = tuple(self._times), tuple(self._keys)
        if not times:
            return SentVideo()
        return SentVideo(
            frames=len(times),
            seconds=max(times) - min(times),
            keyframes=len(keys),
            keyframe_gaps_s=tuple(after - before for before, after in pairwise(keys)),
            open_gap_s=max(0.0, max(times) - keys[-1]) if keys else max(times) - min(times),
            size_bytes=self._size_bytes,
            clock_offset_s=self._clock_offset_s,
        )
