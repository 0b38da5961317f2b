# SPDX-License-Identifier: AGPL-3.0-or-later
"""RTSP cameras: packets of a connection of our own become whole encoded frames, none of them over a gap."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av

from vision_line.config.models import Stream
from vision_line.encoded import EncodedFrame
from vision_line.errors import SourceError, SourceErrorCode
from vision_line.ingest.access_units import AccessUnit, AccessUnits, OversizedFrameError
from vision_line.ingest.camera_clock import Clocks
from vision_line.ingest.error_mapping import connection_error
from vision_line.ingest.file_formats import check_size
from vision_line.ingest.nal import NAL_CODECS, START_CODE, NalCodec
from vision_line.ingest.parameter_sets import frame_size
from vision_line.ingest.wire.client import GoodbyeError, RtspClient
from vision_line.ingest.wire.description import VideoTrack
from vision_line.ingest.wire.dialogue import StoppedError
from vision_line.ingest.wire.fragments import FRAGMENTS
from vision_line.ingest.wire.message import ProtocolError
from vision_line.ingest.wire.negotiation import Negotiation
from vision_line.ingest.wire.payloads import PIECES
from vision_line.ingest.wire.rtp import RtpPacket, RtpTimeline
from vision_line.ingest.wire.rtp_jpeg import JpegFrames
from vision_line.ports import VideoPacket


@dataclass(frozen=True, slots=True)
class LiveVideo:
    """A camera's video for a decoder: what of an `av.VideoStream` decoders read."""

    codec_context: av.VideoCodecContext
    type: str = "video"


#: A packet's RTP timestamp, and when it came by the monotonic clock and in UTC.
_Arrival = tuple[int, tuple[float, float]]


