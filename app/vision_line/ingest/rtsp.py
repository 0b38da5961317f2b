# SPDX-License-Identifier: AGPL-3.0-or-later
"""RTSP cameras: FFmpeg's demuxer with its parser off, so that no picture waits for the next one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import av

from vision_line.config.models import Stream
from vision_line.errors import SourceError, SourceErrorCode
from vision_line.ingest.access_units import AccessUnit, AccessUnits, OversizedPictureError
from vision_line.ingest.clock import Clocks, camera_utc
from vision_line.ingest.containers import bound_pictures, open_container
from vision_line.ingest.faults import opening_error, reading_error, resolve
from vision_line.ingest.nal import NAL_CODECS
from vision_line.ingest.pictures import CompressedPicture

CODECS = frozenset({*NAL_CODECS, "mjpeg"})
_PORTS = {"rtsp": 554, "rtsps": 322}
_UDP_BUFFER_BYTES = 4 << 20  # a keyframe arrives as one burst; the kernel caps this at net.core.rmem_max


def demuxer_options(stream: Stream) -> dict[str, str]:
    """Return the options for FFmpeg's RTSP demuxer.

    `timeout` (microseconds of silence on the socket) is the demuxer's own: the older name `stimeout` is ignored
    without a word, and PyAV's `timeout=` takes the GIL at every poll. `noparse` and the smallest probe keep pictures
    from being held back, at the start and later.
    """
    options = {
        "rtsp_transport": stream.transport,
        "timeout": str(round(stream.read_timeout_s * 1e6)),
        "allowed_media_types": "video",
        "fflags": "noparse+nofillin+nobuffer",
        "probesize": "32",
        "analyzeduration": "0",
    }
    if stream.transport == "udp":
        options["buffer_size"] = str(_UDP_BUFFER_BYTES)
    return options


class RtspSource:
    """One connection to a camera."""

    def __init__(self, stream: Stream, stop: threading.Event, clocks: Clocks) -> None:
        """Connect; blocks for as long as the resolver, the connection and the camera's answers take.

        Raises:
            SourceError: the camera cannot be opened, sends no video, or a codec that is not taken.
        """
        self._camera = stream.name
        self._stop = stop
        self._clocks = clocks
        self._container = _open(stream, clocks)
        try:
            self._video = _video_stream(stream.name, self._container)
            bound_pictures(stream.name, self._video, stream.max_frame_pixels)
        except SourceError:
            self._container.close()
            raise

    def __iter__(self) -> Iterator[CompressedPicture]:
        """Yield pictures until stopped.

        Raises:
            SourceError: the connection is lost, or the camera ended it (ENDED).
        """
        codec = NAL_CODECS.get(self._video.codec_context.name)
        try:
            yield from self._whole_pictures() if codec is None else self._joined_pictures(AccessUnits(codec))
        except av.FFmpegError as exc:
            raise reading_error(self._camera, exc) from None  # FFmpeg's error quotes the URL with the password
        if not self._stop.is_set():
            raise SourceError(self._camera, SourceErrorCode.ENDED, "the camera ended the stream")

    def close(self) -> None:
        """Close the connection."""
        self._container.close()

    def _packets(self) -> Iterator[Any]:
        for packet in self._container.demux(self._video):
            if self._stop.is_set() or not packet.size:
                return
            yield packet

    def _whole_pictures(self) -> Iterator[CompressedPicture]:
        """MJPEG: the depacketizer itself hands out whole pictures, at their last RTP packet, and each is a key."""
        for packet in self._packets():
            now_s, now_utc = self._clocks.monotonic(), self._clocks.utc()
            yield CompressedPicture(packet, self._video, True, now_s, now_utc, camera_utc(packet), packet.is_corrupt)

    def _joined_pictures(self, units: AccessUnits) -> Iterator[CompressedPicture]:
        """H.264 and H.265: pieces are joined; a picture's arrival is the arrival of its last piece."""
        monotonic, utc = self._clocks.monotonic, self._clocks.utc
        last: tuple[Any, float, float] | None = None
        for packet in self._packets():
            piece = (packet, monotonic(), utc())
            try:
                complete = units.push(bytes(packet), packet.pts)
            except OversizedPictureError as exc:
                raise SourceError(self._camera, SourceErrorCode.CORRUPT, f"no end of picture: {exc}") from exc
            for unit in complete:
                # A unit that only the next picture's first piece completes had arrived with the piece before.
                yield self._picture(unit, *(piece if unit.early or last is None else last))
            last = piece

    def _picture(self, unit: AccessUnit, piece: Any, arrived_s: float, arrived_utc: float) -> CompressedPicture:
        if not unit.data:
            return CompressedPicture(None, self._video, False, arrived_s, arrived_utc, damaged=True, counts=False)
        packet = av.Packet(unit.data)
        packet.pts = packet.dts = unit.pts
        packet.time_base = piece.time_base
        packet.is_keyframe = unit.keyframe
        return CompressedPicture(
            packet, self._video, unit.keyframe, arrived_s, arrived_utc, camera_utc(piece), unit.damaged
        )


def _open(stream: Stream, clocks: Clocks) -> Any:
    url = stream.url.get_secret_value()
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme.lower()]
    resolve(stream.name, host, port)
    started_s = clocks.monotonic()
    try:
        return open_container(url, stream.max_frame_pixels, demuxer_options(stream))
    except av.FFmpegError as exc:
        raise opening_error(
            stream.name,
            exc,
            (host, port),
            tls=parts.scheme.lower() == "rtsps",
            took_s=clocks.monotonic() - started_s,
            timeout_s=stream.read_timeout_s,
        ) from None  # FFmpeg's error quotes the URL with the password


def _video_stream(camera: str, container: Any) -> Any:
    """Return the first video stream, checked: PyAV can crash where a stream has no codec context."""
    if not container.streams.video:
        raise SourceError(camera, SourceErrorCode.NO_VIDEO, "the camera offers no video")
    video = container.streams.video[0]
    if video.codec_context is None:
        raise SourceError(camera, SourceErrorCode.CODEC_UNSUPPORTED, "the video's codec is unknown")
    name = video.codec_context.name
    if name not in CODECS:
        expected = ", ".join(sorted(CODECS))
        raise SourceError(camera, SourceErrorCode.CODEC_UNSUPPORTED, f"found {name}, expected one of {expected}")
    return video
