# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a `file:` URL names: one video, or the images of a folder or glob; and how many frames a second it holds."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

import av

from vision_line.config.feasible import need_in_words
from vision_line.config.models import Stream
from vision_line.errors import SourceError, SourceErrorCode
from vision_line.ingest.error_mapping import file_error
from vision_line.ingest.file_formats import open_video

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

#: Rates are given as fractions of whole numbers, and by cameras that count badly.
_TOLERANCE = 0.02


def file_path(url: str) -> str:
    """Return the path or glob pattern in `file:PATH` or `file://PATH`; it is taken as it stands, without unquoting."""
    path = url.split(":", 1)[1]
    return path.removeprefix("//")


def find_images(camera: str, path: str) -> list[str] | None:
    """Return the images that `path` names, in the order of their names; None where it names one video.

    Only regular files count: a pipe or a device could be waited for without end.

    Raises:
        SourceError: there is nothing of that name, or no image among it.
    """
    try:
        if Path(path).is_file() and Path(path).suffix.lower() not in IMAGE_SUFFIXES:
            return None
        found = [entry for entry in _candidates(path) if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file()]
    except OSError as exc:
        raise file_error(camera, path, exc) from exc
    images = sorted(str(entry) for entry in found)
    if not images and not Path(path).is_dir() and not glob.has_magic(path):
        raise SourceError(camera, SourceErrorCode.NOT_FOUND, f"no file {path!r}")
    if not images:
        raise SourceError(camera, SourceErrorCode.NOT_FOUND, f"no images at {path!r}")
    return images


def _candidates(path: str) -> Iterable[Path]:
    named = Path(path)
    if named.is_dir():
        return named.iterdir()
    if named.exists():
        return [named]
    return _matching(named) if glob.has_magic(path) else []


def _matching(pattern: Path) -> Iterable[Path]:
    """Yield what matches, hidden files left out; `**` follows no links, so that a loop of links has an end."""
    fixed = next(index for index, part in enumerate(pattern.parts) if glob.has_magic(part))
    wild = "/".join(pattern.parts[fixed:])
    for entry in Path(*pattern.parts[:fixed]).glob(f"{wild}/*" if wild.endswith("**") else wild):
        if not entry.name.startswith("."):
            yield entry


def recorded_fps(stream: Stream) -> float | None:
    """Return a file's frames a second; None where it does not say.

    Raises:
        SourceError, OSError, av.FFmpegError: there is no such file, or it cannot be read.
    """
    path = file_path(stream.url.get_secret_value())
    if find_images(stream.name, path) is not None:
        return stream.picture_fps
    container, video = open_video(stream.name, path, stream.max_frame_pixels)
    with container:
        return float(video.average_rate) if video.average_rate else None


def too_few_frames(stream: Stream, fps: float | None) -> str | None:
    """Return why a source of `fps` frames a second can never show a part often enough; None where it can. Pure."""
    if fps is None or fps >= stream.needed_fps * (1 - _TOLERANCE):
        return None
    return f"found {fps:.3g} frames/s; {need_in_words(stream)}"


def slow_file(stream: Stream) -> str | None:
    """Return why a file can never show a part often enough; None where it can, or where it cannot be read at all."""
    try:
        return too_few_frames(stream, recorded_fps(stream))
    except (SourceError, OSError, av.FFmpegError):  # reported by whoever plays it
        return None


def slow_files(streams: tuple[Stream, ...]) -> list[str]:
    """Return a sentence for each file that holds too few frames."""
    files = [stream for stream in streams if not stream.is_live]
    return [f"stream[{stream.name}].url: {lack}" for stream in files if (lack := slow_file(stream)) is not None]