class RtspSource:
    """One connection to a camera."""

    def __init__(self, stream: Stream, stop: threading.Event, clocks: Clocks) -> None:
        """Connect; blocks for as long as the resolver, the connection and the camera's answers take.

        Raises:
            SourceError: the camera cannot be opened, sends no video, or a codec that is not taken.
        """
        self._stream = stream
        self._stop = stop
        negotiation = Negotiation(stream, stop, clocks)
        try:
            playing = negotiation.run()
        except StoppedError:
            raise SourceError(stream.name, SourceErrorCode.ENDED, "stopped while it was opened") from None
        except (OSError, ProtocolError) as exc:
            raise connection_error(stream.name, exc, f"opening {negotiation.place}") from exc
        self._track = playing.track
        self._client = RtspClient(playing, stop, clocks, stream.read_timeout_s)
        self._codec = NAL_CODECS.get(self._track.codec)
        self._timeline = RtpTimeline()
        self._tick = Fraction(1, self._track.clock_hz)
        self._gap = False  # something is missing before the next packet
        try:
            self._check_sizes(_annex_b(self._track))
            self._video = LiveVideo(_decoding_context(self._track, stream.max_frame_pixels))
        except BaseException:
            self._client.close()
            raise

    def __iter__(self) -> Iterator[EncodedFrame]:
        """Yield frames until stopped.

        Raises:
            SourceError: the connection is lost, or the camera ended it (ENDED).
        """
        try:
            yield from self._jpeg_frames() if self._codec is None else self._nal_frames(self._codec)
        except OversizedFrameError as exc:
            raise SourceError(self._stream.name, SourceErrorCode.CORRUPT, f"no end of frame: {exc}") from exc
        except GoodbyeError:
            raise SourceError(self._stream.name, SourceErrorCode.ENDED, "the camera ended the stream") from None
        except (OSError, ProtocolError) as exc:
            raise connection_error(self._stream.name, exc, "reading") from exc

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _in_turn(self, packets: list[RtpPacket]) -> Iterator[tuple[RtpPacket, bool]]:
        """Yield those packets that are the video's, each with whether something is missing right before it."""
        for packet in packets:
            missing = self._client.sequence.take(packet)
            if missing is None:
                yield from self._in_turn(self._client.parse(packet.more))  # one of those may be in its turn
                continue
            self._gap = self._gap or missing
            if packet.payload_type == self._track.payload_type:
                yield packet, self._gap
                self._gap = False

    def _jpeg_frames(self) -> Iterator[EncodedFrame]:
        """MJPEG: each frame is a key, so a gap damages no other."""
        frames = JpegFrames()
        began_s: float | None = None
        for packets in self._client.runs():
            arrived = self._client.arrived
            for packet, missing in self._in_turn(packets):
                began_s = arrived[0] if began_s is None else began_s
                for frame in frames.push(packet.payload, packet.timestamp, last=packet.last, missing=missing):
                    ticks = self._timeline.ticks(frame.timestamp)
                    unit = AccessUnit(frame.data, ticks, keyframe=True, damaged=frame.damaged, early=True)
                    yield self._encoded(unit, (packet.timestamp, arrived), began_s)
                    began_s = None

    def _nal_frames(self, codec: NalCodec) -> Iterator[EncodedFrame]:
        """H.264 and H.265: pieces are joined; a frame's arrival is the arrival of its last piece."""
        units, piece_of, rest_of = AccessUnits(codec), PIECES[codec.name], FRAGMENTS[codec.name].rest
        before: _Arrival | None = None
        began_s: float | None = None
        for packets in self._client.runs():
            arrived = self._client.arrived
            for packet, missing in self._in_turn(packets):
                if missing:
                    units.lose()
                arrival = packet.timestamp, arrived
                began_s = arrived[0] if began_s is None else began_s
                ticks, more = self._timeline.ticks(packet.timestamp), bool(packet.more)
                piece, ends = piece_of(packet.payload)
                done = units.push(piece, ticks, ends=ends, last=packet.last and not more)
                if more:
                    piece, ends = rest_of(packet)
                    done += units.push(piece, ticks, ends=ends, last=packet.last)
                for unit in done:
                    # A unit that only the next frame's first piece completes had arrived with the piece before.
                    ended = arrival if unit.early or before is None else before
                    yield self._encoded(unit, ended, began_s)
                    began_s = None if ended is arrival else arrived[0]
                before = arrival

    def _encoded(self, unit: AccessUnit, arrival: _Arrival, began_s: float | None) -> EncodedFrame:
        timestamp, (arrived_s, arrived_utc) = arrival
        if not unit.data:
            return EncodedFrame(None, self._video, False, arrived_s, arrived_utc, damaged=True, counts=False)
        if unit.keyframe:
            self._check_sizes(unit.data)
        packet: VideoPacket = av.Packet(unit.data)
        packet.pts = packet.dts = unit.pts
        packet.time_base = self._tick
        packet.is_keyframe = unit.keyframe
        report = self._client.report
        clock_hz = self._track.clock_hz
        camera_utc = None if report is None else report.utc_of(timestamp, clock_hz)
        return EncodedFrame(
            packet=packet,
            origin=self._video,
            keyframe=unit.keyframe,
            arrived_s=arrived_s,
            arrived_utc=arrived_utc,
            camera_utc=camera_utc,
            damaged=unit.damaged,
            pts_s=None if unit.pts is None else unit.pts / clock_hz,
            began_s=began_s,
        )

    def _check_sizes(self, data: bytes) -> None:
        size_wh = None if self._codec is None else frame_size(self._codec, data)
        if size_wh is not None:
            check_size(self._stream.name, size_wh, self._stream.max_frame_pixels)


def _annex_b(track: VideoTrack) -> bytes:
    return b"".join(START_CODE + unit for unit in track.parameter_sets)


def _decoding_context(track: VideoTrack, max_pixels: int) -> av.VideoCodecContext:
    """Return a codec context that was not opened yet; without parameter sets it waits for those in the stream."""
    context = cast("av.VideoCodecContext", av.CodecContext.create(track.codec, "r"))
    if track.parameter_sets:
        context.extradata = _annex_b(track)
    context.options = {"max_pixels": str(max_pixels)}
    return context
