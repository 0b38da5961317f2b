# SPDX-License-Identifier: AGPL-3.0-or-later
"""A recording's own time: without the jumps of clocks that were set while it was made, and thinned to a rate. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import av

from vision_line.pacing import next_turn
from vision_line.ports import VideoPacket

#: A longer way from one frame to the next is taken for a clock that was set, unless the frames are that far apart.
MAX_GAP_S = 10.0
GAP_PERIODS = 10.0
DEFAULT_PERIOD_S = 1 / 25
_ROUNDING_S = 1e-3  # containers round times to milliseconds

#: This many frames before the splice may bear the mark: FFmpeg's parser gives it to the one before the last.
MOST_MARKED = 3
#: Of these codecs FFmpeg itself notices a frame that was cut short.
CODECS = frozenset({"h264"})


class FileTimeline:
    """Puts the decoding times of one video, in the order of its packets, onto a time that begins at 0 and never jumps.

    A camera that restarts, a clock that is set and a counter that wraps around leave a gap or a step back between two
    frames. Either is replaced by the distance between the two frames before, and so is a missing time.
    """

    def __init__(self, period_s: float = DEFAULT_PERIOD_S) -> None:
        """Begin before the first packet; `period_s` is the distance of frames as long as none was seen."""
        self._period_s = period_s
        self._last_s: float | None = None
        self._at_s = 0.0
        self.jumped = False  # whether the packet that was placed last came behind a jump

    def place(self, time_s: float | None) -> float:
        """Return the place in seconds of the next packet, whose own time is `time_s`; places never decrease."""
        if self._last_s is None:  # the first
            self._last_s = 0.0 if time_s is None else time_s
            return self._at_s
        if time_s is None:
            time_s = self._last_s + self._period_s
        step_s = time_s - self._last_s
        self._last_s = time_s
        self.jumped = not 0.0 <= step_s <= max(MAX_GAP_S, GAP_PERIODS * self._period_s) + _ROUNDING_S
        if self.jumped:
            step_s = self._period_s
        elif step_s > 0.0:
            self._period_s = step_s
        self._at_s += step_s
        return self._at_s


class RateCap:
    """Limits a recording to a frame rate by its own time, evenly spread."""

    def __init__(self, fps: float | None) -> None:
        """Let through `fps` frames a second; None: all."""
        self._period_s = 1.0 / fps if fps else 0.0
        self._due_s = self._last_s = -math.inf

    def lets_through(self, at_s: float) -> bool:
        """Whether the frame at `at_s`, in the order of display, is one of them; time may begin anew."""
        if at_s < self._last_s:
            self._due_s = -math.inf
        self._last_s = at_s
        if at_s < self._due_s - _ROUNDING_S:
            return False
        self._due_s = next_turn(self._due_s, at_s, self._period_s)
        return True


def placed_packets(
    packets: Iterable[VideoPacket], timeline: FileTimeline, codec: str
) -> Iterator[tuple[VideoPacket, float | None]]:
    """Yield each packet with its place on `timeline`; the empty one at the end has none.

    A recorder puts one part behind another when its camera was restarted.
    MPEG-TS counts its packets, so at a splice FFmpeg marks the last frames as damaged, whole or not. Where the clock
    jumps there and a keyframe follows, the mark is removed, and the decoder decides.
    """
    held: list[tuple[VideoPacket, float | None]] = []
    for packet in packets:
        placed = (packet, timeline.place(_decoding_s(packet)) if packet.size else None)
        if held and packet.is_keyframe and timeline.jumped:
            yield from ((_unmarked(marked), at_s) for marked, at_s in held)
            held.clear()
        if codec in CODECS and (held or packet.is_corrupt) and len(held) < MOST_MARKED:
            held.append(placed)
            continue
        yield from held
        held.clear()
        yield placed
    yield from held


def _decoding_s(packet: VideoPacket) -> float | None:
    return None if packet.dts is None else float(packet.dts * packet.time_base)


def _unmarked(packet: VideoPacket) -> VideoPacket:
    whole = av.Packet(bytes(packet))
    whole.pts, whole.dts, whole.time_base = packet.pts, packet.dts, packet.time_base
    whole.is_keyframe = packet.is_keyframe
    return whole
