# SPDX-License-Identifier: AGPL-3.0-or-later
"""Writes encoded frames into an MP4: as they are where MP4 takes them, else encoded anew as H.264.

A clip is a fragmented MP4, a fragment for each keyframe, so that what is on the disk plays whenever it was cut off.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import cast

import av
from av.video.stream import VideoStream

from vision_line.ports import VideoPacket
from vision_line.records.clips.clip_clock import CLOCK_HZ, ClipClock
from vision_line.records.clips.nal_units import byte_stream, parameter_sets, sets_of_header
from vision_line.records.clips.ring import RingFrame

#: What libav raises for what a camera sent, and what a disk does.
MUX_ERRORS = (av.FFmpegError, OSError, ValueError, IndexError)

_TIME_BASE = Fraction(1, CLOCK_HZ)
_OPTIONS = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
#: By FFmpeg's names: what is written as it came.
_KEPT = frozenset({"h264", "hevc"})


class ClipFile(ABC):
    """An MP4 under way, from a keyframe on; all its frames have one header. Used by one thread, and to be closed."""

    def __init__(self, path: Path, first: RingFrame) -> None:
        self.path = path
        self.header = first.header
        self.first = self.last = first
        self.frames = 0
        self.undecodable = 0  # frames that are not in it: they cannot be decoded
        self._clock = ClipClock(reorders=first.header.reorders)
        self._container = av.open(str(path), "w", format="mp4", options=_OPTIONS)

    @property
    @abstractmethod
    def codec(self) -> str:
        """What its frames are encoded with."""

    @property
    def is_reencoded(self) -> bool:
        """Whether its frames are not as the camera sent them."""
        return self.codec != self.header.codec

    def continues(self, frame: RingFrame) -> bool:
        """Whether `frame` can stand in this file: it is of the same connection, and of the same parameters."""
        return frame.header is self.header

    def add(self, frame: RingFrame) -> None:
        """Append the next frame.

        Raises:
            *MUX_ERRORS: it cannot be written.
        """
        pts, dts = self._clock.stamp(frame.arrived_s, frame.pts_s)
        if self._add(frame, pts, dts):
            self.frames += 1
        else:
            self.undecodable += 1
        self.last = frame

    def notes(self) -> Iterable[str]:
        """Return what else is to be said of its frames."""
        return ()

    def close(self) -> None:
        """Write the end; to be called once.

        Raises:
            *MUX_ERRORS: it cannot be written.
        """
        try:
            self._finish()
        finally:
            self._container.close()

    @abstractmethod
    def _add(self, frame: RingFrame, pts: int, dts: int) -> bool:
        """Append a frame; return whether it could be decoded, where it has to be."""

    @abstractmethod
    def _finish(self) -> None: ...


class KeptClip(ClipFile):
    """Frames as the camera sent them: H.264 and H.265."""

    def __init__(self, path: Path, first: RingFrame) -> None:
        """Begin with a keyframe.

        Raises:
            *MUX_ERRORS: the parameters of the video are not known, or the file cannot be written.
        """
        super().__init__(path, first)
        header = first.header
        try:
            self._sets = parameter_sets(header.codec, self._bytes_of(first))
            begins = sets_of_header(header.codec, header.extradata) + self._bytes_of(first)
            # The keyframe alone, as a file of its own, is what libavformat makes the header of an MP4 from.
            with av.open(BytesIO(begins), format=header.codec, options=header.options) as source:
                self._stream = self._container.add_stream_from_template(source.streams.video[0])
            self._stream.time_base = _TIME_BASE
        except BaseException:
            self._container.close()
            raise

    @property
    def codec(self) -> str:
        """The camera's."""
        return self.header.codec

    def continues(self, frame: RingFrame) -> bool:
        """Whether it is of the same connection, and its parameter sets, where it has some, are those of the file."""
        if not super().continues(frame):
            return False
        found = parameter_sets(self.codec, self._bytes_of(frame)) if frame.keyframe else ()
        return not found or not self._sets or found == self._sets

    def _add(self, frame: RingFrame, pts: int, dts: int) -> bool:
        packet: VideoPacket = av.Packet(self._bytes_of(frame))  # the camera's own is its decoder's
        packet.stream, packet.time_base = self._stream, _TIME_BASE
        packet.pts, packet.dts, packet.is_keyframe = pts, dts, frame.keyframe
        self._container.mux(packet)
        return True

    def _finish(self) -> None:
        """All is written."""

    def _bytes_of(self, frame: RingFrame) -> bytes:
        header = frame.header
        return byte_stream(header.codec, header.extradata, bytes(frame.packet))


class EncodedClip(ClipFile):
    """Frames of a codec that MP4 does not take (MJPEG, single images), decoded and encoded as H.264."""

    def __init__(self, path: Path, first: RingFrame) -> None:
        """Begin with a keyframe.

        Raises:
            *MUX_ERRORS: the file cannot be written, or the codec is not known.
        """
        super().__init__(path, first)
        try:
            self._decoder = cast("av.VideoCodecContext", av.CodecContext.create(first.header.codec, "r"))
        except BaseException:
            self._container.close()
            raise
        self._decoder.options = first.header.options
        self._decoder.thread_count = 1
        if first.header.extradata:
            self._decoder.extradata = first.header.extradata
        self._stream: VideoStream | None = None
        self._size_wh = (0, 0)
        self._scaled = 0

    @property
    def codec(self) -> str:
        """What it is encoded with now."""
        return "h264"

    @property
    def is_reencoded(self) -> bool:
        """It is."""
        return True

    def notes(self) -> Iterable[str]:
        """Return how many frames are not of the size that they had."""
        if self._scaled:
            yield f"{self._scaled} frames are scaled: the camera changed their size"

    def _add(self, frame: RingFrame, pts: int, dts: int) -> bool:
        packet: VideoPacket = av.Packet(bytes(frame.packet))
        packet.pts, packet.dts, packet.time_base = pts, dts, _TIME_BASE
        try:
            decoded = self._decoder.decode(packet)
        except av.error.InvalidDataError:  # one image that is damaged: the others are not
            return False
        self._encode(decoded)
        return True

    def _finish(self) -> None:
        self._encode(self._decoder.decode(None))
        if self._stream is None:
            raise ValueError("none of its images can be decoded")
        self._container.mux(self._stream.encode(None))

    def _encode(self, frames: Iterable[av.VideoFrame]) -> None:
        for frame in frames:
            stream = self._stream or self._begin(frame)
            width, height = self._size_wh
            self._scaled += (frame.width + frame.width % 2, frame.height + frame.height % 2) != self._size_wh
            even = frame.reformat(width=width, height=height, format="yuv420p")
            even.pts, even.time_base = frame.pts, _TIME_BASE
            self._container.mux(stream.encode(even))

    def _begin(self, frame: av.VideoFrame) -> VideoStream:
        options = {"preset": "veryfast", "crf": "20", "tune": "zerolatency"}
        stream = self._container.add_stream("libx264", options=options)
        self._size_wh = frame.width + frame.width % 2, frame.height + frame.height % 2  # 4:2:0 has pairs of pixels
        stream.width, stream.height = self._size_wh
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = _TIME_BASE
        stream.codec_context.thread_count = 1
        stream.codec_context.gop_size = 50
        self._stream = stream
        return stream


def open_clip_file(path: Path, first: RingFrame) -> ClipFile:
    """Begin a clip with a keyframe.

    Raises:
        *MUX_ERRORS: it cannot be written.
    """
    return (KeptClip if first.header.codec in _KEPT else EncodedClip)(path, first)
