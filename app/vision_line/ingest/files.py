# SPDX-License-Identifier: AGPL-3.0-or-later
"""`file:` sources: videos, and folders or globs of images, at their own pace or as fast as they are inspected."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av

from vision_line.config.models import Stream
from vision_line.encoded import EncodedFrame
from vision_line.errors import SourceError, SourceErrorCode
from vision_line.ingest.camera_clock import Clocks
from vision_line.ingest.damage import FileEnding
from vision_line.ingest.error_mapping import file_error
from vision_line.ingest.file_formats import open_image, open_video
from vision_line.ingest.file_search import file_path, find_images
from vision_line.ingest.file_timeline import DEFAULT_PERIOD_S, FileTimeline, placed_packets
from vision_line.ports import VideoPacket

logger = logging.getLogger(__name__)

#: A paced recording that is later than both is warned about; the device takes a while to become ready.
LATE_S = 10.0
LATE_SHARE = 0.1


class Playback:
    """Holds frames back until they are due; gives up when `stop` is set.

    No frame of a file is left out because the device is slow: it plays more slowly then, and a warning says so.
    """

    def __init__(self, stream: Stream, stop: threading.Event, clocks: Clocks) -> None:
        self._stream = stream
        self._stop = stop
        self._clocks = clocks
        self._started_s: float | None = None
        self._warned = False

    def wait(self, at_s: float) -> None:
        """Wait until `at_s` seconds after the first frame's time."""
        if not self._stream.paced:
            return
        now_s = self._clocks.monotonic()
        if self._started_s is None:
            self._started_s = now_s - at_s
        late_s = now_s - self._started_s - at_s
        if late_s > max(LATE_S, LATE_SHARE * at_s) and not self._warned:
            self._warned = True
            logger.warning(
                "camera %s: the recording plays more slowly than it was recorded, %.0f s behind after %.0f s: "
                "too many frames for this machine, lower inspect_fps",
                self._stream.name,
                late_s,
                at_s,
            )
        self._stop.wait(max(0.0, -late_s))


class VideoFile:
    """One video; with `loop`, again and again."""

    def __init__(self, stream: Stream, path: str, stop: threading.Event, clocks: Clocks) -> None:
        """Take the path; it is opened at each play."""
        self._stream = stream
        self._path = path
        self._stop = stop
        self._clocks = clocks

    def __iter__(self) -> Iterator[EncodedFrame]:
        """Yield the frames and a flush, once or over and over.

        Raises:
            SourceError: the file cannot be read, holds no frame, or was cut off (after its last frame).
        """
        while not self._stop.is_set():
            frames = 0
            for frame in self._play():
                frames += frame.counts
                yield frame
            if not frames and not self._stop.is_set():
                raise SourceError(self._stream.name, SourceErrorCode.NO_VIDEO, f"no frame in {self._path!r}")
            if not self._stream.loop:
                return

    def close(self) -> None:
        """Nothing stays open between iterations."""

    def _play(self) -> Iterator[EncodedFrame]:
        pace = Playback(self._stream, self._stop, self._clocks)
        try:
            container, video = open_video(self._stream.name, self._path, self._stream.max_frame_pixels)
            with container:
                ending = FileEnding()
                timeline = FileTimeline(float(1 / video.average_rate) if video.average_rate else DEFAULT_PERIOD_S)
                packets = ending.watched(container.demux(video))
                for packet, at_s in placed_packets(packets, timeline, video.codec_context.name):
                    if at_s is not None:
                        pace.wait(at_s)
                    if self._stop.is_set():
                        return
                    yield _encoded(packet, video, self._clocks, at_s)
                if lacking := ending.lacking(container, video, Path(self._path).stat().st_size):
                    detail = f"{self._path!r} was cut off: {lacking}"
                    raise SourceError(self._stream.name, SourceErrorCode.CORRUPT, detail)
        except (av.FFmpegError, OSError) as exc:
            raise file_error(self._stream.name, self._path, exc) from exc


