# SPDX-License-Identifier: AGPL-3.0-or-later
"""A camera's encoded frames as the segments that a browser's Media Source takes; nothing is decoded or encoded."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from io import BytesIO

import av

from vision_line.desk.live.codec_strings import codec_string
from vision_line.desk.live.live_updates import VideoFrame, VideoStart, times_of
from vision_line.desk.live.mp4_fragments import SampleTimes, fragment
from vision_line.desk.live.tile_maker import StreamHeader
from vision_line.feed.protocol import FeedMessage
from vision_line.records.clips.clip_clock import CLOCK_HZ, ClipClock
from vision_line.records.clips.nal_units import byte_stream, kind_of, parameter_sets, sets_of_header, split_units

logger = logging.getLogger(__name__)

#: By FFmpeg's names: what Media Source takes as it comes.
PLAYED = frozenset({"h264", "hevc"})
#: Units that a segment does not have: the initialization segment has the parameter sets, and delimiters say nothing.
_LEFT_OUT = {"h264": frozenset({7, 8, 9}), "hevc": frozenset({32, 33, 34, 35})}
#: A frame may stay for so long, in seconds. A browser takes a longer pause than twice that as a loss up to the next
#: keyframe, and one that has nothing to show meanwhile would stall.
_STAYS_S = 0.5
#: Times that go back by less are of frames that are shown in another order; further back a camera's clock was set.
_SET_BACK_S = 1.0
_TIME_BASE = Fraction(1, CLOCK_HZ)


class Packager:
    """Makes segments of one camera's frames, from a keyframe on, over all its connections. Used by one thread."""

    def __init__(self, camera: str) -> None:
        self.camera = camera
        self._header: StreamHeader | None = None
        self._sets: tuple[bytes, ...] = ()
        self._clock = ClipClock(reorders=False)
        self._reorders = False
        self._number = 0
        self._awaits_key = True
        self._newest_pts_s = float("-inf")
        self._arrived_s = 0.0

    def take(self, header: StreamHeader, frame: FeedMessage) -> Iterator[VideoStart | VideoFrame]:
        """Yield what a frame of the feed, which belongs to `header`, becomes; first a start where one is needed."""
        said = frame.header
        if not said["intact"]:
            self._awaits_key = True
            return
        if header is not self._header and not said["keyframe"]:
            return
        if header.codec not in PLAYED:
            if header is not self._header:
                self._header = header
                yield VideoStart(self.camera, header.codec, None)
            return
        try:
            units = split_units(byte_stream(header.codec, header.extradata, frame.payload))
            if said["keyframe"]:
                yield from self._begin(header, units)
        except (av.FFmpegError, ValueError) as exc:
            logger.info("camera %s: a frame cannot be shown: %s", self.camera, exc)
            self._awaits_key = True
            return
        if not self._awaits_key:
            yield self._frame(header.codec, units, frame)

    def _begin(self, header: StreamHeader, units: list[bytes]) -> Iterator[VideoStart]:
        """Take the parameter sets of a keyframe; other ones than before, or another connection, begin anew."""
        data = b"".join(b"\0\0\0\1" + unit for unit in units[:16])
        own = parameter_sets(header.codec, data)
        if header is self._header and (not own or own == self._sets) and not self._restarts_for_order():
            self._awaits_key = False
            return
        stream = sets_of_header(header.codec, header.extradata) + b"".join(b"\0\0\0\1" + unit for unit in units)
        sets = own or parameter_sets(header.codec, stream)
        codec = codec_string(header.codec, sets)
        self._header, self._sets, self._awaits_key = header, own, codec is None
        self._clock, self._number = ClipClock(reorders=self._reorders), 0
        segment = initialization_segment(header.codec, stream) if codec else None
        yield VideoStart(self.camera, codec or header.codec, segment)

    def _restarts_for_order(self) -> bool:
        """Whether frames turned out to be shown in another order than they come."""
        return self._reorders and not self._clock.reorders

    def _frame(self, codec: str, units: list[bytes], frame: FeedMessage) -> VideoFrame:
        said = frame.header
        named = times_of(said)
        arrived_s = named.arrived_s
        self._note_order(named.pts_s)
        pts, dts = self._clock.stamp(*named)
        stays_s = max(_STAYS_S, 1.5 * (arrived_s - self._arrived_s)) if self._number else _STAYS_S
        self._arrived_s = arrived_s
        self._number += 1
        kept = [unit for unit in units if kind_of(codec, unit) not in _LEFT_OUT[codec]]
        times = SampleTimes(pts, dts, round(stays_s * CLOCK_HZ))
        segment = fragment(self._number, times, kept, keyframe=said["keyframe"])
        return VideoFrame(self.camera, named, pts / CLOCK_HZ, said["keyframe"], segment)

    def _note_order(self, pts_s: float | None) -> None:
        if pts_s is not None:
            self._reorders |= self._newest_pts_s - _SET_BACK_S < pts_s < self._newest_pts_s
            self._newest_pts_s = pts_s


def initialization_segment(codec: str, keyframe: bytes) -> bytes:
    """Return `ftyp` and `moov` of an MP4 for the video that begins with this keyframe, a byte stream with its sets.

    Raises:
        av.FFmpegError, ValueError: libavformat cannot make one of it.
    """
    written = BytesIO()
    container = av.open(written, "w", format="mp4", options={"movflags": "empty_moov+default_base_moof+frag_custom"})
    try:
        with av.open(BytesIO(keyframe), format=codec) as source:
            stream = container.add_stream_from_template(source.streams.video[0])
        stream.time_base = _TIME_BASE
        container.start_encoding()
        return written.getvalue()
    finally:
        container.close()
