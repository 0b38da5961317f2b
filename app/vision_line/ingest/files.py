# SPDX-License-Identifier: AGPL-3.0-or-later
"""`file:` sources: videos, and folders or globs of pictures, at their own pace or as fast as they are inspected."""

from __future__ import annotations

import glob
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av

from vision_line.config.models import Stream
from vision_line.errors import SourceError, SourceErrorCode
from vision_line.ingest.clock import Clocks
from vision_line.ingest.containers import bound_pictures, open_container
from vision_line.ingest.ending import FileEnding
from vision_line.ingest.faults import code_of, reading_error
from vision_line.ingest.pictures import CompressedPicture

PICTURE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def file_path(url: str) -> str:
    """Return the path or glob pattern in `file:PATH` or `file://PATH`; it is taken as it stands, without unquoting."""
    path = url.split(":", 1)[1]
    return path.removeprefix("//")


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
        """Check that the video is there.

        Raises:
            SourceError: no such file.
        """
        if not Path(path).is_file():
            raise SourceError(stream.name, SourceErrorCode.NOT_FOUND, f"no file {path!r}")
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
            with open_container(self._path, self._stream.max_frame_pixels) as container:
                video = _video_stream(self._stream, self._path, container)
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
        except av.FFmpegError as exc:
            raise reading_error(self._stream.name, exc) from exc


class PictureFiles:
    """The pictures of a folder or glob in the order of their names; every one is a keyframe of its own."""

    def __init__(self, stream: Stream, paths: list[str], stop: threading.Event, clocks: Clocks) -> None:
        """Take the sorted paths."""
        self._stream = stream
        self._paths = paths
        self._stop = stop
        self._clocks = clocks

    def __iter__(self) -> Iterator[CompressedPicture]:
        """Yield the pictures; one that cannot be read comes as a damaged one, so that it is counted."""
        pace = Pace(self._stop, self._clocks, paced=self._stream.paced)
        shown = 0
        while True:
            for path in self._paths:
                pace.wait(shown / self._stream.picture_fps)
                if self._stop.is_set():
                    return
                yield from self._read(path)
                shown += 1
            if not self._stream.loop:
                return

    def close(self) -> None:
        """Nothing stays open between pictures."""

    def _read(self, path: str) -> Iterator[CompressedPicture]:
        try:
            with open_container(path, self._stream.max_frame_pixels) as container:
                video = _video_stream(self._stream, path, container)
                for packet in container.demux(video):
                    yield _compressed(packet, video, self._clocks)
        except av.FFmpegError as exc:
            if code_of(exc) is SourceErrorCode.NOT_FOUND:
                raise reading_error(self._stream.name, exc) from exc
            yield _damaged(self._clocks)


def open_file(stream: Stream, stop: threading.Event, clocks: Clocks) -> VideoFile | PictureFiles:
    """Open what a `file:` URL names.

    Raises:
        SourceError: there is nothing of that name, or no picture in the folder.
    """
    path = file_path(stream.url.get_secret_value())
    if Path(path).is_dir():
        found = [str(entry) for entry in Path(path).iterdir() if entry.is_file()]
    elif glob.has_magic(path) and not Path(path).exists():
        found = glob.glob(path, recursive=True)  # noqa: PTH207  Path.glob takes no absolute pattern
    elif Path(path).suffix.lower() in PICTURE_SUFFIXES and Path(path).exists():
        found = [path]
    else:
        return VideoFile(stream, path, stop, clocks)
    pictures = sorted(name for name in found if Path(name).suffix.lower() in PICTURE_SUFFIXES)
    if not pictures:
        raise SourceError(stream.name, SourceErrorCode.NOT_FOUND, f"no pictures at {path!r}")
    return PictureFiles(stream, pictures, stop, clocks)


def _compressed(packet: Any, video: Any, clocks: Clocks) -> CompressedPicture:
    """Wrap a packet; FFmpeg ends a file with an empty one, which stands for a flush."""
    now_s, now_utc = clocks.monotonic(), clocks.utc()
    if not packet.size:
        return CompressedPicture(None, video, False, now_s, now_utc, counts=False)
    return CompressedPicture(packet, video, packet.is_keyframe, now_s, now_utc, damaged=packet.is_corrupt)


def _damaged(clocks: Clocks) -> CompressedPicture:
    return CompressedPicture(None, None, True, clocks.monotonic(), clocks.utc(), damaged=True)


def _video_stream(stream: Stream, path: str, container: Any) -> Any:
    camera = stream.name
    if not container.streams.video:
        raise SourceError(camera, SourceErrorCode.NO_VIDEO, f"no video in {path!r}")
    video = container.streams.video[0]
    if video.codec_context is None:
        raise SourceError(camera, SourceErrorCode.CODEC_UNSUPPORTED, f"unknown codec in {path!r}")
    bound_pictures(camera, video, stream.max_frame_pixels, path)
    return video