class ImageFiles:
    """The images of a folder or glob in the order of their names; every one is a keyframe."""

    def __init__(self, stream: Stream, paths: list[str], stop: threading.Event, clocks: Clocks) -> None:
        self._stream = stream
        self._paths = paths
        self._stop = stop
        self._clocks = clocks
        self._unread: dict[str, SourceError] = {}  # by path, of the current round

    def __iter__(self) -> Iterator[EncodedFrame]:
        """Yield the images; an unreadable one comes as a damaged frame, so that it is counted.

        Raises:
            SourceError: some could not be read, or were damaged (after the last of them).
        """
        pace = Playback(self._stream, self._stop, self._clocks)
        shown = 0
        while True:
            self._unread.clear()
            for path in self._paths:
                at_s = shown / self._stream.picture_fps
                pace.wait(at_s)
                if self._stop.is_set():
                    return
                yield from self._read(path, at_s)
                shown += 1
            self._raise_unread()
            if not self._stream.loop:
                return

    def close(self) -> None:
        """Nothing stays open between images."""

    def _read(self, path: str, at_s: float) -> Iterator[EncodedFrame]:
        try:
            container, image = open_image(self._stream.name, path, self._stream.max_frame_pixels)
            with container:
                for packet in container.demux(image):
                    whole = _encoded(packet, image, self._clocks, at_s)
                    yield replace(whole, on_damage=lambda: self._note_damage(path))
        except (av.FFmpegError, OSError) as exc:
            self._unread[path] = file_error(self._stream.name, path, exc)
            yield _damaged(self._clocks)
        except SourceError as exc:
            self._unread[path] = exc
            yield _damaged(self._clocks)

    def _note_damage(self, path: str) -> None:
        """Note that an image could be opened, and that decoding found it damaged."""
        self._unread[path] = SourceError(self._stream.name, SourceErrorCode.CORRUPT, f"{path!r} is damaged")

    def _raise_unread(self) -> None:
        if self._unread:
            first = next(iter(self._unread.values()))
            detail = f"{len(self._unread)} of {len(self._paths)} images, the first of them: {first.detail}"
            raise SourceError(self._stream.name, first.code, detail)


def open_file(stream: Stream, stop: threading.Event, clocks: Clocks) -> VideoFile | ImageFiles:
    """Open what a `file:` URL names.

    Raises:
        SourceError: there is nothing of that name, or no image in the folder.
    """
    path = file_path(stream.url.get_secret_value())
    images = find_images(stream.name, path)
    return VideoFile(stream, path, stop, clocks) if images is None else ImageFiles(stream, images, stop, clocks)


def _encoded(packet: VideoPacket, video: av.VideoStream, clocks: Clocks, at_s: float | None) -> EncodedFrame:
    """Wrap a packet that is to be decoded at `at_s`; FFmpeg ends a file with an empty one, which stands for a flush."""
    now_s, now_utc = clocks.monotonic(), clocks.utc()
    if not packet.size:
        return EncodedFrame(None, video, False, now_s, now_utc, counts=False)
    shown_s, decoded_s = _seconds(packet, packet.pts), _seconds(packet, packet.dts)
    media_s = at_s if at_s is None or shown_s is None or decoded_s is None else at_s + shown_s - decoded_s
    return EncodedFrame(
        packet,
        video,
        packet.is_keyframe,
        now_s,
        now_utc,
        damaged=packet.is_corrupt,
        pts_s=shown_s,
        media_s=media_s,
    )


def _seconds(packet: VideoPacket, ticks: int | None) -> float | None:
    return None if ticks is None else float(ticks * packet.time_base)


def _damaged(clocks: Clocks) -> EncodedFrame:
    return EncodedFrame(None, None, True, clocks.monotonic(), clocks.utc(), damaged=True)
