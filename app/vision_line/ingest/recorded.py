# SPDX-License-Identifier: AGPL-3.0-or-later
"""How many frames a second a file holds, where that is known before it is played."""

from __future__ import annotations

import av

from vision_line.config.feasible import need_in_words
from vision_line.config.models import Stream
from vision_line.errors import SourceError
from vision_line.ingest.file_formats import open_video
from vision_line.ingest.file_search import file_path, find_images

#: Rates are given as fractions of whole numbers, and by cameras that count badly.
_TOLERANCE = 0.02


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
    except (SourceError, OSError, av.FFmpegError):  # told by whoever plays it
        return None


def slow_files(streams: tuple[Stream, ...]) -> list[str]:
    """Return a sentence for each file that holds too few frames."""
    files = [stream for stream in streams if not stream.is_live]
    return [f"stream[{stream.name}].url: {lack}" for stream in files if (lack := slow_file(stream)) is not None]
