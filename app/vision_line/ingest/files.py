# SPDX-License-Identifier: AGPL-3.0-or-later
"""`file:` sources: videos, and folders or globs of pictures, at their own pace or as fast as they are inspected."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av

from vision_line.config.models import Stream
from vision_line.errors import SourceError, SourceErrorCode
from vision_line.ingest.clock import Clocks
from vision_line.ingest.ending import FileEnding
from vision_line.ingest.faults import file_error
from vision_line.ingest.file_formats import open_picture, open_video
from vision_line.ingest.finding import file_path, find_pictures
from vision_line.ingest.pictures import CompressedPicture


class Pace:
    """Holds pictures back until they are due; gives up when `stop` is set."""

    def __init__(self, stop: threading.Event, clocks: Clocks, *, paced: bool) -> None:
        """Start the clock at the first picture."""
        self._stop = stop
        self._clocks = clocks
        self._paced = paced
        self._started_s: float | None = None

    def wait(self, at_s: float) -> None:
        """Wait until `at_s` seconds after the first picture's time."""
        now_s = self._clocks.monotonic()
        if self._started_s is None:
            self._started_s = now_s - at_s
        if self._paced:
            self._stop.wait(max(0.0, self._started_s + at_s - now_s))


class VideoFile:
    """One video; with `loop`, again and again."""

    def __init__(self, stream: Stream, path: str, stop: threading.Event, clocks: Clocks) -> None:
        """Take the path; it is opened at each play."""
        self._stream = stream
        self._path = path
        self._stop = stop
        self._clocks = clocks

    def __iter__(self) -> Iterator[CompressedPicture]:
        """Yield the pictures and a flush, once or over and over.

        Raises:
            SourceError: the file cannot be read, holds no picture, or was cut off (after its last picture).
        """
        while not self._stop.is_set():
            pictures = 0
            for picture in self._play():
                pictures += picture.counts
                yield picture
            if not pictures and not self._stop.is_set():
                raise SourceError(self._stream.name, SourceErrorCode.NO_VIDEO, f"no picture in {self._path!r}")
            if not self._stream.loop:
                return

    def close(self) -> None:
        """Nothing stays open between iterations."""

    def _play(self) -> Iterator[CompressedPicture]:
        pace = Pace(self._stop, self._clocks, paced=self._stream.paced)
        try:
            container, video = open_video(self._stream.name, self._path, self._stream.max_frame_pixels)
            with container:
                ending = FileEnding()
                for packet in container.demux(video):
                    ending.saw(packet)
                    if packet.dts is not None:
                        pace.wait(float(packet.dts * packet.time_base))
                    if self._stop.is_set():
                        return
                    yield _compressed(packet, video, self._clocks)
                if lacking := ending.lacking(video, Path(self._path).stat().st_size):
                    detail = f"{self._path!r} was cut off: {lacking}"
                    raise SourceError(self._stream.name, SourceErrorCode.CORRUPT, detail)
        except (av.FFmpegError, OSError) as exc:
            raise file_error(self._stream.name, self._path, exc) from exc


class PictureFiles:
    """The pictures of a folder or glob in the order of their names; every one is a keyframe of its own."""

    def __init__(self, stream: Stream, paths: list[str], stop: threading.Event, clocks: Clocks) -> None:
        """Take the sorted paths."""
        self._stream = stream
        self._paths = paths
        self._stop = stop
        self._clocks = clocks
        self._unread: list[SourceError] = []  # of the present round

    def __iter__(self) -> Iterator[CompressedPicture]:
        """Yield the pictures; one that cannot be read comes as a damaged one, so that it is counted.

        Raises:
            SourceError: some could not be read (after the last of them).
        """
        pace = Pace(self._stop, self._clocks, paced=self._stream.paced)
        shown = 0
        while True:
            self._unread.clear()
            for path in self._paths:
                pace.wait(shown / self._stream.picture_fps)
                if self._stop.is_set():
                    return
                yield from self._read(path)
                shown += 1
            self._raise_unread()
            if not self._stream.loop:
                return

    def close(self) -> None:
        """Nothing stays open between pictures."""

    def _read(self, path: str) -> Iterator[CompressedPicture]:
        try:
            container, picture = open_picture(self._stream.name, path, self._stream.max_frame_pixels)
            with container:
                for packet in container.demux(picture):
                    yield _compressed(packet, picture, self._clocks)
        except (av.FFmpegError, OSError) as exc:
            self._unread.append(file_error(self._stream.name, path, exc))
            yield _damaged(self._clocks)
        except SourceError as exc:
            self._unread.append(exc)
            yield _damaged(self._clocks)

    def _raise_unread(self) -> None:
        if self._unread:
            first = self._unread[0]
            detail = f"{len(self._unread)} of {len(self._paths)} pictures, the first of them: {first.detail}"
            raise SourceError(self._stream.name, first.code, detail)


def open_file(stream: Stream, stop: threading.Event, clocks: Clocks) -> VideoFile | PictureFiles:
    """Open what a `file:` URL names.

    Raises:
        SourceError: there is nothing of that name, or no picture in the folder.
    """
    path = file_path(stream.url.get_secret_value())
    pictures = find_pictures(stream.name, path)
    return VideoFile(stream, path, stop, clocks) if pictures is None else PictureFiles(stream, pictures, stop, clocks)


def _compressed(packet: Any, video: Any, clocks: Clocks) -> CompressedPicture:
    """Wrap a packet; FFmpeg ends a file with an empty one, which stands for a flush."""
    now_s, now_utc = clocks.monotonic(), clocks.utc()
    if not packet.size:
        return CompressedPicture(None, video, False, now_s, now_utc, counts=False)
    return CompressedPicture(packet, video, packet.is_keyframe, now_s, now_utc, damaged=packet.is_corrupt)


def _damaged(clocks: Clocks) -> CompressedPicture:
    return CompressedPicture(None, None, True, clocks.monotonic(), clocks.utc(), damaged=True)
